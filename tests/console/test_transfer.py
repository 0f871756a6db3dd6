"""Exports by the admin API: no page of records leaves without a leaf of the audit log that tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from airboss.console import exports
from airboss.domain.ports import JournalMove
from airboss.governance.erasure import Tombstones, digest
from airboss.store.brought import Brought
from tests.console.site import Site, busy_log

PATH = "/api/v1/transfer"


class People:
    """Nobody was forgotten."""

    asked = 0

    def tombstones(self) -> Tombstones:
        """As `Forgetting.tombstones`."""
        self.asked += 1
        return Tombstones("key", {})


def page(program: TestClient, **params: str) -> Any:
    """A page of an export."""
    answer = program.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"]
    return answer.json()


def details(site: Site) -> list[Any]:
    """What was noted of exports."""
    return [detail for action, _, _, detail in site.audit.entries if action == "records.export"]


def test_an_export_is_one_leaf(site: Site) -> None:
    """Pages that follow one another are of one export, and two may go on side by side."""
    program = site.program()
    asked = ({"deployment": "support"}, {"since": "20h"})
    cursors = [page(program, **each)["next"] for each in asked]
    assert details(site) == list(asked)
    for _ in range(2):
        cursors = [
            page(program, **each, before=cursor)["next"] for each, cursor in zip(asked, cursors, strict=True)
        ]
    assert len(details(site)) == 2


def test_what_is_brought_is_known_before_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or who follows the log might take it for calls of just now. What is there already may be just that."""
    site = Site(people=People(), log=busy_log())
    program, stored = site.program(), site.log.apply
    order: list[Any] = []
    old, new = page(program)["rows"][:2]
    new["record"]["id"] += "-of-another"
    monkeypatch.setattr(Brought, "note", lambda _, ids: order.append(set(ids)))

    def apply(move: JournalMove) -> int:
        order.append("stored")
        return int(stored(move))

    monkeypatch.setattr(site.log, "apply", apply)
    answer = program.post(PATH, json={"rows": [old, new]})
    assert answer.status_code == 200, answer.text
    assert order == [{new["record"]["id"]}, "stored"]


def test_what_begins_in_the_middle_is_noted(site: Site) -> None:
    """With an id that somebody knows, a page may be asked for first."""
    program = site.program()
    newest = program.get("/api/v1/records?limit=1").json()["records"][0]["id"]
    second = page(program, before=newest)["next"]
    assert details(site) == [{"resumed": True}]
    page(program, before=second)
    assert len(details(site)) == 1
    page(program, before=second)
    assert details(site) == [{"resumed": True}] * 2


def test_other_records_than_those_noted_are_noted(site: Site) -> None:
    """Other conditions, or the same much later: that is another export."""
    program = site.program()
    cursor = page(program, since="6h")["next"]
    page(program, before=cursor)
    assert details(site) == [{"since": "6h"}, {"resumed": True}]
    site.clock.forward(exports.LASTS.total_seconds() + 1)
    page(program, since="7h", before=cursor)
    assert details(site)[2:] == [{"since": "7h", "resumed": True}]


def test_so_many_exports_are_remembered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was forgotten, the next page is noted again."""
    monkeypatch.setattr(exports, "EXPORTS_MAX", 2)
    program = site.program()
    cursors = [page(program, since=since)["next"] for since in ("20h", "21h", "22h")]
    page(program, since="20h", before=cursors[0])
    assert details(site)[3:] == [{"since": "20h", "resumed": True}]
    page(program, since="22h", before=cursors[2])
    assert len(details(site)) == 4


def test_a_leaf_holds_nothing_of_a_person(site: Site) -> None:
    """It can never be erased: what a program writes into a parameter does not get there."""
    program = site.program()
    assert program.get(PATH, params={"before": "alice@example.com"}).status_code == 200
    assert details(site) == [{"resumed": True}]
    for name in ("user", "session", "tag", "score"):
        assert program.get(PATH, params={name: "alice=1"}).status_code == 200
        assert details(site)[-1] == {"only_some": [name]}
    assert program.get(PATH, params={"text": "alice=1"}).status_code == 400
    assert "alice" not in str(site.audit.entries)


def test_who_is_forgotten_is_asked_once_for_all_rows() -> None:
    """Not once a row: thousands of them come at once, and each question is one to the ledger."""
    people = People()
    program = Site(people=people, log=busy_log()).program()
    rows = page(program)["rows"]
    answer = program.post(PATH, json={"rows": rows})
    assert answer.status_code == 200, answer.text
    assert len(rows) > 2
    assert people.asked == 2, "before they are stored, and after"


def test_what_is_brought_of_the_forgotten_says_nothing_of_them() -> None:
    """Neither comments nor causes, which may quote; numbers stay. So it is with what they said of others."""
    gone = datetime(2030, 1, 1, tzinfo=UTC)

    class Gone(People):
        def tombstones(self) -> Tombstones:
            return Tombstones("key", {digest(b"key", "ann"): gone})

    site = Site(people=Gone(), log=busy_log())
    program = site.program()
    hers, others = page(program)["rows"][:2]
    score = {
        "id": "s1",
        "subject": "record",
        "name": "judged",
        "source": "scorer",
        "by": "judge",
        "at": "2026-11-01T00:00:00Z",
        "value": None,
        "unscored": "it said 'a secret'",
        "user": None,
        "subject_id": hers["record"]["id"],
        "comment": "a secret",
    }
    hers["record"]["user"], others["record"]["user"] = "ann", "bob"
    hers["scores"] = [score]
    others["scores"] = [{**score, "id": "s2", "user": "ann", "subject_id": others["record"]["id"]}]
    answer = program.post(PATH, json={"rows": [hers, others]})
    assert answer.json()["scores"] == 2, answer.text
    ids = [each["record"]["id"] for each in (hers, others)]
    kept = [each for each in site.log.scores_of(ids) if each.name == "judged"]
    assert {(each.comment, each.unscored, each.user) for each in kept} == {(None, "erased", None)}
