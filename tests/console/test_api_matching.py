"""All calls that match are added to a dataset at once: by the admin API, and by the form below records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airboss.console import api_adding
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from tests.console.looped import LoopSite, opened, pressed
from tests.console.site import put
from tests.console.test_api_adding import ANN, add, call, every, picked
from tests.console.test_api_eval import LINES, refused
from tests.support.seed_loop import OLD_PROMPT

PATH = "/api/v1/datasets/golden/add"
BLUE: dict[str, Any] = {"tags": {"team": "blue"}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoopSite]:
    """A console with a dataset in three parts, calls of ann's in one session, and some of others."""
    with opened(tmp_path) as made:
        erasures = SqlErasures(made.loop.data.ledger_url)
        made.people = Forgetting(erasures, "key")
        made.loop.apply(OLD_PROMPT)
        put(made.log, *(call(number, session="s", **BLUE) for number in range(3)))
        put(made.log, call(3, user="bob", **BLUE), call(4, user="cid"))
        put(made.log, call(5, status="error", error_type="interrupted", **BLUE))
        put(made.log, call(6, key="airboss", **BLUE))
        made.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        yield made
        erasures.close()


@pytest.fixture
def program(site: LoopSite) -> TestClient:
    """A program with the admin key."""
    return site.program()


def matching(**given: Any) -> dict[str, Any]:
    """The calls of the blue team."""
    return {"filters": {"tag": "team=blue"}, **given}


def of_calls(site: LoopSite, name: str = "golden") -> set[str]:
    """The calls in a dataset, by the last digit of their ids."""
    return {id[-1] for id in every(site, name) if id.startswith(ANN)}


def test_all_that_match_are_added(site: LoopSite, program: TestClient) -> None:
    """And nothing else, each once: what is there is counted, and so is what can be no item. The audit log has
    it; asked for again, it adds nothing."""
    add(program, records=picked(1))
    done = add(program, matching=matching())
    assert (done["added"], done["left_out"]) == (3, {"ended as error": 1, "is there already": 1})
    assert of_calls(site) == set("0123")
    assert len({every(site)[f"{ANN}{number}"]["part"] for number in range(3)}) == 1
    action, _, subject, detail = site.audit.entries[-1]
    assert (action, subject, detail["added"]) == ("dataset.add", "golden", 3)
    leaves = len(site.audit.entries)
    again = add(program, matching=matching())
    assert (again["added"], again["dataset"]) == (0, done["dataset"])
    assert len(site.audit.entries) == leaves


def test_those_that_cannot_be_added_are_left_out(site: LoopSite, program: TestClient) -> None:
    """Where people approved of an answer and the item that is there expects another, and where somebody would
    be in two parts: one such call does not keep the others out."""
    add(program, records=picked(1, expected="No."), part="train")
    put(site.log, call(7, "question 1", user="dan", scores={"golden": 1}, **BLUE))
    put(site.log, call(8, user="eve", scores={"golden": 1}, **BLUE))
    done = add(program, matching=matching(approved="golden"), part="validation")
    assert done["left_out"] == {
        "ended as error": 1,
        "the same was asked before": 1,
        "is there already and asks or expects something else": 1,
        "belongs to what is in another part": 2,
    }
    assert of_calls(site) == set("138")
    assert every(site)[f"{ANN}8"]["expected"] == "Yes."


def test_a_session_that_stays_together_is_joined(site: LoopSite, program: TestClient) -> None:
    """As by ids; unless it is said what stays in one part."""
    line = '{"id": "x", "input": "x", "group": "s", "part": "train"}'
    add(program, jsonl=line)
    assert add(program, matching={"filters": {"user": "ann"}})["parts"] == {"train": 3}
    assert {every(site)[f"{ANN}{number}"]["group"] for number in range(3)} == {"s"}
    add(program, matching={"filters": {"user": "cid"}, "group_by": "none"})
    assert every(site)[f"{ANN}4"].get("group") is None


def test_a_dataset_begins_with_what_matches(site: LoopSite, program: TestClient) -> None:
    """Where that is asked for; at most so many, the newest first."""
    answer = program.post("/api/v1/datasets/new/add", json={"matching": matching()})
    assert "no dataset is called" in refused(answer, 404)
    done = add(program, "new", matching=matching(limit=2), create=True)
    assert (done["added"], done["dataset"]["sizes"]["validation"]) == (2, 2)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"matching": matching(), "jsonl": "x"}, "`jsonl` or `records` or `matching`; give one"),
        ({"matching": matching(limit=0)}, "a dataset has 1 to 100,000 items"),
        ({"matching": {"filters": {"tga": "x"}}}, "tga"),
        ({"matching": {"ids": ["x"]}}, "the body is wrong"),
    ],
)
def test_what_cannot_be_added_is_refused(site: LoopSite, body: Any, said: str) -> None:
    """And nothing is kept."""
    before = every(site)
    assert said in refused(site.program().post(PATH, json=body))
    assert every(site) == before


def test_where_none_matches_nothing_is_added(site: LoopSite, program: TestClient) -> None:
    """And that is well: what adds each night finds none in some. A dataset that was to begin so is not there
    yet; no leaf says that anything was done."""
    before, leaves = every(site), len(site.audit.entries)
    there = program.get("/api/v1/datasets/golden").json()["dataset"]
    nobody = {"filters": {"user": "nobody"}}
    none = {"added": 0, "parts": {}, "left_out": {}, "corrected": 0, "changed": 0}
    assert add(program, matching=nobody) == {"dataset": there, **none}
    assert add(program, "new", matching=nobody, create=True) == {"dataset": None, **none}
    done = add(program, matching=matching(approved="golden", only=True))
    assert (done["added"], done["left_out"]) == (0, {"ended as error": 1, "not approved by golden": 4})
    assert (every(site), len(site.audit.entries)) == (before, leaves)
    assert program.get("/api/v1/datasets/new").status_code == 404
    assert "no dataset is called" in refused(
        program.post("/api/v1/datasets/new/add", json={"matching": nobody}), 404
    )


def test_no_dataset_begins_with_calls_that_are_all_left_out(site: LoopSite, program: TestClient) -> None:
    """It is refused with the causes, as where it is made of records, and nothing is kept."""
    leaves = len(site.audit.entries)
    wanted = matching(approved="golden", only=True)
    for path, body in (
        ("datasets/new/add", {"matching": wanted, "create": True}),
        ("datasets", {"name": "new", "records": wanted}),
    ):
        answer = program.post(f"/api/v1/{path}", json=body)
        said = refused(answer)
        assert "no record became an item: " in said
        assert "4 not approved by golden" in said
    assert program.get("/api/v1/datasets/new").status_code == 404
    assert len(site.audit.entries) == leaves


def test_who_is_being_forgotten_is_not_there(site: LoopSite, program: TestClient) -> None:
    """Others are added."""
    site.people.ask("ann", by="x", now=site.clock.now())
    add(program, matching=matching())
    assert of_calls(site) == {"3"}
    assert [route.path for route in api_adding.ROUTES] == ["/api/v1/datasets/{name}/add"]


def test_the_calls_on_a_page_are_put_into_a_dataset_that_is_there(site: LoopSite) -> None:
    """By the form below them; without any dataset it offers none."""
    person = site.person("operator")
    page = person.get("/records?tag=team%3Dblue").text
    assert "Put these calls into a dataset" in page
    assert '<select name="onto">' in page
    fields = {"back": "/records", "tag": "team=blue", "onto": "golden", "dataset": ""}
    answer = pressed(person, "/datasets", **fields)
    assert answer.status_code == 303
    assert of_calls(site) == set("0123")
    assert pressed(person, "/datasets", **{**fields, "onto": "goldne"}).status_code == 404
    none = pressed(person, "/datasets", **{**fields, "tag": "team=none"})
    assert (none.status_code, "no record became an item: none matches" in none.text) == (400, True)
    assert pressed(person, "/datasets", **fields).status_code == 303  # they are there already
    pressed(person, "/datasets", **{**fields, "onto": "", "dataset": "own"})
    assert of_calls(site, "own") == set("0123")
    for name in ("golden", "own"):
        pressed(person, f"/datasets/{name}/delete")
    assert 'name="onto"' not in person.get("/records").text
