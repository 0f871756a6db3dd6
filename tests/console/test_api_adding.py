"""Adding to datasets by the admin API: recorded calls and lines, all or nothing, noted, nobody forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.config.types import Role
from airboss.console import api, api_adding
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder
from airboss.evaluations.work import evaluate
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from tests.console.described import assert_as_described
from tests.console.looped import LoopSite, opened
from tests.console.site import put, sample
from tests.console.test_api_eval import LINES, refused
from tests.evaluations.support import FakeCaller
from tests.support.seed_loop import OLD_PROMPT

ANN = "01931f00-0000-7000-8000-00000000000"


def call(number: int, text: str = "", **fields: Any) -> Any:
    """A call of ann's, begun some minutes ago."""
    request = {"messages": [{"role": "user", "content": text or f"question {number}"}]}
    return sample(
        **{
            "id": f"{ANN}{number}",
            "operation": "chat",
            "status": "ok",
            "user": "ann",
            "session": None,
            "request": request,
            "response": {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]},
            **fields,
        }
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoopSite]:
    """A console with a deployment, a dataset in three parts and some calls."""
    with opened(tmp_path) as made:
        erasures = SqlErasures(made.loop.data.ledger_url)
        made.people = Forgetting(erasures, "key")
        made.loop.apply(OLD_PROMPT)
        put(made.log, *(call(number) for number in range(4)))
        answer = made.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        assert answer.status_code == 200, answer.text
        yield made
        erasures.close()


@pytest.fixture
def program(site: LoopSite) -> TestClient:
    """A program with the admin key."""
    return site.program()


def add(program: TestClient, name: str = "golden", **given: Any) -> Any:
    """What came of it."""
    answer = program.post(f"/api/v1/datasets/{name}/add", json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def picked(*numbers: int, **given: Any) -> dict[str, Any]:
    """These calls."""
    return {"ids": [f"{ANN}{number}" for number in numbers], **given}


def every(site: LoopSite, name: str = "golden") -> dict[str, Any]:
    """All items of the newest version, by id."""
    kept = Library(site.loop.evals, site.loop.clock.now).find(name)
    rows = site.loop.evals.every_item(kept.digest)
    return {row.id: {**msgspec.json.decode(row.content), "part": row.part} for row in rows}


def test_a_call_that_went_wrong_is_added(site: LoopSite, program: TestClient) -> None:
    """With what should have been answered; the answer says where it stands, the audit log that it was done,
    without a word of the call. Again it adds nothing, makes no version and leaves no leaf."""
    document = program.get("/api/openapi.json").json()
    done = add(program, records=picked(1, expected="No."))
    assert_as_described(document, "POST", "/api/v1/datasets/{name}/add", done)
    assert all(route in api.ROUTES for route in api_adding.ROUTES)
    assert (done["added"], sum(done["parts"].values()), done["left_out"]) == (1, 1, {})
    item = every(site)[f"{ANN}1"]
    assert (item["expected"], item["user"], item["group"], item["record"]) == ("No.", "ann", "ann", f"{ANN}1")
    assert {item["part"]: 1} == done["parts"]
    action, actor, subject, detail = site.audit.entries[-1]
    assert (action, actor, subject) == ("dataset.add", "admin key", "golden")
    assert (detail["digest"], detail["added"]) == (done["dataset"]["digest"], 1)
    assert "question" not in str(detail)
    leaves = len(site.audit.entries)
    again = add(program, records=picked(1, expected="No."))
    assert (again["added"], again["left_out"]) == (0, {"is there already": 1})
    assert again["dataset"] == done["dataset"]
    assert len(site.audit.entries) == leaves


def test_a_persons_calls_stay_in_one_part(site: LoopSite, program: TestClient) -> None:
    """Whether they come at once or one by one, and wherever the first was put."""
    (part,) = add(program, records=picked(0), part="train")["parts"]
    assert part == "train"
    assert add(program, records=picked(1, 2))["parts"] == {"train": 2}
    answer = program.post("/api/v1/datasets/golden/add", json={"records": picked(3), "part": "holdout"})
    assert f"group 'ann' is in train, and item '{ANN}3' is to be in holdout" in refused(answer)
    assert add(program, records=picked(3, group_by="none"), part="holdout")["parts"] == {"holdout": 1}


def test_lines_are_added_as_they_are_made_of(site: LoopSite, program: TestClient) -> None:
    """JSON Lines and cells; those that are there are counted, one that is wrong is named and nothing kept."""
    done = add(program, jsonl=LINES + '{"id": "new", "input": "New?", "part": "train"}\n')
    assert (done["added"], done["parts"], done["left_out"]) == (1, {"train": 1}, {"is there already": 3})
    done = add(program, jsonl="input,expected\nCells?,yes\n", part="validation")
    assert done["parts"] == {"validation": 1}
    before = every(site)
    answer = program.post(
        "/api/v1/datasets/golden/add", json={"jsonl": '{"input": "x"}\n{"inptu": 1}', "source": "f.jsonl"}
    )
    assert "f.jsonl, line 2: " in refused(answer)
    assert every(site) == before


def test_a_dataset_begins_with_what_is_added_if_that_is_asked_for(
    site: LoopSite, program: TestClient
) -> None:
    """All of it is in the part by which evaluations compare."""
    answer = program.post("/api/v1/datasets/regressions/add", json={"records": picked(1)})
    assert "no dataset is called 'regressions'" in refused(answer, 404)
    done = add(program, "regressions", records=picked(1, 2), create=True)
    assert (done["added"], done["dataset"]["sizes"]["validation"]) == (2, 2)
    assert add(program, "regressions", records=picked(3), create=True)["dataset"]["sizes"]["validation"] == 3
    answer = program.post("/api/v1/datasets/a%20b/add", json={"records": picked(1), "create": True})
    assert "is no name of a dataset" in refused(answer)


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("goldne", {"records": picked(1)}, 404, "did you mean 'golden'?"),
        ("golden", {}, 400, "either `jsonl` or `records`"),
        ("golden", {"records": picked(1), "jsonl": "x"}, 400, "either `jsonl` or `records`"),
        ("golden", {"jsonl": "\n"}, 400, "has no item; there is nothing to add"),
        ("golden", {"records": {"ids": []}}, 400, "0 records; name 1 to 1,000"),
        ("golden", {"records": {"ids": [str(n) for n in range(1_001)]}}, 400, "1001 records; name 1 to"),
        ("golden", {"records": picked(1, 2, expected="x")}, 400, "one expected answer for 2 records"),
        ("golden", {"records": picked(1, expected="x" * 300_000)}, 400, "more than 256 KiB"),
        ("golden", {"records": picked(1, expected="x", answered=True)}, 400, "either what was answered"),
        ("golden", {"records": picked(9)}, 404, f"no record {ANN}9; a call appears within seconds"),
        ("golden", {"records": picked(1), "part": "test"}, 400, "the body is wrong"),
        ("golden", {"records": picked(1, sesion="x")}, 400, "the body is wrong"),
    ],
)
def test_what_cannot_be_added_is_refused(
    site: LoopSite, name: str, body: Any, status: int, said: str
) -> None:
    """With what was wrong, and nothing kept."""
    before = site.loop.evals.datasets()
    assert said in refused(site.program().post(f"/api/v1/datasets/{name}/add", json=body), status)
    assert site.loop.evals.datasets() == before


def test_calls_that_no_item_can_be_made_of_are_named(site: LoopSite, program: TestClient) -> None:
    """Each with its cause, and of those that could be none is added."""
    put(
        site.log,
        call(5, status="error", error_type="interrupted"),
        call(6, request=None, response=None),
        call(7, operation="embeddings"),
    )
    answer = program.post("/api/v1/datasets/golden/add", json={"records": picked(1, 5, 6, 7)})
    said = refused(answer)
    assert f"{ANN}5 (ended as error), {ANN}6 (no messages were kept), {ANN}7 (a call of embed" in said
    assert f"{ANN}1" not in every(site)


def test_an_older_version_is_not_added_to(site: LoopSite, program: TestClient) -> None:
    """By its digest it is told which is the newest; that one may be named by its digest."""
    old = program.get("/api/v1/datasets/golden").json()["dataset"]["digest"]
    new = add(program, old[:12], records=picked(1))["dataset"]["digest"]
    answer = program.post(f"/api/v1/datasets/{old}/add", json={"records": picked(2)})
    assert (
        f"an older version of 'golden'; what is added or changed goes to the newest, {new[:12]}"
        in refused(answer)
    )


def test_who_is_forgotten_is_not_added_anew(site: LoopSite, program: TestClient) -> None:
    """Not of calls that are still there while the erasure waits, and, forgotten in just the moment between
    reading and keeping, neither; the ledger is as it was."""
    site.people.ask("ann", by="x", now=site.clock.now())
    answer = program.post("/api/v1/datasets/golden/add", json={"records": picked(1)})
    assert "no record" in refused(answer, 404)
    before, leaves = site.loop.evals.datasets(), len(site.audit.entries)
    site.people.covers = lambda _record: False
    for path, body in (
        ("datasets/golden/add", {"records": picked(1)}),
        ("datasets/new/add", {"records": picked(1), "create": True}),
    ):
        answer = program.post(f"/api/v1/{path}", json=body)
        assert "is being forgotten; ask again" in refused(answer, 503)
        assert site.loop.evals.datasets() == before
    assert len(site.audit.entries) == leaves


def test_a_dataset_that_is_made_holds_nobody_who_was_forgotten_meanwhile(
    site: LoopSite, program: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the erasure is asked for after the calls were read."""
    kept = site.people.tombstones
    asked: list[int] = []

    def later() -> Any:
        asked.append(1)
        if len(asked) == 2:
            site.people.ask("ann", by="x", now=site.clock.now())
        return kept()

    monkeypatch.setattr(site.people, "tombstones", later)
    answer = program.post("/api/v1/datasets", json={"name": "mine", "records": {"filters": {"user": "ann"}}})
    assert "is being forgotten; ask again" in refused(answer, 503)
    assert [each.name for each in site.loop.evals.datasets()] == ["golden"]


def test_all_who_add_at_once_are_kept(site: LoopSite) -> None:
    """By the API, with retries that nobody sees."""
    failures: list[str] = []

    def adding(number: int) -> None:
        with site.program() as mine:
            for turn in range(3):
                lines = f'{{"id": "{number}-{turn}", "input": "{number} {turn}?"}}'
                answer = mine.post("/api/v1/datasets/golden/add", json={"jsonl": lines})
                if answer.status_code != 200:
                    failures.append(answer.text)

    threads = [threading.Thread(target=adding, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {f"{number}-{turn}" for number in range(6) for turn in range(3)} <= set(every(site))


def test_an_evaluation_goes_on_with_the_version_that_it_began_with(
    site: LoopSite, program: TestClient
) -> None:
    """What is added after it was asked for is not in it. The next one has it, and pays for that alone: items
    that are the same have the same ids and answers."""
    loop = site.loop
    order = EvalOrder(dataset="golden", deployment="support", scorers=("exact",), baseline="none")
    asked = loop.orders.start(order, by="ada")
    loop.clock.at += timedelta(seconds=1)  # jobs of one moment are done in any order
    add(program, jsonl='{"id": "more", "input": "More?", "expected": "yes", "part": "validation"}')
    loop.orders.start(order, by="ada")
    found = []
    clerk = FakeCaller(lambda _: "yes")
    for _ in range(2):
        job = loop.jobs.claim("worker", loop.clock.at, 10)
        assert job is not None
        result = asyncio.run(
            evaluate(job, store=loop.evals, caller=clerk, now=loop.clock.now, report=lambda *_: None)
        )
        rows = loop.evals.results(job.id)
        found.append(
            (job.id, result.items, {row.item: msgspec.json.decode(row.content)["key"] for row in rows})
        )
    (first, few, before), (_, more, after) = found
    assert (first, few, more) == (asked.id, 1, 2)
    assert set(after) - set(before) == {"more"}
    assert {name: after[name] for name in before} == before


def test_who_may_only_look_adds_nothing(site: LoopSite) -> None:
    """A reader is refused, an operator is not."""
    roles: tuple[tuple[Role, int], ...] = (("viewer", 403), ("reader", 403), ("operator", 200))
    for role, status in roles:
        answer = site.program(role).post("/api/v1/datasets/golden/add", json={"records": picked(1)})
        assert answer.status_code == status


def test_the_recorded_answer_is_expected_where_people_approved_of_it(
    site: LoopSite, program: TestClient
) -> None:
    """By its score, as when a dataset is made."""
    put(site.log, call(8, "Fine?", scores={"golden": 1}), call(9, "Bad?", scores={"golden": 0}))
    add(program, records=picked(8, 9, approved="golden"))
    assert [every(site)[f"{ANN}{number}"].get("expected") for number in (8, 9)] == ["Yes.", None]
    add(program, records=picked(1, 2, answered=True))
    assert [every(site)[f"{ANN}{number}"]["expected"] for number in (1, 2)] == ["Yes.", "Yes."]
    put(site.log, call(6, "Tools?", response={"choices": [{"message": {"tool_calls": []}}]}))
    answer = program.post("/api/v1/datasets/golden/add", json={"records": picked(6, answered=True)})
    assert f"{ANN}6 (its answer has no text and calls no tool)" in refused(answer)
    called = [{"type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}]
    put(site.log, call(10, "Ulm?", response={"choices": [{"message": {"tool_calls": called}}]}))
    add(program, records=picked(10, answered=True))
    assert every(site)[f"{ANN}10"]["expected"] == {"tool_calls": called}
