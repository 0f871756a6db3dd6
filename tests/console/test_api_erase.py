"""Forgetting people over the admin API: asked for, looked after, never named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.console.governed import Governed, governed
from tests.console.site import NOW, DownLog, put, sample

OTHER = "01900000-0000-7000-8000-000000000002"
USER = "ann-unmistakable-7f3a"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """One where nobody was forgotten yet."""
    with governed(tmp_path) as made:
        yield made


def test_an_erasure_is_asked_for_and_looked_after(site: Governed) -> None:
    """It is pending until the controller has done it; neither answers nor the audit log name the person."""
    program = site.program()
    asked = program.post("/api/v1/erasures", json={"user": USER})
    made = asked.json()
    assert (asked.status_code, made["state"], made["store_up"]) == (200, "pending", True)
    assert program.get(f"/api/v1/erasures/{made['id']}").json() == made
    site.people.store.found(made["id"], records=3, scores=0, items=1, names=0)
    site.people.store.finish([made["id"]], site.clock.now())
    done = program.get("/api/v1/erasures")
    assert [(each["state"], each["records"]) for each in done.json()["erasures"]] == [("done", 3)]
    (noted,) = site.audit.newest(limit=9, action="erase")
    said = asked.text + done.text + noted.leaf.content + str(noted.names)
    assert USER not in said


def test_a_name_misspelt_finds_nothing(site: Governed) -> None:
    """It says so once that is known, in the list and on the page, too."""
    program = site.program()
    for records, found in ((1, True), (0, False)):
        made = program.post("/api/v1/erasures", json={"user": USER}).json()
        assert made["found"] is None
        site.people.store.found(made["id"], records=records, scores=0, items=0, names=0)
        site.people.store.finish([made["id"]], site.clock.now())
        assert program.get(f"/api/v1/erasures/{made['id']}").json()["found"] is found
    assert [each["found"] for each in program.get("/api/v1/erasures").json()["erasures"]] == [False, True]
    assert site.person().get("/governance/erasures").text.count("nothing found") == 1


def test_a_store_that_is_down_is_told(site: Governed) -> None:
    """So that who asks knows what it waits for."""
    site.store_up = False
    assert site.program().post("/api/v1/erasures", json={"user": USER}).json()["store_up"] is False


@pytest.mark.parametrize(("ahead_s", "covered"), [(-5, False), (3_600, True), (90_000, False)])
def test_a_call_of_a_clock_that_was_ahead(site: Governed, ahead_s: int, covered: bool) -> None:
    """What was recorded of the person with a time that is to come goes too, up to a day of it."""
    newest = NOW + timedelta(seconds=ahead_s)
    put(site.log, sample(user=USER, started_at=newest))
    others = newest + timedelta(seconds=60)
    put(site.log, sample(id=OTHER, user="bob", started_at=others))
    asked = site.program().post("/api/v1/erasures", json={"user": USER}).json()
    assert datetime.fromisoformat(asked["at"]) == (newest if covered else NOW)


def test_a_store_that_fails_holds_up_nobody(site: Governed) -> None:
    """Who is to be forgotten is, though nobody can say what is of them."""
    site.log = DownLog()
    asked = site.program().post("/api/v1/erasures", json={"user": USER})
    assert (asked.status_code, datetime.fromisoformat(asked.json()["at"])) == (200, NOW)


@pytest.mark.parametrize(
    "body", [{"user": ""}, {"user": "x" * 16_385}, {}, {"user": 1}, {"user": "x", "y": 1}]
)
def test_what_is_no_user_is_refused(site: Governed, body: dict[str, object]) -> None:
    """Nothing is made of it."""
    assert site.program().post("/api/v1/erasures", json=body).status_code == 400
    assert site.program().get("/api/v1/erasures").json() == {"erasures": []}


@pytest.mark.parametrize("wanted", ["9", "x", "-1", "9" * 30])
def test_an_unknown_erasure_is_not_found(site: Governed, wanted: str) -> None:
    """Whatever its id looks like."""
    assert site.program().get(f"/api/v1/erasures/{wanted}").status_code == 404
