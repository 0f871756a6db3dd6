"""Jobs, datasets and evaluations in the admin API: as described, bounded, and noted in the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.console import api, api_datasets, api_eval, api_jobs
from airboss.domain.ports import Ledger
from airboss.evaluations.orders import EvalOrders, EvalResult
from airboss.evaluations.plan import ArmTotals, EvalReport
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from airboss.store.eval_rows import RunRow
from airboss.store.evals import SqlEvalStore
from airboss.store.jobs import SqlJobStore
from airboss.store.memory import MemoryRecordLog
from tests.console.described import assert_as_described
from tests.console.looped import pressed
from tests.console.site import NOW, Site, put, sample
from tests.console.test_pages import shown
from tests.evaluations.serving import GRADER, NEW, OLD, FixedLedger, deployment, plan, standing

LINES = "".join(
    json.dumps({"id": part, "input": f"{part}?", "expected": "yes", "part": part}) + "\n"
    for part in ("train", "validation", "holdout")
)
ORDER = {"dataset": "golden", "deployment": "support", "scorers": ["exact"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console over a log in memory, with stores of its own and two deployments served."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    erasures = SqlErasures(url)
    made = Site(jobs=SqlJobStore(url), evals=SqlEvalStore(url), people=Forgetting(erasures, "key"))
    serving = plan(deployment("support", OLD), deployment("grader", GRADER), others=(NEW,))
    made.orders = EvalOrders(
        store=made.evals,
        jobs=made.jobs,
        ledger=cast("Ledger", FixedLedger(serving, standing(NEW, OLD))),
        now=made.clock.now,
        scorers=tmp_path,
    )
    yield made
    for each in (made.jobs, made.evals, erasures):
        each.close()


@pytest.fixture
def program(site: Site) -> TestClient:
    """A program with the admin key."""
    return site.program()


def created(program: TestClient, **given: Any) -> Any:
    """A dataset put there."""
    answer = program.post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES, **given})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int = 400) -> str:
    """What an answer that is an error says."""
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["message"])


def test_the_answers_are_as_described(site: Site, program: TestClient) -> None:
    """Every route of the three tables answers with just the fields that the description names."""
    document = program.get("/api/openapi.json").json()
    made = created(program)
    assert_as_described(document, "POST", "/api/v1/datasets", made)
    job = program.post("/api/v1/evals", json=ORDER).json()
    assert_as_described(document, "POST", "/api/v1/evals", job)
    bodies = {"/api/v1/datasets/{name}/holdout": {"why": "to look"}, "/api/v1/evals/estimate": ORDER}
    tables = (*api_jobs.ROUTES, *api_eval.ROUTES, *api_datasets.ROUTES)
    assert all(route in api.ROUTES for route in tables)
    for route in tables:
        if route.path in ("/api/v1/evals", "/api/v1/datasets") and route.method == "POST":
            continue
        path = route.path.replace("{id}", job["id"]).replace("{name}", "golden")
        answer = program.request(route.method, path, json=bodies.get(route.path))
        assert answer.status_code == 200, (path, answer.text)
        assert_as_described(document, route.method, route.path, answer.json())
        for name in route.params:
            assert program.get(path, params={name: ""}).status_code == 200, (path, name)


def test_a_dataset_of_lines(site: Site, program: TestClient) -> None:
    """It is there by name and by digest; put again it is not new; the audit log says so, without its text."""
    made = created(program)
    assert (made["new"], made["dataset"]["sizes"]) == (True, {"train": 1, "validation": 1, "holdout": 1})
    assert created(program)["new"] is False
    digest = made["dataset"]["digest"]
    shown = program.get(f"/api/v1/datasets/{digest[:8]}").json()
    assert (shown["dataset"]["name"], shown["readings"]) == ("golden", [])
    assert [each["name"] for each in program.get("/api/v1/datasets").json()["datasets"]] == ["golden"]
    items = program.get("/api/v1/datasets/golden/items?part=validation").json()["items"]
    assert [(each["id"], each["expected"]) for each in items] == [("validation", "yes")]
    action, actor, subject, detail = site.audit.entries[0]
    assert (action, actor, subject, detail["digest"]) == ("dataset.create", "admin key", "golden", digest)


def test_a_bad_line_imports_nothing(program: TestClient) -> None:
    """It is named by its number in its file."""
    answer = program.post(
        "/api/v1/datasets", json={"name": "golden", "source": "f.jsonl", "jsonl": LINES + '{"inptu": 1}\n'}
    )
    assert "f.jsonl, line 4: " in refused(answer)
    assert program.get("/api/v1/datasets").json()["datasets"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "a/b"}, "is no name of a dataset"),
        ({"train": 0.8}, "shares of 0.8 and 0.3"),
        ({"records": {}}, "either `jsonl` or `records`"),
        ({"jsonl": None}, "either `jsonl` or `records`"),
        ({"jsonl": ""}, "has 0 items"),
        ({"nmae": "x"}, "the body is wrong"),
        ({"jsonl": None, "records": {"limit": 0}}, "limit=0"),
        ({"jsonl": None, "records": {"filters": {"usre": "x"}}}, "did you mean 'user'"),
        ({"jsonl": None, "records": {"filters": {"user": "nobody"}}}, "no record became an item"),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(
    program: TestClient, given: dict[str, Any], message: str
) -> None:
    """With what was wrong, and nothing kept."""
    answer = program.post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES, **given})
    assert message in refused(answer)
    assert program.get("/api/v1/datasets").json()["datasets"] == []


def test_no_dataset_is_made_of_who_is_forgotten_meanwhile(site: Site) -> None:
    """Their calls had been read before they were erased: nothing would find the items after that."""
    site.log = MemoryRecordLog()
    for user in ("ann", "bob"):
        request = {"messages": [{"role": "user", "content": f"the words of {user}"}]}
        fields = {"user": user, "operation": "chat", "status": "ok", "request": request}
        put(site.log, sample(id=f"id-{user}", started_at=NOW - timedelta(seconds=9), **fields))
    site.people.ask("ann", by="admin", now=NOW + timedelta(seconds=1))
    made = created(site.program(), jsonl=None, records={"filters": {}})
    assert sum(made["dataset"]["sizes"].values()) == 1
    site.people.ask("bob", by="admin", now=NOW + timedelta(seconds=1))
    answer = site.program().post("/api/v1/datasets", json={"name": "none", "records": {"filters": {}}})
    assert "no record became an item: none matches" in refused(answer)


def test_a_dataset_of_records(site: Site) -> None:
    """Of calls that match and were answered; a user's stay in one part, and our own calls are none."""
    log = MemoryRecordLog()
    for n in range(40):
        request = {"messages": [{"role": "user", "content": f"question {n}"}]}
        own = {"key": "airboss"} if n < 4 else {}
        put(
            log,
            sample(
                **{
                    "id": f"id-{n:02}",
                    "started_at": NOW - timedelta(seconds=60 + n),
                    "user": f"user-{n % 5}",
                    "session": None,
                    "operation": "chat",
                    "status": "error" if n == 9 else "ok",
                    "deployment": "support" if n < 30 else "other",
                    "request": request,
                    **own,
                }
            ),
        )
    site.log = log
    program = site.program()
    made = created(program, jsonl=None, records={"filters": {"deployment": "support"}})
    assert (sum(made["dataset"]["sizes"].values()), made["left_out"]) == (25, {"ended as error": 1})
    parts = {
        part: program.get("/api/v1/datasets/golden/items", params={"part": part}).json()["items"]
        for part in ("train", "validation")
    }
    parts["holdout"] = program.post("/api/v1/datasets/golden/holdout", json={"why": "x"}).json()["items"]
    users = [{each["user"] for each in items} for items in parts.values()]
    assert sum(map(len, users)) == 5, "a user stands in two parts"


def test_a_dataset_of_the_calls_on_a_page(site: Site) -> None:
    """The form on the page of records sends its filters and leads to the dataset; what is wrong is said."""
    site.log = MemoryRecordLog()
    for n, user in enumerate(("ann", "bob", "cleo", "dan", "eve", "ann")):
        team = {"team": "blue" if n < 5 else "red"}
        request = {"messages": [{"role": "user", "content": f"question {n}"}]}
        at = NOW - timedelta(seconds=60 + n)
        put(site.log, sample(id=f"id-{n}", started_at=at, user=user, request=request, tags=team))
    person = site.person()
    page = shown(person, "/records?tag=team%3Dblue&range=1h")
    fields = {
        str(each["name"]): str(each["value"])
        for tag, each in page.tags
        if tag == "input" and each.get("type") == "hidden" and each.get("form") is None
    }
    assert fields["tag"] == "team=blue"
    assert fields["since"] < fields["until"]
    asked = {name: fields[name] for name in ("back", "tag", "since", "until")}
    answer = pressed(person, "/datasets", dataset="mine", **asked)
    kept = site.program().get("/api/v1/datasets/mine").json()["dataset"]
    assert (answer.status_code, answer.headers["location"]) == (303, f"/datasets/{kept['digest'][:16]}")
    assert "The dataset is kept" in shown(person, answer.headers["location"]).text
    assert sum(kept["sizes"].values()) == 5
    assert "is no name of a dataset" in pressed(person, "/datasets", dataset="a/b", **asked).text


def test_the_holdout_is_locked(site: Site, program: TestClient) -> None:
    """Without a reason it stays shut; each reading is on record, and in the audit log without its words."""
    created(program)
    assert "is locked" in refused(program.get("/api/v1/datasets/golden/items?part=holdout"))
    assert "give both" in refused(program.post("/api/v1/datasets/golden/holdout", json={"why": " "}))
    for before in (0, 1):
        opened = program.post("/api/v1/datasets/golden/holdout", json={"why": "for Ann"}).json()
        assert (opened["reads_before"], [each["id"] for each in opened["items"]]) == (before, ["holdout"])
    readings = program.get("/api/v1/datasets/golden").json()["readings"]
    assert [(each["who"], each["why"]) for each in readings] == [("admin key", "for Ann")] * 2
    assert "Ann" not in str(site.audit.entries)
    assert site.audit.entries[-1][0] == "dataset.holdout"
    assert "none of train" in refused(program.get("/api/v1/datasets/golden/items?part=test"))


def test_a_deleted_dataset_is_gone(site: Site, program: TestClient) -> None:
    """And what is not there is 404, with the names that are."""
    created(program)
    assert program.post("/api/v1/datasets/golden/delete").json() == {"deleted": "golden"}
    assert site.audit.entries[-1][:3] == ("dataset.delete", "admin key", "golden")
    for method, path in (("GET", ""), ("GET", "/items"), ("POST", "/holdout"), ("POST", "/delete")):
        answer = program.request(method, f"/api/v1/datasets/golden{path}", json={"why": "x"})
        assert "no dataset is called 'golden'" in refused(answer, 404)


def test_an_evaluation_is_queued_and_shown(site: Site, program: TestClient) -> None:
    """As a job of what was asked for; its report is there once it is done."""
    created(program)
    job = program.post("/api/v1/evals", json={**ORDER, "gates": ["exact:better"]}).json()
    assert (job["kind"], job["state"], job["by"]) == ("eval", "queued", "admin key")
    found = program.get(f"/api/v1/evals/{job['id']}").json()
    assert (found["summary"]["a"]["release"], found["summary"]["b"]["release"]) == (OLD.digest, NEW.digest)
    assert (found["report"], found["plan"]["dataset_name"]) == (None, "golden")
    assert site.audit.entries[-1][:3] == ("eval.run", "admin key", job["id"])

    site.jobs.claim("me", NOW, 10.0)
    totals = ArmTotals(
        answers=1, errors=0, input_tokens=1, output_tokens=1, cost_usd=Decimal(0), cost_unknown=0
    )
    site.evals.put_run(RunRow(id=job["id"], dataset="d", created_at=NOW, state="running", content="{}"))
    report = EvalReport(items=1, a=totals, b=totals, comparisons=())
    site.evals.finish_run(job["id"], msgspec.json.encode(report).decode())
    site.jobs.finish(job["id"], "me", EvalResult(run=job["id"], items=1, decision=None), NOW)
    found = program.get(f"/api/v1/evals/{job['id']}").json()
    assert (found["summary"]["state"], found["report"]["items"]) == ("done", 1)
    listed = program.get("/api/v1/evals").json()["evals"]
    assert [(each["id"], each["scorers"]) for each in listed] == [(job["id"], ["exact"])]


def test_a_wrong_order_is_a_400(site: Site, program: TestClient) -> None:
    """With the words of whoever looked it up, and nothing queued or noted."""
    created(program)
    noted = len(site.audit.entries)
    answer = program.post("/api/v1/evals", json={**ORDER, "scorers": ["exakt"]})
    assert "did you mean 'exact'" in refused(answer)
    assert answer.json()["error"]["code"] == "wrong_call"
    nested = program.post("/api/v1/evals", content=b'{"params":{"a":' + b"[" * 100_000)
    assert "the body is wrong: " in refused(nested)
    assert program.get("/api/v1/jobs").json()["jobs"] == []
    assert len(site.audit.entries) == noted
    unknown = refused(program.get("/api/v1/evals/eval-0"), 404)
    assert unknown == "no evaluation 'eval-0'; `airboss eval list`, or GET /api/v1/evals, shows all"


def test_jobs_are_listed_shown_and_cancelled(site: Site, program: TestClient) -> None:
    """By kind, newest first; cancelling one that has ended changes nothing and is not noted."""
    jobs = [site.jobs.add(kind, {}, "ann", NOW) for kind in ("tune", "eval")]
    tune = program.get("/api/v1/jobs?kind=tune").json()["jobs"]
    assert [each["id"] for each in tune] == [jobs[0].id]
    assert len(program.get("/api/v1/jobs?limit=1").json()["jobs"]) == 1
    for _ in range(2):
        answer = program.post(f"/api/v1/jobs/{jobs[0].id}/cancel").json()
        assert answer["state"] == "cancelled"
    assert [entry[:3] for entry in site.audit.entries] == [("job.cancel", "admin key", jobs[0].id)]
    assert program.get(f"/api/v1/jobs/{jobs[0].id}").json()["state"] == "cancelled"
    for path in ("/api/v1/jobs/none", "/api/v1/evals/" + jobs[0].id):
        refused(program.get(path), 404)
    refused(program.post("/api/v1/jobs/none/cancel"), 404)


def test_an_app_is_evaluated_by_its_answers(site: Site, program: TestClient) -> None:
    """Held against a release, and told by its name, also in the audit log; refused with the line's number."""
    created(program)
    lines = '{"item": "validation", "answer": "yes"}\n{"item": "train", "answer": "no"}\n'
    given = {"name": "my-app", "jsonl": lines, "source": "f.jsonl"}
    job = program.post("/api/v1/evals", json={**ORDER, "answers": given}).json()
    found = program.get(f"/api/v1/evals/{job['id']}").json()
    a, b = found["summary"]["a"], found["summary"]["b"]
    assert (a["release"], b["deployment"], b["name"], found["not_judged"]) == (OLD.digest, "", "my-app", [])
    assert site.audit.entries[-1][3]["app"] == "my-app"
    alone = {"dataset": "golden", "scorers": ["latency"], "answers": given, "baseline": job["id"]}
    assert "A and B are both" in refused(program.post("/api/v1/evals", json=alone))
    timed = {**ORDER, "scorers": ["latency"], "answers": given}
    job = program.post("/api/v1/evals", json=timed).json()
    assert program.get(f"/api/v1/evals/{job['id']}").json()["not_judged"] == ["latency"]
    wrong = {**ORDER, "answers": {**given, "jsonl": lines + '{"item": "x", "answer": 1}'}}
    assert "f.jsonl, line 3: Expected `str | null`, got `int`" in refused(
        program.post("/api/v1/evals", json=wrong)
    )
    assert len(site.jobs.list()) == 2
