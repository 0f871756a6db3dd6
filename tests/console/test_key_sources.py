"""Where a key is good from, over the admin API and on its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.governance.audit import read_leaf
from tests.console.governed import Governed, governed, kept, post
from tests.console.looped import pressed


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """One with a few keys."""
    with governed(tmp_path) as made:
        yield made


def test_it_is_made_kept_and_taken_away(site: Governed) -> None:
    """With the other terms, in one leaf of the audit log each time; a rotation keeps it."""
    assert post(site, "", name="app", sources=["10.0.0.0/8", "192.0.2.7/32"])[0] == 200
    assert kept(site).sources == ("10.0.0.0/8", "192.0.2.7")
    detail = read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail
    assert detail["sources"] == ["10.0.0.0/8", "192.0.2.7"]
    assert post(site, "/app/rotate")[0] == 200
    status, shown = post(site, "/app/set", limits={"concurrency": 3})
    assert (status, shown["sources"]) == (200, ["10.0.0.0/8", "192.0.2.7"])
    assert post(site, "/app/set", sources=None)[1]["sources"] is None
    assert "sources" not in read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"sources": []}, "opens nothing"),
        ({"sources": ["10.0.0.5/8"]}, "write 10.0.0.0/8"),
        ({"sources": ["a"] * 99}, "no address"),
        ({"sources": "10.0.0.0/8"}, "array"),
        ({"sources": ["10.0.0.0/8"], "role": "viewer"}, "a key with a role (viewer) makes none"),
    ],
)
def test_what_means_nothing_is_refused(site: Governed, body: dict[str, Any], words: str) -> None:
    """And nothing is made."""
    before = site.ledger.all_keys()
    status, answer = post(site, "", name="app", **body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer
    assert site.ledger.all_keys() == before


def test_the_form_says_it(site: Governed) -> None:
    """By commas or blanks; an empty field is everywhere, and what is no network is told."""
    person = site.person("admin")
    made = pressed(person, "/governance/keys", name="app", sources="10.0.0.0/8, 192.0.2.7")
    assert made.status_code == 200, made.text
    assert kept(site).sources == ("10.0.0.0/8", "192.0.2.7")
    page = person.get("/governance/keys/app").text
    assert 'value="10.0.0.0/8, 192.0.2.7"' in page
    assert "from 10.0.0.0/8, 192.0.2.7 alone" in page
    refused = pressed(person, "/governance/keys/app/set", sources="<b>")
    assert refused.status_code == 400
    assert "&lt;b&gt;" in refused.text
    assert pressed(person, "/governance/keys/app/set", sources="").status_code == 303
    assert kept(site).sources is None
