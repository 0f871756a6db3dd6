"""How far judges can be believed: in the admin API and on the page Quality."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.domain.score import Score, ScoreValue
from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample

JUDGED, ASKED = 40, 12


def record_id(number: int) -> str:
    """Of call `number`."""
    return f"0190b1c0-0000-7000-8000-{number:012}"


def said(number: int, value: ScoreValue, **more: Any) -> Score:
    """A score of call `number`."""
    given: dict[str, Any] = {
        "id": f"{more.get('name', 'right')}-{more['source']}-{number}",
        "subject": "record",
        "subject_id": record_id(number),
        "name": "right",
        "by": "right",
        "at": NOW,
        **more,
    }
    return Score(value=value, **given)


@pytest.fixture
def site() -> Site:
    """Forty calls that the judge says yes to; a person of the house was given twelve by chance, and says no
    to four, and has given stars under a name of their own."""
    log = MemoryRecordLog()
    put(log, *(sample(id=record_id(number), deployment="support") for number in range(JUDGED)))
    log.put_scores([said(number, True, source="scorer") for number in range(JUDGED)])
    log.put_scores([said(number, number >= 4, source="sample", by="ann") for number in range(ASKED)])
    log.put_scores([said(1, 2.0, source="review", by="ann", name="stars")])
    return Site(log=log)


def test_the_api_tells_of_each_judge(site: Site) -> None:
    """Of the same name unless told otherwise; viewers may see it, as it has nobody's words."""
    (found,) = site.program("viewer").get("/api/v1/judges").json()["judges"]
    assert (found["judge"], found["people"], found["agreement"]["n"], found["sampled"]) == (
        *("right", "right"),
        *(ASKED, ASKED),
    )
    assert found["corrected"]["corrected"]["estimate"] == pytest.approx(8 / 12)
    asked = {"judge": "right", "people": "stars"}
    (other,) = site.program().get("/api/v1/judges", params=asked).json()["judges"]
    assert (other["agreement"]["n"], other["rescaled"], other["corrected"]) == (1, True, None)
    assert site.program().get("/api/v1/judges", params={"deployment": "x"}).json()["judges"] == []
    wrong = site.program().get("/api/v1/judges", params={"cut": "2"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "cut")


def test_the_page_shows_them(site: Site) -> None:
    """Numbers with their intervals, the means drawn, and a choice of names."""
    page = site.person().get("/quality").text
    for words in (
        "How far judges can be believed",
        "Cohen&#39;s kappa",
        "corrected",
        "0.667",
        "12 of them",
    ):
        assert words in page, words
    assert '<option value="">every one</option>' not in page or "stars" in page
    other = site.person().get("/quality?people=stars&judge=right").text
    assert "is not put right" in other
    assert "1 to 5 stands for 0 to 1" in other


def test_numbers_that_may_be_stars_are_told(site: Site) -> None:
    """Each is a 1: a yes, or one star of five."""
    site.log.put_scores([said(9, 1.0, source="review", by="ann", name="grade")])
    assert "one star of five" in site.person().get("/quality?people=grade&judge=right").text
    assert "one star of five" not in site.person().get("/quality?people=stars&judge=right").text


def test_nothing_is_said_where_nobody_judged() -> None:
    """The section is not there without scores, and says what is missing where scorers stand alone."""
    site = Site()
    put(site.log, sample(id=record_id(1)))
    assert "How far judges" not in site.person().get("/quality").text
    site.log.put_scores([said(1, True, source="scorer")])
    assert "Nobody of the house has judged" in site.person().get("/quality").text


def test_names_are_inert(site: Site) -> None:
    """Whatever a deployment is called."""
    put(site.log, sample(id=record_id(77), deployment="<script>x</script>"))
    for source in ("scorer", "sample"):
        site.log.put_scores([said(77, True, source=source, name="kind")])
    page = site.person().get("/quality").text
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
