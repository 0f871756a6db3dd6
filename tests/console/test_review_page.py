"""A sample of answers judged one by one, as a browser without scripts does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from airboss.store.memory import MemoryRecordLog
from tests.console.governed import Governed, governed
from tests.console.site import NOW, put, sample
from tests.console.test_judges import record_id, said
from tests.console.test_pages import HOSTILE, hostile_record

LOCAL = {"origin": "http://testserver"}
COUNT = 12


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """Twelve calls of a deployment that a judge has scored, and one of another."""
    with governed(tmp_path) as made:
        made.log = MemoryRecordLog()
        for number in range(COUNT):
            at = NOW - timedelta(minutes=number + 1)
            put(made.log, sample(id=record_id(number), deployment="support", started_at=at))
        put(made.log, sample(id=record_id(99), deployment="other", started_at=NOW - timedelta(minutes=1)))
        made.log.put_scores([said(number, number / 11, source="scorer") for number in range(COUNT)])
        yield made


def begin(person: TestClient, **fields: str) -> str:
    """Begin a review; its address."""
    given = {"name": "right", "deployment": "support", "status": "ok", "range": "24h", "n": "5", **fields}
    answer = person.post("/review/start", data=given, headers=LOCAL)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def shown(page: str) -> str:
    """The record that a page asks about."""
    found = re.search(r'name="id" value="([^"]+)"><input type="hidden" name="place"', page)
    assert found is not None, page[-2_000:]
    return found[1]


def press(person: TestClient, address: str, value: str, **more: str) -> str:
    """Give an answer as the page's form does; the address that it leads to."""
    page = person.get(address).text
    place = re.search(r'name="place" value="(\d+)"', page)
    assert place is not None
    back = re.search(r'name="back" value="([^"]+)"', page[page.index("/review/judge") :])
    assert back is not None
    fields = {"back": unescape(back[1]), "id": shown(page), "place": place[1], "value": value, **more}
    answer = person.post("/review/judge", data=fields, headers=LOCAL)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def stand(site: Governed, name: str = "right") -> dict[str, tuple[Any, str, str, str | None]]:
    """What people have said, by record."""
    ids = [record_id(number) for number in (*range(COUNT), 99)]
    return {
        each.subject_id: (each.value, each.source, each.by, each.comment)
        for each in site.log.scores_of(ids)
        if each.source in {"review", "sample"} and each.name == name
    }


def test_the_way_through_a_sample(site: Governed) -> None:
    """One after the other, each once, with a comment, a skip and an undo; the end says what came of it, leads
    to what was skipped, and the sample stands still when calls and clocks go on."""
    person = site.person()
    address = begin(person)
    assert "1 of 5" in person.get(address).text
    seen = [shown(person.get(address).text)]
    address = press(person, address, "yes", comment="it has the year")
    site.clock.forward(600)
    put(site.log, sample(id=record_id(77), deployment="support", started_at=site.clock.now()))
    seen.append(shown(person.get(address).text))
    address = press(person, address, "no")
    page = person.get(address).text
    assert ("3 of 5" in page, "2 judged" in page) == (True, True)

    undone = person.post("/review/undo", data={"back": address, "id": seen[1]}, headers=LOCAL)
    address = undone.headers["location"]
    assert shown(person.get(address).text) == seen[1]
    assert set(stand(site)) == {seen[0]}
    address = press(person, address, "yes")

    skip = re.search(r'href="([^"]+)" data-press="s"', person.get(address).text)
    assert skip is not None
    skipped = shown(person.get(address).text)
    address = unescape(skip[1])
    for _ in range(2):
        seen.append(shown(person.get(address).text))
        address = press(person, address, "no")
    end = person.get(address).text
    assert ("4 of 5 judged" in end, skipped in seen) == (True, False)
    rest = re.search(r'href="([^"]+)">Go through what was skipped', end)
    assert rest is not None
    assert shown(person.get(unescape(rest[1])).text) == skipped
    address = press(person, unescape(rest[1]), "no")
    assert "5 of 5 judged" in person.get(address).text
    assert len(set(seen)) == 4
    assert stand(site)[seen[0]] == (True, "sample", "console", "it has the year")
    assert {each[1] for each in stand(site).values()} == {"sample"}
    assert sorted(each[0] for each in stand(site).values()) == [False, False, False, True, True]


def test_the_next_sample_has_other_answers(site: Governed) -> None:
    """Nobody is asked twice under one name; another person, and another name, begin anew."""
    person = site.person()
    address = begin(person, n="8")
    for _ in range(8):
        address = press(person, address, "yes")
    first = set(stand(site))
    site.clock.forward(1)
    address = begin(person, n="8")
    assert "1 of 4" in person.get(address).text
    for _ in range(4):
        address = press(person, address, "yes")
    assert len(stand(site)) == COUNT
    assert len(first) == 8
    site.clock.forward(1)
    assert "nothing to judge" in person.get(begin(person)).text
    assert "1 of 5" in person.get(begin(person, name="tone")).text
    other = site.person("operator")
    assert "1 of 5" in other.get(begin(other)).text


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({}, "sample"),
        ({"judge": "right"}, "sample"),
        ({"score": "scorer:right>0.5"}, "review"),
        ({"model": "gpt-4o-mini"}, "review"),
        ({"mode": "lowest", "judge": "right"}, "review"),
        ({"mode": "unsure", "judge": "right"}, "review"),
    ],
)
def test_only_what_chance_chose_of_all_calls_is_a_sample(
    site: Governed, fields: dict[str, str], source: str
) -> None:
    """Other filters and other orders are kept as what somebody picked."""
    if "model" in fields:
        put(site.log, sample(id=record_id(50), deployment="support", model="gpt-4o-mini", started_at=NOW))
        site.clock.forward(60)
    person = site.person()
    press(person, begin(person, **fields), "yes")
    found = [each for each in site.log.scores_of([record_id(50)]) if each.source != "scorer"]
    assert {each[1] for each in stand(site).values()} | {each.source for each in found} == {source}


def test_stars_and_labels(site: Governed) -> None:
    """Each scale has its buttons with their keys, and gives its kind of value."""
    person = site.person()
    address = begin(person, scale="1-5", name="stars")
    assert 'value="5" data-press="5"' in person.get(address).text
    press(person, address, "4")
    assert [each[0] for each in stand(site, "stars").values()] == [4.0]
    address = begin(
        person, scale="labels", labels=" kind, <rude> ", name="tone", ask="How <i>does</i> it sound?"
    )
    page = person.get(address).text
    assert "How &lt;i&gt;does&lt;/i&gt; it sound?" in page
    assert 'value="&lt;rude&gt;" data-press="2"' in page
    press(person, address, "<rude>")
    assert [each[0] for each in stand(site, "tone").values()] == ["<rude>"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a b"},
        {"name": ""},
        {"scale": "1-10"},
        {"scale": "labels"},
        {"scale": "labels", "labels": "a,a"},
        {"scale": "labels", "labels": ",".join("abcdefghij")},
        {"n": "0"},
        {"n": "501"},
        {"seed": "x"},
        {"mode": "best"},
        {"mode": "lowest"},
        {"judge": "a b"},
        {"score": "right<rude"},
        {"range": "1y"},
    ],
)
def test_a_review_that_cannot_be_is_not_begun(site: Governed, fields: dict[str, str]) -> None:
    """It is told why."""
    given = {"name": "right", "deployment": "support", "range": "24h", **fields}
    answer = site.person().post("/review/start", data=given, headers=LOCAL)
    assert answer.status_code == 400, answer.text
    assert "Nothing was changed" in answer.text


def test_an_address_or_a_form_that_is_wrong_changes_nothing(site: Governed) -> None:
    """Whatever somebody writes into it."""
    person = site.person()
    address = begin(person)
    for wrong in (f"{address}&at=x", f"{address}&nothing=1", address.replace("begun=", "begun=x")):
        assert person.get(wrong).status_code == 400, wrong
    record = shown(person.get(address).text)
    for fields in (
        {"back": "/records", "id": record, "value": "yes"},
        {"back": address, "id": record, "value": "maybe"},
        {"back": address, "id": record, "value": ""},
        {"back": address, "id": "", "value": "yes"},
    ):
        assert person.post("/review/judge", data=fields, headers=LOCAL).status_code == 400, fields
    gone = {"back": address, "id": record_id(1234), "value": "yes"}
    assert person.post("/review/judge", data=gone, headers=LOCAL).status_code == 404
    assert stand(site) == {}


@pytest.mark.parametrize("word", HOSTILE[:3])
def test_what_is_judged_is_inert(site: Governed, word: str) -> None:
    """No tag comes out of a record, and nothing of what scorers say is shown before it is judged."""
    site.log = MemoryRecordLog()
    put(site.log, hostile_record(word))
    person = site.person()
    page = person.get(begin(person, deployment="", status="", range="30d")).text
    assert word not in page or "<" not in word
    assert "<script>alert" not in page


def test_the_form_keeps_what_an_address_says(site: Governed) -> None:
    """Filters from elsewhere come along; the judges and names there are, are offered."""
    person = site.person()
    page = person.get("/review?deployment=support&error_type=timeout&name=tone&range=7d").text
    for part in ('name="error_type" value="timeout"', 'value="tone"', "<option>right</option>"):
        assert part in page, part
    address = begin(person, error_type="timeout")
    assert dict(parse_qsl(urlsplit(address).query))["error_type"] == "timeout"
    assert "nothing to judge" in person.get(address).text
