"""Rows by session of DuckDB's file where sessions are many and short: sums choose what all calls say."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter, UsageQuery
from airboss.domain.usage import USAGE_ORDERS, UsageRow
from airboss.store import duckdb_people, duckdb_sums, rollups
from airboss.store.duckdb import DuckDBRecordLog
from tests.store.samples import SEGMENT, START, record_json

SESSIONS = 120
CALLS = 700
SINCE = START.replace(hour=0)
ALL = UsageQuery(since=SINCE, until=SINCE + timedelta(days=9), by=("session",), limit=7)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DuckDBRecordLog]:
    """Conversations of some calls each over three days, one of them of calls without a session; most of them
    summed up, in stretches that part some conversations."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 256)
    monkeypatch.setattr(rollups, "FEW", 10)
    monkeypatch.setattr(rollups, "TIMES", 100)
    monkeypatch.setattr(duckdb_people, "MANY", 10)
    found = DuckDBRecordLog(tmp_path / "records.duckdb")
    rng = random.Random(20261130)
    records = []
    for number in range(CALLS):
        session = None if number % 50 == 0 else f"s{(number // 6 + rng.randrange(8)) % SESSIONS}"
        fields: dict[str, Any] = {
            "started_at": START + timedelta(minutes=6 * number),
            "session": session,
            "user": f"u{number % 3}",
            "key": f"k{number % 2}",
            "latency_ms": float(rng.randrange(100, 140) * 10),
            "status": "error" if rng.random() < 0.1 else "ok",
        }
        records.append(record_json(number, **fields))
    found.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    while found.tidy():
        pass
    yield found
    found.close()


def of_every_call(log: DuckDBRecordLog, asked: UsageQuery) -> Sequence[UsageRow]:
    """The answer without any sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollups, "FEW", 10**9)
        return alike(log.usage(asked))


def alike(rows: Sequence[UsageRow]) -> Sequence[UsageRow]:
    """Rows with what is added up as fractions rounded."""
    names = ("cost_usd", "tokens_per_s")
    return [
        msgspec.structs.replace(row, **{name: round(getattr(row, name) or 0, 9) for name in names})
        for row in rows
    ]


QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"limit": 500},
    {"by": ("session", "key")},
    {"without_key": "k1"},
    {"where": RecordFilter(user="u1")},
    {"since": START + timedelta(hours=5), "until": START + timedelta(hours=50)},
)


def test_sums_choose_what_all_calls_say(log: DuckDBRecordLog) -> None:
    """In every order, with as much for many of them, so that names decide."""
    for question in QUESTIONS:
        for order in USAGE_ORDERS:
            asked = msgspec.structs.replace(ALL, order=order, **question)
            expected = of_every_call(log, asked)
            assert alike(log.usage(asked)) == expected, asked
            assert len(expected) > 6


def test_the_slowest_of_short_sessions_are_found_by_their_slowest_calls(
    log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is looked at; where that does not settle it, or sessions are long, all calls are."""
    asked = msgspec.structs.replace(ALL, order="latency_p95_ms")
    expected = of_every_call(log, asked)
    every = duckdb_people._slowest
    looked: list[UsageQuery] = []

    def noted(*given: Any) -> list[Any]:
        looked.append(asked)
        return every(*given)

    monkeypatch.setattr(duckdb_people, "_slowest", noted)
    assert alike(log.usage(asked)) == expected
    assert not looked
    with monkeypatch.context() as patch:
        patch.setattr(duckdb_people, "SLOW", 1)  # so few slow calls that they are of fewer sessions
        assert alike(log.usage(asked)) == expected
        assert len(looked) == 1
    with monkeypatch.context() as patch:
        patch.setattr(duckdb_people, "CALLS", 1)
        assert alike(log.usage(asked)) == expected
        assert len(looked) == 2


def test_sessions_are_counted_once_each(log: DuckDBRecordLog) -> None:
    """Of sums and of the records that are in none, also of the rows of a user."""
    asked = msgspec.structs.replace(ALL, by=("key",))
    expected = of_every_call(log, asked)
    assert [(row.group, row.users, row.sessions) for row in log.usage(asked)] == [
        (row.group, row.users, row.sessions) for row in expected
    ]
    by_user = msgspec.structs.replace(ALL, by=("user",))
    assert [row.sessions for row in log.usage(by_user)] == [
        row.sessions for row in of_every_call(log, by_user)
    ]
