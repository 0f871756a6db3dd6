"""Policies, audit log, keys and erasures on pages."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airboss.console import views_governance
from airboss.console.views_governance import folded
from tests.console.governed import Governed, governed
from tests.console.looped import LoopSite, pressed
from tests.console.site import NOW, Site
from tests.console.test_pages import Page, hrefs, shown

TABS = ("/governance", "/governance/audit", "/governance/keys", "/governance/erasures", "/governance/report")
HOSTILE = '<img src=x onerror="alert(1)">\u202e'

CONFIG = """
[providers.up]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"

[models.m]
provider = "up"
model = "m"

[releases.base]
model = "m"
policy = "careful"

[deployments.support]
release = "base"
policy = "strict"

[policies.careful]
pii = { action = "mask", kinds = ["email", "secret"] }

[policies.strict]
pii = { action = "block" }

[policies.spare]
pii = { action = "observe" }
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """A console over a real ledger and audit log."""
    with governed(tmp_path) as found:
        yield found


def test_policies_say_what_they_do_and_whom_they_bind(empty: Site) -> None:
    """Each with its action in words, its kinds, those it does not look for, and who names it."""
    empty.ledger.text = CONFIG
    page = shown(empty.person(), "/governance")
    rows = re.split(r"(carefulmask|spareobserve|strictblock)", page.text.split("Binds", 1)[1])
    by_name = dict(zip(("careful", "spare", "strict"), rows[2::2], strict=True))
    assert "its kind stands in its place" in by_name["careful"]
    assert "not looked for: phone, card, iban, us ssn, ip" in by_name["careful"]
    assert "release base" in by_name["careful"]
    assert "support" in by_name["strict"]
    assert "nobody names it" in by_name["spare"]
    assert "/deployments/support" in hrefs(page)


def test_policies_show_kinds_of_their_own(empty: Site) -> None:
    """With what they are, what is done about which, and a way to the records in which one was found."""
    empty.ledger.text = (
        CONFIG
        + """
[policies.house]
custom.employee = { pattern = '\\bEMP-<b>[0-9]{6}', action = "mask" }
custom.codename = { words = ["Blue Heron", "a1", "a2", "a3", "a4", "a5"], action = "block" }
custom.single = { words = ["Falcon"], action = "block" }

[policies.both]
pii = { action = "mask", kinds = ["email"] }
custom.employee = { pattern = 'EMP', action = "mask" }
"""
    )
    page = shown(empty.person(), "/governance")
    house = page.text.split("house", 1)[1].split("spare", 1)[0]
    assert "block codename, single: the call is refused" in house
    assert "mask employee: its kind stands in its place" in house
    assert "codename 6 words: Blue Heron, a1, a2, a3, a4, …" in house
    assert "single 1 word: Falcon" in house
    assert r"employee what matches \bEMP-<b>[0-9]{6}" in house
    assert "not looked for: email, phone" in house
    assert "/records?policy=codename" in hrefs(page)
    both = page.text.split("both", 1)[1].split("careful", 1)[0]
    assert "mask its kind stands" in both
    assert "email employee what matches EMP" in both


def test_the_log_is_listed_page_by_page(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest first, each leaf once, narrowed by action; a name that says to run is text."""
    monkeypatch.setattr(views_governance, "ENTRIES", 3)
    for number in range(6):
        site.audit.append(
            "keys.create", actor=HOSTILE, subject=f"key k{number}", detail={"x": HOSTILE}, at=NOW
        )
    person = site.person()
    where: str | None = "/governance/audit"
    seen: list[str] = []
    while where is not None:
        page = shown(person, where)
        assert not [tag for tag, _ in page.tags if tag == "img"]
        assert "\u202e" not in page.text
        seen += re.findall(r"key k(\d)", page.text)
        after = [str(each["href"]) for tag, each in page.tags if tag == "a" and each.get("rel") == "next"]
        where = after[0] if after else None
    assert seen == ["5", "4", "3", "2", "1", "0"]
    only = shown(person, "/governance/audit?action=login")
    assert "key k" not in only.text
    assert "console" in only.text or "testclient" in only.text
    assert "No entry matches" in shown(person, "/governance/audit?action=none").text
    assert person.get("/governance/audit?before=x").status_code == 400


def test_what_a_leaf_says_stands_in_words(site: Governed) -> None:
    """Each value with its name; what is hostile is text, what is long is cut, what is much is counted."""
    detail = {
        "taken_back": True,
        "served": {"s_1": {"stable": "ab" * 200, "weight": 0.25}},
        "rows": [{"x": HOSTILE}, {"x": None}],
    }
    for each in (detail, {f"n{number}": number for number in range(20)}):
        site.audit.append("records.score", actor="ann", subject="a record", detail=each, at=NOW)
    page = shown(site.person(), "/governance/audit?action=records.score")
    for words in ("taken back yes", "served > s_1 > weight 0.25", "rows > 2 > x none", "… 8 more"):
        assert words in page.text
    assert "ab" * 49 + "a…" in page.text
    assert "ab" * 50 not in page.text
    assert not [mark for mark in ('{"', "true", "null") if mark in page.text]
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_a_leaf_leads_to_what_it_is_about(site: Governed) -> None:
    """A rollout, a key and a deployment that are there; what is gone, or a name alone, leads nowhere."""
    for action, subject in (
        ("keys.set", "web"),
        ("keys.set", "gone"),
        ("rollout.start", "support"),
        ("rollout.start", "gone"),
        ("verdict", "rollout rollout-1"),
        ("records.read", "web"),
    ):
        site.audit.append(action, actor="ann", subject=subject, detail={}, at=NOW)
    found = set(hrefs(shown(site.person(), "/governance/audit")))
    about = {each for each in found if each.startswith(("/rollouts/", "/governance/keys/", "/deployments/"))}
    assert about == {"/rollouts/rollout-1", "/governance/keys/web", "/deployments/support"}


def test_the_log_says_whether_it_verifies(site: Governed, tmp_path: Path) -> None:
    """It does; once somebody has changed a leaf it does not, and the page says which."""
    person = site.person()
    page = shown(person, "/governance/audit")
    assert "The log verifies." in page.text
    assert "airboss audit verify" in page.text
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        tables = [name for (name,) in file.execute("select name from sqlite_master where type='table'")]
        (leaves,) = [name for name in tables if name in {"audit_leaves", "audit_log", "audit"}]
        file.execute(f"update {leaves} set content = replace(content, 'login', 'logon') where number = 1")
    file.close()
    broken = shown(person, "/governance/audit").text
    assert "The log does not verify." in broken
    assert "leaf 1" in broken


def test_a_long_log_is_recomputed_when_asked(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else only its head's signature is looked at, and the page says so."""
    monkeypatch.setattr(views_governance, "CHECKED_MAX", 0)
    person = site.person()
    page = shown(person, "/governance/audit")
    assert "The head is signed." in page.text
    (check,) = [each for each in hrefs(page) if "check=all" in each]
    assert "The log verifies." in shown(person, check).text


def test_a_row_that_was_edited_beside_the_log_is_told(site: Governed, tmp_path: Path) -> None:
    """By the page, as by `audit verify`: which key it is, though every leaf is as it was."""
    made = site.program().post("/api/v1/keys", json={"name": "ann", "role": "viewer"})
    assert made.status_code == 200
    person = site.person()
    assert "The log verifies." in shown(person, "/governance/audit").text
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as file, file:
        file.execute("update keys set content = replace(content, 'viewer', 'admin') where name = 'ann'")
    page = shown(person, "/governance/audit").text
    assert "The log does not verify." in page
    assert "is not what leaf" in page


def test_a_log_that_was_put_back_is_told(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whole in itself: what the checkpoint beside its key shows goes before that, in a long one too."""
    person = site.person()
    site.audit_trouble = trouble = "the ledger was put back from an older copy"
    assert trouble in shown(person, "/governance/audit").text
    monkeypatch.setattr(views_governance, "CHECKED_MAX", 0)
    page = shown(person, "/governance/audit").text
    assert "The log is not what it was." in page
    assert trouble in page
    assert "The head is signed." not in page


def test_erasures_are_counted_and_nobody_is_named(site: Governed) -> None:
    """Pending until the controller has done it."""
    person = site.person()
    assert "airboss erase --user" in shown(person, "/governance/erasures").text
    site.people.ask("ada@example.com", by="console", now=NOW)
    page = shown(person, "/governance/erasures")
    assert "pending" in page.text
    assert "ada@example" not in page.text


def test_empty_pages_teach(fresh: LoopSite, site: Governed) -> None:
    """Each says in a sentence what would be here, with a command to copy; every tab leads somewhere."""
    page = shown(fresh.person(), "/governance")
    assert "airboss apply airboss.toml" in page.text
    assert "teach" in page.values("class")
    assert set(TABS) <= set(hrefs(page))
    person = site.person()
    for path in TABS:
        assert isinstance(shown(person, path), Page)
    assert pressed(person, "/governance").status_code == 405


def test_an_entry_of_many_details_opens_them() -> None:
    """Four stand in its line, those that people can read first; nothing is left out."""
    few = [("a", "1"), ("b", "f" * 64)]
    assert folded(few) == (few, [])
    many = [("sha256", "f" * 64), *((name, name) for name in "abcdef")]
    shown, more = folded(many)
    assert [name for name, _ in shown] == ["a", "b", "c", "d"]
    assert [name for name, _ in more] == ["sha256", "e", "f"]
