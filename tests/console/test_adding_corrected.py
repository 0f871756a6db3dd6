"""What would have been right is what a call's item expects: by the admin API, and by the forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from tests.console.described import assert_as_described
from tests.console.looped import LoopSite, opened, pressed
from tests.console.site import put
from tests.console.test_api_adding import ANN, add, call, every, picked
from tests.console.test_api_eval import LINES
from tests.console.test_judges import said
from tests.support.seed_loop import OLD_PROMPT

CALL = f"/records/{ANN}1"
BLUE: dict[str, Any] = {"tags": {"team": "blue"}}
MATCHING = {"filters": {"tag": "team=blue"}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoopSite]:
    """A console with a dataset and four calls, of which the second was put right."""
    with opened(tmp_path) as made:
        erasures = SqlErasures(made.loop.data.ledger_url)
        made.people = Forgetting(erasures, "key")
        made.loop.apply(OLD_PROMPT)
        put(made.log, *(call(number, **BLUE) for number in range(4)))
        made.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        put_right(made.program(), 1, "No.")
        yield made
        erasures.close()


@pytest.fixture
def program(site: LoopSite) -> TestClient:
    """A program with the admin key."""
    return site.program()


def put_right(program: TestClient, number: int, text: str) -> None:
    """Write what would have been right."""
    body = {"name": "right", "value": False, "correction": text}
    answer = program.post(f"/api/v1/records/{ANN}{number}/scores", json=body)
    assert answer.status_code == 200, answer.text


def expected(site: LoopSite, name: str = "golden") -> dict[str, Any]:
    """What the items of calls expect, by the last digit of their ids."""
    return {id[-1]: item.get("expected") for id, item in every(site, name).items() if id.startswith(ANN)}


def test_calls_that_match_expect_it(site: LoopSite, program: TestClient) -> None:
    """How many is told, also of what is there already and was put right since."""
    document = program.get("/api/openapi.json").json()
    done = add(program, matching=MATCHING)
    assert_as_described(document, "POST", "/api/v1/datasets/{name}/add", done)
    assert (done["added"], done["corrected"]) == (4, 1)
    assert expected(site) == {"0": None, "1": "No.", "2": None, "3": None}
    put_right(program, 2, "Never.")
    again = add(program, matching=MATCHING)
    assert_as_described(document, "POST", "/api/v1/datasets/{name}/add", again)
    assert (again["added"], again["corrected"], again["changed"], again["parts"]) == (0, 0, 1, {})
    assert again["left_out"] == {"is there already": 3}
    assert expected(site) == {"0": None, "1": "No.", "2": "Never.", "3": None}
    assert again["dataset"]["digest"] != done["dataset"]["digest"]
    action, _, _, detail = site.audit.entries[-1]
    assert (action, detail["added"], detail["changed"]) == ("dataset.add", 0, 1)
    made = program.post("/api/v1/datasets", json={"name": "new", "records": MATCHING}).json()
    assert (made["corrected"], expected(site, "new")["2"]) == (2, "Never.")


def test_what_a_person_said_is_never_overwritten(site: LoopSite, program: TestClient) -> None:
    """Neither what they wrote, nor that nothing is to be expected, nor what an item has expected from the
    beginning: these are left out and counted, also when the version of before has become the newest again."""
    add(program, matching=MATCHING)
    for number, value in ((0, "Mine."), (1, None), (2, "Mine."), (2, None)):
        body = {"expected": {f"{ANN}{number}": value}}
        assert program.post("/api/v1/datasets/golden/change", json=body).json()["changed"] == 1
    for number in range(4):
        put_right(program, number, "Later.")
    for changed in (1, 0):
        done = add(program, matching=MATCHING)
        assert (done["added"], done["changed"]) == (0, changed)
        assert sum(done["left_out"].values()) == 4 - changed
        assert expected(site) == {"0": "Mine.", "1": None, "2": None, "3": "Later."}


def test_calls_that_are_named_expect_it(site: LoopSite, program: TestClient) -> None:
    """Unless something else is said. One that is there already is no reason to refuse the others."""
    add(program, records=picked(1, corrected=False))
    done = add(program, records=picked(1, 2))
    assert (done["added"], done["corrected"], done["changed"], done["left_out"]) == (1, 0, 1, {})
    add(program, "other", records=picked(1, expected="Maybe."), create=True)
    assert add(program, "more", records=picked(1, answered=True), create=True)["corrected"] == 0
    assert add(program, "most", records=picked(1), create=True)["corrected"] == 1
    said = [expected(site, name)["1"] for name in ("golden", "other", "more", "most")]
    assert said == ["No.", "Maybe.", "Yes.", "No."]


def test_the_form_on_a_calls_page_is_filled_with_it(site: LoopSite) -> None:
    """With who wrote it; emptied, nothing is expected."""
    person = site.person("operator")
    page = person.get(CALL).text
    assert "as admin key put it right; empty: nothing is expected" in page
    assert '<textarea name="expected" rows="3" maxlength="20000" dir="auto">\nNo.</textarea>' in page
    assert "what was answered is right" not in page
    assert "what was answered is right" in person.get(f"/records/{ANN}0").text
    pressed(person, f"{CALL}/dataset", back=CALL, dataset="golden", expected="")
    assert expected(site) == {"1": None}
    pressed(person, f"{CALL}/dataset", back=CALL, fresh="own", expected="No.")
    assert expected(site, "own") == {"1": "No."}


def test_what_a_field_cannot_hold_is_expected_all_the_same(site: LoopSite, program: TestClient) -> None:
    """It is said so, and taken where nothing else is written."""
    text = "\u200fnot 14 days"
    put_right(program, 1, text)
    person = site.person("operator")
    page = person.get(CALL).text
    assert text not in page
    assert "empty: what admin key wrote in its place" in page
    assert '<input type="hidden" name="corrected" value="yes">' in page
    pressed(person, f"{CALL}/dataset", back=CALL, dataset="golden", expected="", corrected="yes")
    assert expected(site) == {"1": text}


def test_a_long_one_is_no_page_of_its_own(site: LoopSite, program: TestClient) -> None:
    """A list of items shows how it begins, as of questions; all of it is in the form that changes it."""
    put_right(program, 1, "Word. " * 3_000)
    add(program, matching=MATCHING)
    for role, times in (("reader", 0), ("operator", 1)):
        person: Any = role
        page = site.person(person).get("/datasets/golden?part=train").text
        page += site.person(person).get("/datasets/golden?part=validation").text
        assert page.count("Word. " * 2_999) == times
        assert "Word. " * 90 in page


def test_the_form_is_filled_with_what_an_apps_user_wrote(site: LoopSite) -> None:
    """With whose it is; but not with what another than the caller wrote, with whom the item would not go."""
    person = site.person("operator")
    for number, user in ((2, "ann"), (3, "eve")):
        given = said(number, "given", source="human", by="app", user=user, subject_id=f"{ANN}{number}")
        site.log.put_scores([replace(given, name="correction", comment="Never.")])
    page = person.get(f"/records/{ANN}2").text
    assert "as ann with key app put it right; empty: nothing is expected" in page
    assert 'dir="auto">\nNever.</textarea>' in page
    assert 'dir="auto">\nNever.</textarea>' not in person.get(f"/records/{ANN}3").text


@pytest.mark.parametrize("onto", ["golden", ""])
def test_the_form_below_records_says_how_many(site: LoopSite, onto: str) -> None:
    """On the dataset's page that it leads to."""
    person = site.person("operator")
    fields = {"back": "/records", "tag": "team=blue", "onto": onto, "dataset": "own"}
    where = pressed(person, "/datasets", **fields).headers["location"]
    assert "corrected=1" in where
    said = "One of the items that were added expects what people wrote in place of the answer."
    assert said in person.get(where).text
    assert person.get(where.replace("corrected=1", "corrected=x")).status_code == 400
    assert said not in person.get(where.partition("?")[0]).text
    put_right(site.program(), 2, "Never.")
    where = pressed(person, "/datasets", **{**fields, "onto": onto or "own"}).headers["location"]
    assert "One item that was there expects now what people wrote" in person.get(where).text


def test_nothing_of_who_is_being_forgotten_is_counted(site: LoopSite, program: TestClient) -> None:
    """Their calls become no items."""
    put(site.log, call(5, user="bob", **BLUE))
    site.people.ask("ann", by="x", now=site.clock.now())
    assert add(program, matching=MATCHING)["corrected"] == 0
    made = program.post("/api/v1/datasets", json={"name": "new", "records": MATCHING}).json()
    assert (made["corrected"], every(site, "new").keys()) == (0, {f"{ANN}5"})
