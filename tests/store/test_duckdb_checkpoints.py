"""When the record log's file is checkpointed."""

from __future__ import annotations

import resource
from pathlib import Path

import duckdb
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import RecordFilter
from airboss.store import duckdb as store_duckdb
from airboss.store import duckdb_checkpoints
from airboss.store.duckdb import DuckDBRecordLog
from tests.store.samples import move_of, record

ROWS = 2_048
COUNT = 7_200


def written(log: DuckDBRecordLog) -> set[tuple[int, int, int]]:
    """Where in the file requests lie that were written to it, and how many."""
    text = (
        "select block_id, block_offset, count from pragma_storage_info('bodies')"
        " where column_name = 'request' and segment_type = 'VARCHAR' and persistent"
    )
    with log._reading() as connection:
        return set(connection.execute(text).fetchall())


@pytest.mark.parametrize("size", [150, 400, 900])
def test_what_was_written_once_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """However many records came between two checkpoints, none takes a row group of an older one apart, and
    each comes once the log is as long as is said."""
    monkeypatch.setattr(store_duckdb, "ROWS", ROWS)
    monkeypatch.setattr(duckdb_checkpoints, "ROWS", ROWS)
    monkeypatch.setattr(duckdb_checkpoints, "BYTES", 800_000)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    before: set[tuple[int, int, int]] = set()
    checkpoints = 0
    for first in range(0, COUNT, size):
        log.apply(move_of([{}] * size, first))
        now = written(log)
        assert before <= now, f"after {first + size} records"
        checkpoints += now > before
        before = now
    assert checkpoints >= 2
    assert log.count(RecordFilter()) == COUNT
    log.close()


def test_one_that_the_disk_refuses_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken is there, whatever becomes of the checkpoint, and with space the log goes on."""
    monkeypatch.setattr(store_duckdb, "ROWS", ROWS)
    monkeypatch.setattr(duckdb_checkpoints, "ROWS", ROWS)
    monkeypatch.setattr(duckdb_checkpoints, "BYTES", 1)
    path = tmp_path / "records.duckdb"
    refusals: list[duckdb.Error] = []

    def refused(connection: duckdb.DuckDBPyConnection, text: str) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
        try:
            connection.execute(text)
        except duckdb.Error as error:
            refusals.append(error)
            raise
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(duckdb_checkpoints, "run", refused)
    log = DuckDBRecordLog(path)
    assert log.apply(move_of([{}] * 1_500)) == 150_000
    assert len(refusals) == 1
    monkeypatch.undo()
    move = move_of([{}] * 10, 1_500)
    try:
        taken = log.apply(move)
    except StoreUnavailable:  # DuckDB gave its database up; the next one opens it again
        taken = log.apply(move)
    assert taken == move.end
    assert log.count(RecordFilter()) == 1_510
    assert list(log.records(RecordFilter(), limit=1, bodies=True)) == [record(1_509)]
    log.close()
