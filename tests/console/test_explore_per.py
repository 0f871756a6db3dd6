"""Explore by the day and by the month, and by tags."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample
from tests.console.test_pages import hrefs, shown
from tests.support.seed_records import fill, make_records

MONTHS = "since=2026-10-20T12:00:00Z&until=2026-11-24T14:00:00Z"


@pytest.fixture
def site() -> Site:
    """Six weeks of calls, which end now."""
    log = MemoryRecordLog()
    fill(log, make_records(2_000, seed=4, until=NOW, span_s=42 * 86_400))
    return Site(log=log)


@pytest.mark.parametrize(("per", "first", "rows"), [("day", "2026-10-20", 36), ("month", "2026-10", 2)])
def test_the_table_has_a_row_for_each_day_or_month(site: Site, per: str, first: str, rows: int) -> None:
    """With the numbers of the API, the oldest first; each leads to its calls, and to those alone."""
    page = shown(site.person(), f"/explore?{MONTHS}&group_by=deployment&deployment=support&per={per}")
    since, until = (each.split("=")[1] for each in MONTHS.split("&"))
    asked = {"since": since, "until": until, "group_by": "deployment", "deployment": "support", "per": per}
    told = site.program().get("/api/v1/usage", params=asked).json()["rows"]
    assert len(told) == rows
    found = re.findall(r"(20\d\d-\d\d(?:-\d\d)?) · support ?([\d,]+)", page.text)
    assert [int(each[1].replace(",", "")) for each in found] == [each["requests"] for each in told]
    assert found[0][0] == first
    links = [each for each in hrefs(page) if each.startswith("/records?") and "sort=" not in each]
    plain = [each for each in links if "status=" not in each][:rows]
    counts = []
    for link in plain:
        times = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        assert since <= times["since"] < times["until"] <= until
        counts.append(calls_of(site, link))
    assert counts == [each["requests"] for each in told]
    assert f"airboss records --by 'deployment' --per '{per}'" in page.text
    assert "compare" not in page.values("name")


def calls_of(site: Site, link: str) -> int:
    """How many calls a link leads to."""
    words = re.search(r"([\d,]+) records? match", shown(site.person(), link).text)
    assert words is not None
    return int(words[1].replace(",", ""))


def test_two_things_are_chosen_by_two_controls(site: Site) -> None:
    """The second adds to the first, wherever that came from; the same twice is once; links keep both."""
    person = site.person()
    page = shown(person, "/explore?range=30d&group_by=deployment&and_by=model")
    told = site.program().get("/api/v1/usage", params={"range": "30d", "group_by": "deployment,model"}).json()
    for row in told["rows"]:
        assert " · ".join(row["group"]) in page.text
    assert "airboss records --by 'deployment,model'" in page.text
    assert any("group_by=deployment%2Cmodel" in each for each in hrefs(page))
    raw = person.get("/explore?range=30d&group_by=deployment,model").text
    first, second = re.findall(r'<select name="(?:group_by|and_by)".*?</select>', raw)
    assert '<option value="deployment" selected>' in first
    assert '<option value="model" selected>' in second
    assert '<option value="deployment"' not in second
    once = shown(person, "/explore?range=30d&group_by=model&and_by=model")
    assert "--by 'model'" in once.text
    kept = {"name": "pairs", "url": "/explore?range=30d&group_by=deployment&and_by=model"}
    saved = site.program().post("/api/v1/views", json=kept).json()
    assert saved["query"] == {"range": "30d", "group_by": "deployment,model"}, "as programs ask for it, too"


def test_this_month_and_the_last_are_a_click_away(site: Site) -> None:
    """In UTC, as budgets and sums by the month are; what else is chosen stays."""
    person = site.person()
    page = shown(person, "/explore?range=24h&group_by=deployment")
    this, last = [each for each in hrefs(page) if "since=2026-1" in each and each.startswith("/explore")][:2]
    assert this == "/explore?group_by=deployment&since=2026-11-01T00%3A00%3A00Z"
    assert last == (
        "/explore?group_by=deployment&since=2026-10-01T00%3A00%3A00Z&until=2026-11-01T00%3A00%3A00Z"
    )
    assert shown(person, last)


def test_tags_of_the_newest_calls_can_be_chosen(site: Site) -> None:
    """By their names; one that cannot be asked for is not offered."""
    put(site.log, sample(tags={"team ü": "x", "a,b": "y", "<i>": "z"}))
    page = shown(site.person(), "/explore")
    offered = [each for each in page.values("value") if str(each).startswith("tag:")]
    assert offered == ["tag:<i>", "tag:app", "tag:env", "tag:team ü"] * 2  # as the first and as the second
    assert "per" in page.values("name")
