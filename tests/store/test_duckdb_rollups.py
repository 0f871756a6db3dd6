"""The sums that DuckDB's file keeps, made a stretch at a time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, UsageQuery
from airboss.store import duckdb_rollups, rollups
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.duckdb_run import Connection, run
from airboss.store.rollups import of_usage
from tests.store.samples import SEGMENT, START, record_json


def test_too_many_keys_are_summed_up_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a question that needs them apart reads the records."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(duckdb_rollups, "TOLD", 10)
    monkeypatch.setattr(rollups, "FEW", -1)
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
    asked = UsageQuery(since=period[0], until=period[1], by=("team",), teams={"k7": "web", "k8": "web"})
    assert [(row.group, row.requests) for row in log.usage(asked)] == [((None,), 588), (("web",), 12)]
    log.close()


def test_sums_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails half-way leaves nothing, and is made again."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(rollups, "FEW", -1)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    records = tuple(record_json(number) for number in range(600))
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))

    def half(connection: Connection, text: str, asked: Any = None) -> list[Any]:
        if text.startswith("update rolled"):
            raise duckdb.OperationalError("half-way")
        return run(connection, text, asked)

    monkeypatch.setattr(duckdb_rollups, "run", half)
    with pytest.raises(StoreUnavailable, match="half-way"):
        log.tidy()
    monkeypatch.undo()
    monkeypatch.setattr(duckdb_rollups, "STRETCH", 256)
    monkeypatch.setattr(rollups, "FEW", -1)
    log.close()
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    while log.tidy():
        pass
    (told,) = log.stats(START, START + timedelta(hours=1))
    assert (told.requests, told.approximate) == (600, True)
    log.close()


def test_how_a_list_would_be_ordered_narrows_nothing_down() -> None:
    """Nor does its page: a question of usage is told from sums whatever a filter has of these."""
    where = RecordFilter(model="small", sort="shuffled", seed=7, before="id", since=START)
    asked = UsageQuery(since=START, until=START + timedelta(hours=1), by=("user",), where=where)
    assert of_usage(asked, ['"user"'], "true", {}).names == {"user", "model"}
