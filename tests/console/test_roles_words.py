"""A viewer reads nobody's words: a word that stands in all that people and models say is in no answer.

The same answers, for who may read, hold it: each place where it was put is one that the test would see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airboss.console import api, pages_table
from airboss.controller.price_list import PriceList
from airboss.domain.ports import JournalMove
from airboss.domain.score import Score
from airboss.domain.status import DeadLetter
from airboss.evaluations.datasets import Shares, dataset
from airboss.evaluations.drift_checks import Changed, Checks
from airboss.evaluations.jsonl import read_items
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder
from airboss.governance.audit import Sealer
from airboss.governance.erasure import Forgetting
from airboss.store.audit import SqlAuditLog
from airboss.store.drift_rows import checks_of
from airboss.store.erasures import SqlErasures
from airboss.store.proposal_rows import Proposal
from airboss.store.view_rows import SavedView
from tests.console.governed import SIGNER
from tests.console.looped import LoopSite, looped
from tests.console.site import put, sample
from tests.store.samples import call_id
from tests.store.spans import TRACE, span
from tests.support.seed_loop import CONFIG, END, Loop
from tests.support.seed_quality import evaluation

WORD = "xylocarpous"
"""Stands in every place where words can be."""

RECORD = "01931f2a-0000-7000-8000-000000000001"


def said(role: str) -> dict[str, Any]:
    """A message that has the word."""
    return {"role": role, "content": f"{role} says {WORD}"}


def records(loop: Loop) -> None:
    """A call with bodies, comments on it, and a span that tells of it."""
    own = next(each for each in loop.plan().deployments if each.name == "support")
    put(
        loop.log,
        sample(
            id=RECORD,
            started_at=END - timedelta(minutes=5),
            deployment="support",
            release=own.stable.digest,
            status="ok",
            operation="chat",
            request={"model": "support", "messages": [said("user")], "stop": WORD},
            response={"choices": [{"index": 0, "message": said("assistant"), "finish_reason": "stop"}]},
        ),
    )
    score = {"subject": "record", "subject_id": RECORD, "source": "human", "at": END}
    first = Score(id="s-1", name="kind", by="web", value=1.0, comment=f"because {WORD}", **score)  # type: ignore[arg-type]
    second = Score(id="s-2", name="right", by="judge", unscored=f"it says {WORD}", **score)  # type: ignore[arg-type]
    loop.log.put_scores([first, second])
    told = span(
        1,
        trace_id=TRACE,
        started_at=END - timedelta(minutes=4),
        status="error",
        message=f"failed at {WORD}",
        attributes=msgspec.Raw(json.dumps({"input.value": WORD}).encode()),
        events=msgspec.Raw(json.dumps([{"name": "e", "at_ms": 1.0, "attributes": {"x": WORD}}]).encode()),
    )
    encoded = (msgspec.json.encode(told),)
    loop.log.apply(JournalMove(segment="w/1", start=0, end=1, spans=encoded, moved_at=END))


def work(loop: Loop) -> None:
    """A dataset, an evaluation that is done and one that failed: the word is in items, answers, errors."""
    lines = "".join(
        json.dumps({"input": f"Where is order {4000 + n}, {WORD}?", "expected": f"delivered {WORD}"}) + "\n"
        for n in range(60)
    )
    items = read_items(BytesIO(lines.encode()), source="orders.jsonl")
    Library(loop.evals, loop.clock.now).put(dataset("orders", items, shares=Shares()))
    evaluation(loop)
    loop.clock.forward(5)
    loop.orders.start(EvalOrder(dataset="orders", deployment="support", scorers=("exact",)), by="ada")
    job = loop.jobs.claim("other", loop.clock.at, 10)
    assert job is not None
    loop.jobs.fail(job.id, "other", f"the judge said {WORD}", loop.clock.at)


def drift(site: LoopSite) -> None:
    """Answers to fixed prompts that are others now, and a view of what was looked for."""
    changed = Changed(prompt=f"say {WORD}", before=WORD, after=f"no {WORD}", likeness=0.2, floor=0.9)
    state = Checks(release="r", prompts=(f"say {WORD}",), at=END, alpha=0.01, replays=9, changed=(changed,))
    site.views.put_drift(checks_of("support"), msgspec.json.encode(state))
    site.views.put_view(SavedView(name="mine", path="/records", query={"search": WORD}, by="ada", at=END))


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopSite]:
    """A console over an Airboss in which everything holds the word."""
    root = tmp_path_factory.mktemp("wordy")
    loop = Loop(folder=root)
    text = CONFIG.replace(
        "[alarms.errors]", f'[deployments.support.drift]\nprompts = ["say {WORD}"]\n[alarms.errors]'
    )
    text += f"""
[policies.house]
custom.project = {{ words = ["{WORD}"], action = "block" }}
custom.employee = {{ pattern = "{WORD}-[0-9]{{4}}", action = "mask" }}
"""
    loop.apply(f"Old {WORD}.", text=text)
    loop.serve(20, hours=1)
    loop.apply(f"New {WORD}.", text=text)
    loop.start()
    loop.clock.at = END
    records(loop)
    work(loop)
    body = json.dumps({"config": f"# {WORD}"})
    loop.proposals.propose(
        Proposal(action="config.apply", subject="configuration", body=body, by="ada", at=END, reason=WORD)
    )
    url = loop.data.ledger_url
    audit, erasures = SqlAuditLog(url, Sealer(SIGNER)), SqlErasures(url)
    letter = DeadLetter(segment="w/1", offset=0, why=f"no JSON: {WORD}", bytes=9, excerpt=f"{{{WORD}")
    plain = loop.status

    def status() -> Any:
        found = plain()
        return msgspec.structs.replace(
            found, journal=msgspec.structs.replace(found.journal, dead_letters=(letter,))
        )

    loop.status = status  # type: ignore[method-assign]
    site = looped(loop)
    site.audit, site.people, site.prices = audit, Forgetting(erasures, "key"), PriceList(loop.data)
    drift(site)
    yield site
    for each in (audit, erasures, loop):
        each.close()


def known(site: LoopSite) -> dict[str, list[str]]:
    """What parts of paths can be, of what there is."""
    jobs = [each.id for each in site.loop.jobs.list()]
    digests = [each.release.digest for each in site.loop.ledger.releases()]
    return {
        "id": [RECORD, TRACE, *jobs, *(each.id for each in site.loop.rollouts.list())],
        "name": ["support", "errors", "orders", "vera", "configuration"],
        "ref": digests,
        "span": ["0000000000000001"],
        "deployment": ["support"],
        "number": [str(each.number) for each in site.loop.proposals.proposals()],
    }


QUERIES: dict[str, tuple[str, ...]] = {
    "/api/v1/records": ("", "bodies=true", f"search={WORD}", f"search={WORD}&bodies=true", f"text={WORD}"),
    "/api/v1/usage": ("group_by=user", "group_by=user&format=csv", "group_by=user&format=parquet"),
    "/api/v1/datasets/{name}/items": ("part=train", "part=validation"),
    "/api/v1/transfer": ("", "open=true"),
    "/records": ("", f"search={WORD}"),
    "/traces/{id}": ("", f"span={call_id(1)}"),
}


def asked(site: LoopSite) -> Iterator[str]:
    """Every address that can be read, with everything that there is in the place of its parts."""
    parts = known(site)
    paths = [
        *(each.path for each in api.ROUTES if each.method == "GET"),
        *(p.path for p in pages_table.PAGES),
    ]
    for path in [*dict.fromkeys(paths), "/records/{id}/request.json", "/api/openapi.json"]:
        places = [path]
        for name in re.findall(r"{(\w+)}", path):
            places = [place.replace(f"{{{name}}}", one) for place in places for one in parts[name]]
        digests = parts["ref"]
        more = (f"a={digests[0]}&b={digests[-1]}",) if path.endswith("/diff") else QUERIES.get(path, ("",))
        yield from (f"{place}?{query}" if query else place for place in places for query in more)


def words(answer: Any) -> str:
    """All that an answer says, also in a file that is packed, and in its headers."""
    if answer.headers.get("content-type", "").startswith("application/vnd.apache.parquet"):
        path = Path(str(answer.url.path).replace("/", "_") + ".parquet")
        path.write_bytes(answer.content)
        return str(duckdb.connect().execute(f"select * from '{path}'").fetchall())
    return unescape(answer.text) + str(dict(answer.headers))


def found_by(site: LoopSite, client: Any) -> tuple[set[str], dict[int, int]]:
    """The addresses whose answers hold the word, and how many answers have which status."""
    found, statuses = set(), dict[int, int]()
    for address in asked(site):
        answer = client.get(address)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        echo = WORD in address and answer.status_code != 200  # a refusal says what was asked
        if WORD in words(answer) and not echo:
            found.add(address.partition("?")[0])
    return found, statuses


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", ["person", "program"])
def test_a_viewer_reads_nobodys_words(wordy: LoopSite, form: str) -> None:
    """Over every route and page, whatever they are asked for."""
    found, statuses = found_by(wordy, getattr(wordy, form)("viewer"))
    assert found == set()
    assert statuses[200] > 30
    assert statuses[403] > 10
    assert 500 not in statuses


HOLD = (
    f"/api/v1/records/{RECORD}",
    "/api/v1/records",
    f"/api/v1/records/{RECORD}/scores",
    f"/api/v1/traces/{TRACE}/spans/0000000000000001",
    "/api/v1/transfer",
    "/api/v1/status",
    "/api/v1/views",
    "/api/v1/drift",
    "/api/v1/evals",
    "/api/v1/jobs",
    "/api/v1/datasets/orders/items",
    "/api/v1/releases/diff",
    f"/records/{RECORD}",
    f"/records/{RECORD}/request.json",
    f"/traces/{TRACE}",
    "/records",
    "/",
    "/explore",
    "/system",
    "/governance",
    "/quality/drift",
    "/datasets/orders",
    "/jobs",
    "/deployments/support",
)
"""Where a reader finds it, all that is kept apart from viewers."""


def test_a_reader_reads_them(wordy: LoopSite) -> None:
    """In every place that they were put: what is not found there could not be missed either."""
    found, _ = found_by(wordy, wordy.person("reader"))
    assert set(HOLD) <= found, set(HOLD) - found
    rollout = wordy.loop.rollouts.list()[0].id
    evals = [each.id for each in wordy.loop.jobs.list()]
    assert {f"/rollouts/{rollout}", *(f"/evaluations/{each}" for each in evals)} <= found


def test_the_configuration_is_an_operators(wordy: LoopSite) -> None:
    """It holds prompts, examples, and where secrets are."""
    assert wordy.program("reader").get("/api/v1/config").status_code == 403
    assert WORD in wordy.program("operator").get("/api/v1/config").text
