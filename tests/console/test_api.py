"""The admin API: what it answers, and that its description is true."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.console import api, api_config
from airboss.domain.plan import Budget, Standing
from airboss.domain.ports import ApiKey, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.store.memory import MemoryRecordLog
from airboss.store.span_rows import SpanDetail
from tests.console.described import assert_as_described
from tests.console.site import DAY, NOW, Site, put, sample
from tests.store.samples import record

CONFIG = """
[providers.up]
kind = "openai-compatible"
base_url = "https://up.example/v1"
api_key = "env:UP_KEY"
[models.small]
provider = "up"
model = "tiny"
[deployments.support]
model = "small"
"""


def ids(answer: Any) -> list[str]:
    """The ids of a page of records."""
    return [each["id"] for each in answer.json()["records"]]


def every_page(program: TestClient, params: dict[str, str]) -> list[dict[str, Any]]:
    """All records that match, page by page."""
    seen: list[dict[str, Any]] = []
    params = {**params, "limit": "700"}
    while True:
        page = program.get("/api/v1/records", params=params).json()
        seen += page["records"]
        if page["next"] is None:
            return seen
        params["before"] = page["next"]


def test_records_come_newest_first_and_whole(site: Site) -> None:
    """Paging by `next` gives every record once, newest first."""
    seen = every_page(site.program(), {})
    assert len(seen) == DAY
    assert len({each["id"] for each in seen}) == DAY
    started = [each["started_at"] for each in seen]
    assert started == sorted(started, reverse=True)
    assert seen[0]["request"] is None


@pytest.mark.parametrize(
    ("params", "check"),
    [
        ({"deployment": "support"}, lambda r: r["deployment"] == "support"),
        ({"status": "error"}, lambda r: r["status"] == "error"),
        ({"model": "gpt-4o"}, lambda r: r["model"] == "gpt-4o"),
        ({"key": "mobile"}, lambda r: r["key"] == "mobile"),
        ({"since": "6h"}, lambda r: datetime.fromisoformat(r["started_at"]) >= NOW - timedelta(hours=6)),
        (
            {"until": "2026-11-24T02:00:00Z"},
            lambda r: (
                datetime.fromisoformat(r["started_at"]) < datetime.fromisoformat("2026-11-24T02:00:00Z")
            ),
        ),
        ({"text": "UPSTREAM_"}, lambda r: "upstream_" in (r["error_type"] or "")),
    ],
)
def test_filters_narrow(site: Site, params: dict[str, str], check: Any) -> None:
    """Each filter keeps just the records that match."""
    program = site.program()
    found = [each["id"] for each in every_page(program, params)]
    assert found == [each["id"] for each in every_page(program, {}) if check(each)]
    assert 0 < len(found) < DAY


def test_following_goes_forward() -> None:
    """`after` gives newer records, oldest first; `next` stays where nothing is newer."""
    log = MemoryRecordLog()
    records = [sample(id=f"id-{n}", started_at=NOW - timedelta(seconds=60 - n)) for n in range(5)]
    put(log, *records)
    program = Site(log=log).program()
    answer = program.get("/api/v1/records?after=id-1&limit=2")
    assert ids(answer) == ["id-2", "id-3"]
    assert answer.json()["next"] == "id-3"
    answer = program.get("/api/v1/records?after=id-4")
    assert ids(answer) == []
    assert answer.json()["next"] == "id-4"
    answer = program.get("/api/v1/records?after=id-9")
    assert (answer.status_code, "id-9" in answer.text) == (404, True)


def test_one_record_is_whole(site: Site) -> None:
    """A record by its id has its bodies, and its money is a number."""
    program = site.program()
    found = program.get("/api/v1/records?deployment=support&status=ok&limit=1").json()["records"][0]
    whole = program.get(f"/api/v1/records/{found['id']}").json()
    assert whole["request"]["messages"][0]["role"] == "system"
    assert whole["response"]["choices"]
    assert isinstance(whole["cost_usd"], float)
    assert set(whole) == set(InferenceRecord.__struct_fields__)


@pytest.mark.parametrize("answers_id", ["chatcmpl-Vi0", "resp_3b0", "msg_01a2"])
def test_the_id_in_an_answers_body_is_told_how_to_look_for(site: Site, answers_id: str) -> None:
    """It is no record's: who has nothing else is told what finds the call; others which there are."""
    said = site.program().get(f"/api/v1/records/{answers_id}").json()["error"]["message"]
    assert "x-request-id" in said
    assert f"`airboss records --search {answers_id}`" in said
    other = site.program().get("/api/v1/records/0197b0f2").json()["error"]["message"]
    assert "`airboss records` lists the newest" in other


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("limit=ten", "'ten'"),
        ("limit=-1", "'-1'"),
        ("since=yesterday", "is not a time"),
        ("since=2026-99-01T00:00:00Z", "is not a time"),
        ("status=fine", "none of ok, error, cancelled, refused"),
        ("before=a&after=b", "exclude each other"),
        ("bodies=maybe", "neither true nor false"),
        ("model=" + "x" * 400, "400 characters"),
        ("user=" + "x" * 17_000, "17,000 characters, and no call has one of over 16,449"),
        ("colour=red", "unknown query parameter 'colour'"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(site: Site, query: str, words: str) -> None:
    """Nothing is guessed: 400 with the value seen and what would be right, the parameter named."""
    answer = site.program().get(f"/api/v1/records?{query}")
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"]


def test_stats_and_series_agree(site: Site) -> None:
    """The series' steps add up to the stats of the same period."""
    program = site.program()
    stats = program.get("/api/v1/stats?range=24h").json()
    series = program.get("/api/v1/series?range=24h&step_s=3600").json()
    assert series["step_s"] == 3_600
    for each in stats["deployments"]:
        steps = [b for b in series["buckets"] if b["deployment"] == each["deployment"]]
        assert sum(b["requests"] for b in steps) == each["requests"] > 0
        assert sum(b["errors"] for b in steps) == each["errors"]
    one = program.get("/api/v1/stats?deployment=support").json()["deployments"]
    assert [each["deployment"] for each in one] == ["support"]


def test_series_are_bounded(site: Site) -> None:
    """A step that would give too many of them is refused, with the least that is taken."""
    answer = site.program().get("/api/v1/series?range=30d&step_s=1")
    assert answer.status_code == 400
    assert "ask for 519 s or more" in answer.json()["error"]["message"]
    assert site.program().get("/api/v1/series?step_s=x").status_code == 400
    assert site.program().get("/api/v1/stats?since=2020-01-01T00:00:00Z").status_code == 400
    assert site.program().get("/api/v1/stats?since=1h&until=2h").status_code == 400


def test_status_is_the_controllers(site: Site) -> None:
    """/api/v1/status is what the controller says, whole."""
    status = site.program().get("/api/v1/status").json()
    assert status["plan_number"] == 42
    assert [each["name"] for each in status["processes"]] == [
        "store",
        "controller",
        "gateway-0",
        "replica-assistant",
    ]


def test_config_is_shown(site: Site) -> None:
    """The configuration in force, and the plan it gave; both null before the first."""
    site.ledger.text = CONFIG
    assert site.program().get("/api/v1/config").json() == {"config": CONFIG, "plan": 42}
    site.ledger.text, site.ledger.served = None, None
    assert site.program().get("/api/v1/config").json() == {"config": None, "plan": None}


def test_diff_names_what_changes(site: Site) -> None:
    """Setting by setting, by meaning: order and comments are no change. Nothing is applied."""
    site.ledger.text = CONFIG
    wanted = CONFIG.replace('"tiny"', '"large"').replace("[models.small]", "# grown\n[models.small]")
    wanted += 'aliases = ["gpt-4o"]\n'
    answer = (
        site.program().post("/api/v1/config/diff", json={"config": wanted, "source": "airboss.toml"}).json()
    )
    assert answer["changes"] == [
        {"path": "deployments.support.aliases", "kind": "changed", "before": [], "after": ["gpt-4o"]},
        {"path": "models.small.model", "kind": "changed", "before": "tiny", "after": "large"},
    ]
    same = site.program().post("/api/v1/config/diff", json={"config": "# the same\n" + CONFIG})
    assert same.json()["changes"] == []
    assert site.applied == []


def test_diff_tells_of_what_comes_and_goes_what_the_files_say(site: Site) -> None:
    """Not every default that it has."""
    site.ledger.text = CONFIG
    more = CONFIG + '[deployments.more]\nmodel = "small"\n'
    added = {"path": "deployments.more.model", "kind": "added", "before": None, "after": "small"}
    asked = site.program().post("/api/v1/config/diff", json={"config": more}).json()
    assert asked["changes"] == [added]
    site.ledger.text = more
    removed = added | {"kind": "removed", "before": "small", "after": None}
    asked = site.program().post("/api/v1/config/diff", json={"config": CONFIG}).json()
    assert asked["changes"] == [removed]


def test_diff_never_repeats_a_secret(site: Site) -> None:
    """A literal key in a configuration is compared, warned of, and not repeated."""
    wanted = CONFIG.replace("env:UP_KEY", "sk-very-secret")
    answer = site.program().post("/api/v1/config/diff", json={"config": wanted})
    assert "sk-very-secret" not in answer.text
    assert "[REDACTED]" in answer.text
    assert "api_key is written out" in answer.json()["warnings"][0]


def test_apply_applies_and_says_what_changed(site: Site) -> None:
    """The text reaches the controller unchanged; the answer has the new plan and the changes."""
    answer = site.program().post("/api/v1/config", json={"config": CONFIG, "source": "airboss.toml"})
    assert answer.status_code == 200
    assert site.applied == [(CONFIG, "airboss.toml")]
    body = answer.json()
    assert body["plan"] == 43
    assert {"name", "aliases", "release", "model", "candidate", "coming"} == set(body["deployments"][0])
    assert {each["candidate"] for each in body["deployments"]} == {None}
    assert {"path": "models.small.model", "kind": "added", "before": None, "after": "tiny"} in body["changes"]


def test_apply_says_what_nobody_gets_yet(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed release that waits for its rollout stands beside the one that serves."""
    assert site.ledger.served is not None
    served = site.ledger.served.deployments[0]
    standing = Standing(deployment=served.name, wanted="c" * 64, stable=served.stable.digest)
    monkeypatch.setattr(site.ledger, "standings", {served.name: standing}.copy)
    body = site.program().post("/api/v1/config", json={"config": CONFIG}).json()
    waits = {each["name"]: each["candidate"] for each in body["deployments"] if each["candidate"] is not None}
    assert waits == {served.name: "c" * 64}


def test_apply_warns_of_keys_that_it_refuses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget, at what nobody knows the cost of; not those that have none, or are revoked."""
    assert site.ledger.served is not None
    unknown = [each.name for each in site.ledger.served.deployments if each.target.price is None]
    some: dict[str, Any] = {"sha256": "0" * 64, "created_at": NOW}
    keys = (
        ApiKey(name="nightly", budget=Budget(usd=Decimal(5)), **some),
        ApiKey(name="free", **some),
        ApiKey(name="gone", budget=Budget(usd=Decimal(5)), revoked_at=NOW, **some),
    )
    monkeypatch.setattr(site.ledger, "all_keys", lambda: keys)
    warnings = site.program().post("/api/v1/config", json={"config": CONFIG}).json()["warnings"]
    (said,) = [each for each in warnings if "budget" in each]
    assert said.startswith(f"key 'nightly' has a budget in USD, and is refused at {', '.join(unknown)}: ")


def test_a_difference_of_numbers_is_of_numbers(site: Site) -> None:
    """Not of texts, whatever they were written like."""
    priced = CONFIG.replace(
        'model = "tiny"\n',
        'model = "tiny"\nprice = { input_usd_per_mtok = 0.150, output_usd_per_mtok = 1 }\n',
    )
    site.ledger.text = priced
    same = site.program().post("/api/v1/config/diff", json={"config": priced.replace("0.150", "0.15")})
    assert same.json()["changes"] == []
    raised = site.program().post("/api/v1/config/diff", json={"config": priced.replace("0.150", "0.30")})
    path = "models.small.price.input_usd_per_mtok"
    assert raised.json()["changes"] == [{"path": path, "kind": "changed", "before": 0.15, "after": 0.3}]


def test_a_difference_with_a_wrong_scorer_is_none(site: Site) -> None:
    """It is refused as applying it would be, with the nearest name."""
    wanted = CONFIG + '\n[deployments.scored]\nmodel = "small"\nscoring = { scorers = ["refusl"] }\n'
    answer = site.program().post("/api/v1/config/diff", json={"config": wanted, "source": "airboss.toml"})
    assert answer.status_code == 400
    assert "did you mean 'refusal'?" in answer.json()["error"]["message"]

    judged = wanted.replace("refusl", "llm_judge:nobody")
    answer = site.program().post("/api/v1/config/diff", json={"config": judged, "source": "airboss.toml"})
    assert answer.status_code == 400
    assert "'nobody', which is not there" in answer.json()["error"]["message"]


def test_a_difference_with_a_probe_that_could_not_be_made_is_none(site: Site) -> None:
    """It is refused as applying it would be, with its line; one that is in force already goes on."""
    wanted = CONFIG + '[alarms.bias]\ndeployment = "support"\nprobe = { attributes = ["gendr"] }\n'
    answer = site.program().post("/api/v1/config/diff", json={"config": wanted, "source": "airboss.toml"})
    assert answer.status_code == 400
    assert f"airboss.toml:{wanted.count(chr(10))}: alarms.bias.probe: " in answer.json()["error"]["message"]
    site.ledger.text = wanted
    answer = site.program().post("/api/v1/config/diff", json={"config": wanted.replace("tiny", "large")})
    assert answer.status_code == 200


def test_a_difference_with_an_evaluation_that_could_not_be_made_is_none(site: Site) -> None:
    """As one with such a probe; a scorer's file is looked for where it is applied."""
    wanted = CONFIG + '[alarms.a]\ndeployment = "support"\neval = { dataset = "golden", scorer = "exct" }\n'
    answer = site.program().post("/api/v1/config/diff", json={"config": wanted, "source": "airboss.toml"})
    assert answer.status_code == 400
    where = f"airboss.toml:{wanted.count(chr(10))}: alarms.a.eval.scorer: "
    assert where in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/api/v1/config", "/api/v1/config/diff"])
@pytest.mark.parametrize("text", ["", "\n \n", "# [deployments.a]\n # model", "\ufeff", "[deployments]\n"])
def test_a_configuration_that_says_nothing_is_refused(site: Site, path: str, text: str) -> None:
    """What was cut off, or is all comments, would end everything that is served."""
    answer = site.program().post(path, json={"config": text, "source": "airboss.toml"})
    assert answer.status_code == 400
    assert "airboss.toml says nothing" in answer.json()["error"]["message"]
    assert site.applied == []


@pytest.mark.parametrize("path", ["/api/v1/config", "/api/v1/config/diff"])
def test_a_wrong_config_is_refused_with_its_line(site: Site, path: str) -> None:
    """400 in the words of the parser, naming the file and the line; nothing is applied."""
    answer = site.program().post(path, json={"config": CONFIG + "\n[modles.x]\n", "source": "airboss.toml"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_config"
    assert "airboss.toml:" in answer.json()["error"]["message"]
    assert site.applied == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"config": 1}', b'{"config": "", "x": 1}', b"\xff", b'"\x00"']
)
def test_a_wrong_body_is_refused(site: Site, body: bytes) -> None:
    """400 that shows the body wanted."""
    answer = site.program().post("/api/v1/config", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_body"


def test_bodies_are_bounded(site: Site) -> None:
    """Beyond the limit: 413, and nothing is applied."""
    answer = site.program().post("/api/v1/config", content=b"x" * (api_config.CONFIG_MAX + 1))
    assert answer.status_code == 413
    assert site.applied == []
    long = msgspec.json.encode({"config": "#" * (3 << 20)})
    assert site.program().post("/api/v1/config", content=long).status_code != 413


def test_the_cookie_reads_the_api(site: Site) -> None:
    """A person's browser may open the API's addresses, and write from the console itself."""
    person = site.person()
    assert person.get("/api/v1/stats").status_code == 200
    answer = person.post("/api/v1/config", json={"config": CONFIG}, headers={"origin": "http://testserver"})
    assert answer.status_code == 200


def test_the_description_is_true(site: Site) -> None:
    """Every route is described; those of the table here are served as described (other rooms test theirs)."""
    program = site.program()
    document = program.get("/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(route.method, route.path) for route in api.ROUTES}
    schemas = document["components"]["schemas"]
    record_id = ids(program.get("/api/v1/records?limit=1"))[0]
    for method, path in sorted((route.method, route.path) for route in api.OWN):
        operation = document["paths"][path][method.lower()]
        if method == "GET":
            answer = program.get(path.replace("{id}", record_id))
        else:
            answer = program.post(path, json={"config": CONFIG})
        assert answer.status_code == 200, (path, answer.text)
        assert_as_described(document, method, path, answer.json())
        for parameter in operation["parameters"]:
            if parameter["in"] == "query":
                asked = program.get(path, params={parameter["name"]: ""})
                assert asked.status_code == 200, (path, parameter["name"], asked.text)
    cost = schemas["InferenceRecord"]["properties"]["cost_usd"]
    assert {"type": "number"} in cost["anyOf"]


def test_references_in_the_description_resolve(site: Site) -> None:
    """No schema is named that is not there."""
    text = site.program().get("/api/openapi.json").text
    document = json.loads(text)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def test_records_that_utf8_cannot_hold_are_sent(empty: Site) -> None:
    """A lone surrogate in a field goes out escaped, and the answer is JSON."""
    strange = sample(id="odd", user="a\ud800b", request={"input": "\udfff"})
    empty.log = One(strange)
    answer = empty.program().get("/api/v1/records/odd")
    assert answer.status_code == 200
    assert "\\ud800" in answer.text
    assert isinstance(answer.json()["cost_usd"], float)
    assert empty.program().get("/api/v1/records").status_code == 200


class One:
    """A log that holds one record, whatever is asked of it."""

    def __init__(self, record: InferenceRecord) -> None:
        self.record = record

    def records(self, _where: RecordFilter, *, limit: int, bodies: bool) -> list[InferenceRecord]:
        """The record; without bodies they are None."""
        assert limit >= 1
        return [self.record if bodies else msgspec.structs.replace(self.record, request=None, response=None)]

    def count(self, _where: RecordFilter) -> int:
        """One."""
        return 1

    def spans_of(self, _record_ids: list[str]) -> list[SpanDetail]:
        """It is in no trace."""
        return []

    def scores_of(self, _record_ids: list[str]) -> list[Score]:
        """Nobody has judged it."""
        return []


@pytest.mark.parametrize("name", ["user", "session", "tag"])
def test_what_callers_write_is_found_whole(name: str) -> None:
    """However long a call may have it: 512 characters of any alphabet, as OpenAI's metadata, or far more."""
    site = Site()
    for number, (letter, length) in enumerate((("\U0001f6eb", 512), ("x", 16_000))):
        value = f"{number}" + letter * (length - 1)
        fields = {"tags": {"t" * 64: value}} if name == "tag" else {name: value}
        made = record(number, **fields)
        put(site.log, made)
        wanted = f"{'t' * 64}={value}" if name == "tag" else value
        assert ids(site.program().get("/api/v1/records", params={name: wanted})) == [made.id], length
