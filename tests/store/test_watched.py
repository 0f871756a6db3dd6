"""Tests of RecordLog.watched: what a rollout sees, the same from every record log."""

from __future__ import annotations

from typing import Any

from airboss.domain.ports import JournalMove, RecordLog
from tests.store.samples import call_id, closed_json, move, opened_json

FIELDS: dict[int, dict[str, Any]] = {
    2: {"key": "airboss"},
    3: {"deployment": "elsewhere"},
    5: {"tags": {"request": "x"}},
}
ENDED = (4, 0, 2, 3)


def filled(log: RecordLog) -> str:
    """Six calls opened, four of them ended; returns their deployment."""
    frames = {call_id(n): opened_json(n, **({"deployment": "d"} | FIELDS.get(n, {}))) for n in range(6)}
    log.apply(JournalMove(segment="w/1", start=0, end=10, opened=frames))
    ends = {call_id(number): closed_json(number) for number in ENDED}
    log.apply(JournalMove(segment="w/1", start=10, end=20, closed=ends))
    return "d"


def test_calls_come_in_order_of_admission(record_log: RecordLog) -> None:
    """Open ones among them; those of our own key, and of other deployments, are left out."""
    deployment = filled(record_log)
    every = record_log.watched(deployment, after="", until="~", without_key="airboss", limit=100)
    assert [(each.id, each.open) for each in every] == [
        (call_id(0), False),
        (call_id(1), True),
        (call_id(4), False),
        (call_id(5), True),
    ]
    assert every[0].status == "ok"
    assert every[1].latency_ms is None


def test_a_stretch_is_asked_for_by_ids(record_log: RecordLog) -> None:
    """Both ends are left out, and there are at most so many."""
    deployment = filled(record_log)
    found = record_log.watched(deployment, after=call_id(0), until=call_id(5), without_key="airboss", limit=1)
    assert [each.id for each in found] == [call_id(1)]


def test_answers_from_the_cache_tell_nothing(record_log: RecordLog) -> None:
    """Nobody was asked: they are left out, and so is what was known on the other arm; those that missed it
    are not."""
    record_log.apply(move(0, deployment="d", cache="hit"))
    record_log.apply(move(3, start=200, deployment="d", cache="known"))
    record_log.apply(move(1, 2, start=100, deployment="d", cache="miss"))
    every = record_log.watched("d", after="", until="~", without_key="airboss", limit=100)
    assert [each.id for each in every] == [call_id(1), call_id(2)]
