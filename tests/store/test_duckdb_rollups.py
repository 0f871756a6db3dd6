"""The sums that DuckDB's file keeps tell what its records do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, UsageQuery
from airboss.store import duckdb_rollups
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.usage import QUANTILES
from tests.store.samples import SEGMENT, START, record_json
from tests.store.test_erase import LATER

COUNT = 9_000
STRETCH = 2_048
QUESTIONS: list[dict[str, Any]] = [
    {"costs": True},
    {"by": ("deployment",), "step_s": 1_800, "people": ()},
    {"by": ("model", "key"), "costs": True, "without_key": "airboss"},
    {"by": ("error_type",), "where": RecordFilter(deployment="assistant", key="team-a")},
    {"by": ("provider", "finish_reason"), "among": ("local", None)},
    {"by": ("arm",), "where": RecordFilter(release="a", arm="stable", status="ok"), "step_s": 3_600},
    {"by": ("user",)},  # the rest is read from every call
    {"by": ("tag:team", "session"), "step_s": 300},
    {"by": ("release",), "people": ("users",), "where": RecordFilter(user="u2", tag="team=a")},
    {"by": ("deployment",), "costs": True, "slow_ms": 900.0, "late_ms": 50.0, "costly_usd": 0.005},
    {"step_s": 45},
]
ENDS = [
    (START, START + timedelta(hours=3)),
    (START + timedelta(seconds=17), START + timedelta(hours=2, minutes=7, seconds=3, microseconds=1)),
    (START + timedelta(minutes=50), START + timedelta(minutes=70)),
    (START - timedelta(days=1), START + timedelta(days=1)),
]


@pytest.fixture
def record_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DuckDBRecordLog]:
    """Calls of all sorts, not quite in order, the most of them summed up."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", STRETCH)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    rng = random.Random(20261128)
    log.apply(
        JournalMove(segment=SEGMENT, start=0, end=1, records=tuple(_call(rng, at) for at in range(COUNT)))
    )
    while log.tidy():
        pass
    yield log
    log.close()


def _call(rng: random.Random, number: int) -> bytes:
    status = rng.choice(["ok"] * 7 + ["error", "cancelled", "refused"])
    latency_ms = rng.lognormvariate(6, 1.2)
    fields: dict[str, Any] = {
        "started_at": START + timedelta(seconds=number + rng.uniform(-90, 90)),
        "deployment": rng.choice(["assistant", "assistant", "rare"]),
        "release": rng.choice("ab"),
        "arm": rng.choice(["stable", "candidate"]),
        "key": rng.choice(["team-a", "airboss"]),
        "model": rng.choice(["small", "large"]),
        "provider": rng.choice(["local", "openai"]),
        "user": rng.choice(["u1", "u2", None]),
        "session": rng.choice(["s1", "s2", "s3"]),
        "tags": rng.choice([{}, {"team": "a"}, {"team": "b"}]),
        "finish_reason": rng.choice(["stop", "length", None]),
        "status": status,
        "error_type": "upstream_timeout" if status == "error" else None,
        "latency_ms": latency_ms,
        "stream": rng.random() < 0.5,
        "ttft_ms": rng.choice([None, latency_ms * rng.random()]),
        "output_tokens": rng.choice([None, rng.randint(0, 300)]),
        "cost_usd": rng.choice([None, Decimal(rng.randint(1, 99_999)).scaleb(-7)]),
    }
    return record_json(number, **fields)


def answers(log: DuckDBRecordLog, since: datetime, until: datetime) -> list[list[dict[str, Any]]]:
    """What every question that may be answered from sums says."""
    asked = [
        log.stats(since, until),
        log.stats(since, until, without_key="airboss"),
        log.series(since, until, step_s=60),
        log.series(since, until, step_s=900),
        log.series(since, until, step_s=3_600),
        log.traffic(since, until, step_s=300),
        log.traffic(since, until, step_s=7_200),
    ]
    asked += [log.usage(UsageQuery(since=since, until=until, **question)) for question in QUESTIONS]
    return [[msgspec.structs.asdict(row) for row in each] for each in asked]


def same(log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers from sums are those of the records."""
    for since, until in ENDS:
        monkeypatch.setattr(duckdb_rollups, "FEW", -1)
        rolled = answers(log, since, until)
        monkeypatch.setattr(duckdb_rollups, "FEW", 10**9)
        read = answers(log, since, until)
        for told, exact in zip(rolled, read, strict=True):
            assert exact
            assert len(told) == len(exact)
            for row, right in zip(told, exact, strict=True):
                assert row.pop("approximate", True)
                assert not right.pop("approximate", False)
                for name in set(row) - {"tokens_per_s", "cost_usd", *QUANTILES}:
                    assert row[name] == right[name], (name, row, right)
                for name in {"tokens_per_s", "cost_usd", *QUANTILES} & set(row):
                    if right[name] is None:
                        assert row[name] is None
                        continue
                    off = 0.02 if name in QUANTILES else 1e-9
                    assert row[name] == pytest.approx(right[name], rel=off), (name, row, right)


def test_sums_tell_what_the_records_do(record_log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any bounds and steps, with records that no sum is made of yet; quantiles within 2 %."""
    with record_log._reading() as connection:
        ((rolled,),) = connection.execute("select seq from rolled").fetchall()
    assert rolled == 8_192
    same(record_log, monkeypatch)
    record_log.erase({"u1": LATER})
    same(record_log, monkeypatch)


def test_few_calls_are_read_and_exact(record_log: DuckDBRecordLog) -> None:
    """Sums are for many."""
    assert not any(row.approximate for row in record_log.stats(*ENDS[0]))


def test_too_many_keys_are_summed_up_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a question that needs them apart reads the records."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(duckdb_rollups, "TOLD", 10)
    monkeypatch.setattr(duckdb_rollups, "FEW", -1)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    records = tuple(record_json(number, key=f"k{number % 100}") for number in range(600))
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    while log.tidy():
        pass
    with log._reading() as connection:
        assert connection.execute('select count(distinct "key") from rollups').fetchall()[0][0] <= 20
    period = (START, START + timedelta(hours=1))
    (every,) = log.stats(*period)
    (some,) = log.stats(*period, without_key="k7")
    assert (every.requests, every.approximate) == (600, True)
    assert (some.requests, some.approximate) == (594, True)
    log.close()


def test_sums_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails half-way leaves nothing, and is made again."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(duckdb_rollups, "FEW", -1)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    records = tuple(record_json(number) for number in range(600))
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    monkeypatch.setattr(duckdb_rollups, "WIDTHS", (60, "no number"))
    with pytest.raises(StoreUnavailable, match="Binder"):
        log.tidy()
    monkeypatch.undo()
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(duckdb_rollups, "FEW", -1)
    log.close()
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    while log.tidy():
        pass
    (told,) = log.stats(START, START + timedelta(hours=1))
    assert (told.requests, told.approximate) == (600, True)
    log.close()


def test_sums_go_with_their_records(record_log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """When records are too old."""
    cut = START + timedelta(hours=1)
    while record_log.expire(bodies_before=None, records_before=cut, limit=9_999):
        pass
    monkeypatch.setattr(duckdb_rollups, "FEW", -1)
    assert not record_log.stats(START - timedelta(days=1), cut)
    assert sum(row.requests for row in record_log.stats(cut, cut + timedelta(days=1))) > 5_000
