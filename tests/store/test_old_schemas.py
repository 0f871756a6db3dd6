"""Record stores of an older Airboss: brought forward with all they hold, also by a start that was killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.store import duckdb as store_duckdb
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.duckdb_run import append
from airboss.store.joining import read_record
from airboss.store.rows import COLUMNS, body_rows, open_rows, record_row
from tests.store.killed import killed_in_turn
from tests.store.samples import call_id, closed_json, opened_json, record, record_json

FILES = sorted((Path(store_duckdb.__file__).parent / "schema").glob("*.sql"))
SCORES_SINCE, CACHE_WRITE_SINCE = 2, 4
ALL = RecordFilter()
RECORDS = 40
OPEN = 99


def old_store(path: Path, version: int) -> None:
    """A file as the Airboss of that schema left it: records with bodies, an open call, offsets, scores."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as log (row_group_size 8192)")
        connection.execute("use log")
        connection.execute(
            "create table schema_migrations"
            " (number integer primary key, name varchar not null, applied_at timestamp not null)"
        )
        for number, file in enumerate(FILES[:version], start=1):
            connection.execute(file.read_text())
            connection.execute(
                "insert into schema_migrations values (?, ?, now()::timestamp)", [number, file.name]
            )
        kept = {number: read_record(record_json(number)) for number in range(1, RECORDS + 1)}
        rows = [record_row(number, each) for number, each in kept.items()]
        append(connection, "records", rows if version >= CACHE_WRITE_SINCE else [row[:-1] for row in rows])
        bodies = [part for number, each in kept.items() for part in body_rows(number, each)]
        append(connection, "bodies", bodies)
        append(connection, "pending", list(open_rows("w/000001", opened_json(OPEN))))
        connection.execute("insert into offsets values ('w/000001', 4711)")
        if version >= SCORES_SINCE:
            connection.execute(
                "insert into scores by name select 's1' as id, id as record_id, 'helpful' as name,"
                " 'feedback' as source, key as by, started_at as scored_at, 0.5 as number,"
                " false as yes_or_no, deployment, release, key, started_at from records where seq = 7"
            )


def expected(version: int) -> list[InferenceRecord]:
    """What it held, the newest first."""
    found = [record(number) for number in range(RECORDS, 0, -1)]
    if version < CACHE_WRITE_SINCE:
        found = [msgspec.structs.replace(each, cache_write_tokens=None) for each in found]
    return found


def held(log: DuckDBRecordLog) -> list[InferenceRecord]:
    """Its records without scores, the newest first."""
    found = log.records(ALL, limit=RECORDS + 9, bodies=True)
    return [msgspec.structs.replace(each, scores={}) for each in found]


@pytest.mark.parametrize("version", range(1, len(FILES) + 1))
def test_each_older_schema_is_brought_forward_whole(tmp_path: Path, version: int) -> None:
    """Records, bodies, the open call, offsets and scores are there, and new ones are taken and found."""
    path = tmp_path / "records.duckdb"
    old_store(path, version)
    log = DuckDBRecordLog(path)
    assert COLUMNS[-1] == "cache_write_tokens", "a column was added: say since when above"
    assert held(log) == expected(version)
    assert log.offset("w/000001") == 4711
    scores = log.scores_of([call_id(7)])
    assert [(each.name, each.value) for each in scores] == (
        [("helpful", 0.5)] if version >= SCORES_SINCE else []
    )
    closing = {call_id(OPEN): closed_json(OPEN)}
    log.apply(JournalMove(segment="w/000001", start=4711, end=5000, closed=closing))
    log.apply(JournalMove(segment="w/000002", start=0, end=9, records=(record_json(100),)))
    while log.tidy():
        pass
    assert [each.id for each in held(log)[:2]] == [call_id(100), call_id(OPEN)]
    log.close()
    assert applied(path) == {number: file.name for number, file in enumerate(FILES, start=1)}


def applied(path: Path) -> Mapping[int, str]:
    """The migrations that a file says it has."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return dict(connection.execute("select number, name from schema_migrations").fetchall())


MIGRATION = """
from airboss.store import duckdb, duckdb_open
real = duckdb_open.run
def run(connection, text, *asked):
    found = real(connection, text, *asked)
    if "schema_migrations values" in text or "create table" in text or "alter table" in text:
        step()
    return found
duckdb_open.run = run
def work(path):
    duckdb.DuckDBRecordLog(path)
"""


def test_a_migration_killed_at_any_step_goes_on(tmp_path: Path) -> None:
    """At each statement of each migration in turn: the next start has all, with every record."""
    old, folder = tmp_path / "old.duckdb", tmp_path / "killed"
    old_store(old, 1)
    folder.mkdir()
    killed = killed_in_turn(MIGRATION, old, folder, first=2)
    for path in killed:
        log = DuckDBRecordLog(path)
        assert held(log) == expected(1), f"killed at step {path.parent.name}"
        log.close()
        assert len(applied(path)) == len(FILES)
    both = 2 * (len(FILES) - 1)
    assert len(killed) >= both, "a kill between a migration and its note, and after it, was tried"
