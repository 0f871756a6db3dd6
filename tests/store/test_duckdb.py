"""What is DuckDB's own: its file, its schema, its failures."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.store import duckdb as store_duckdb
from airboss.store import duckdb_read, duckdb_run
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rows import COLUMNS
from tests.store.samples import SEGMENT, START, call_id, closed_json, move, opened_json, record, record_json

ALL = RecordFilter()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    """Records, bodies, offsets, open calls and the order of arrival outlive the process."""
    path = tmp_path / "records.duckdb"
    first = DuckDBRecordLog(path)
    first.apply(move(1, 2))
    first.apply(JournalMove(segment="w/1", start=0, end=7, opened={call_id(3): opened_json(3)}))
    first.close()
    second = DuckDBRecordLog(path)
    assert list(second.records(ALL, limit=10, bodies=True)) == [record(2), record(1)]
    assert (second.offset(SEGMENT), second.offset("w/1")) == (200, 7)
    second.apply(JournalMove(segment="w/1", start=7, end=9, closed={call_id(3): closed_json(3)}))
    found = second.records(RecordFilter(after=call_id(2)), limit=10, bodies=True)
    assert list(found) == [record(3)]
    second.close()


def test_a_move_is_stored_by_one_insert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls opened in it and calls opened before, each once and in this order: an insert costs the database
    as much as hundreds of records do."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    opened = {call_id(number): opened_json(number) for number in (1, 2)}
    record_log.apply(JournalMove(segment="w/1", start=0, end=2, opened=opened))
    filled = []

    def append(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[object, ...]]) -> None:
        filled.append((table, len(rows)))
        duckdb_run.append(connection, table, rows)

    monkeypatch.setattr(store_duckdb, "_append", append)
    closed = {call_id(number): closed_json(number) for number in (1, 2)}
    both = (record_json(3), record_json(2, model="first"))
    record_log.apply(JournalMove(segment="w/1", start=2, end=9, records=both, closed=closed))
    assert filled == [("records", 3), ("bodies", 3)]
    found = record_log.records(RecordFilter(after=""), limit=10, bodies=False)
    assert [(each.id, each.model) for each in found] == [
        (call_id(3), "small"),
        (call_id(2), "first"),
        (call_id(1), "small"),
    ]
    assert record_log.orphans("w/") == {}
    record_log.close()


def test_closing_leaves_no_write_ahead_log(tmp_path: Path) -> None:
    """So the next start has nothing to read again."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(move(1))
    assert (tmp_path / "records.duckdb.wal").exists()
    record_log.close()
    record_log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["records.duckdb"]


def test_the_table_has_every_field_of_a_record() -> None:
    """A field added to `InferenceRecord` needs a migration, and this reminds of it."""
    schema = duckdb.connect()
    for file in sorted((Path(store_duckdb.__file__).parent / "schema").glob("*.sql")):
        schema.execute(file.read_text()).fetchall()
    columns = [row[0] for row in schema.execute("describe records").fetchall()]
    fields = [
        name for name in InferenceRecord.__struct_fields__ if name not in {"request", "response", "scores"}
    ]
    assert columns == ["seq", *COLUMNS]
    assert set(COLUMNS) == set(fields)
    schema.close()


def test_migrations_run_once_each_and_in_order(tmp_path: Path) -> None:
    """What was applied is written down, and opening again applies nothing."""
    path = tmp_path / "records.duckdb"
    for _ in range(2):
        DuckDBRecordLog(path).close()
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute("select number, name from schema_migrations order by number").fetchall()
    files = sorted((Path(store_duckdb.__file__).parent / "schema").glob("*.sql"))
    assert rows == [(number, file.name) for number, file in enumerate(files, start=1)]
    assert all(name.startswith(f"{number:03d}_") for number, name in rows)


def test_a_file_of_a_newer_airboss_is_not_touched(tmp_path: Path) -> None:
    """It is refused with both numbers, rather than written to by guess."""
    path = tmp_path / "records.duckdb"
    DuckDBRecordLog(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("insert into schema_migrations values (999, '999_later.sql', now()::timestamp)")
    with pytest.raises(SetupError, match="schema 999"):
        DuckDBRecordLog(path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """With its path and what DuckDB says."""
    path = tmp_path / "records.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreUnavailable, match=r"records\.duckdb"):
        DuckDBRecordLog(path)


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    """Quotes too."""
    path = tmp_path / 'it\'s "here" é.duckdb'
    record_log = DuckDBRecordLog(path)
    record_log.apply(move(1))
    record_log.close()
    assert path.exists()


def test_one_process_owns_the_file(tmp_path: Path) -> None:
    """A second one is told that the file is open elsewhere."""
    path = tmp_path / "records.duckdb"
    record_log = DuckDBRecordLog(path)
    script = (
        "import sys; from pathlib import Path; from airboss.store.duckdb import DuckDBRecordLog\n"
        "DuckDBRecordLog(Path(sys.argv[1]))"
    )
    second = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "open in another process" in second.stderr
    record_log.close()


@pytest.mark.parametrize("how", ["garbled", "cut", "empty", "foreign", "wal"])
def test_a_damaged_file_is_told_as_such(tmp_path: Path, how: str) -> None:
    """And what to do about it: nobody has it open, though DuckDB may speak of a block."""
    path = tmp_path / "WALTER's  WAL" / "records.duckdb"
    path.parent.mkdir()
    record_log = DuckDBRecordLog(path)
    record_log.apply(move(1))
    wal = path.with_name(path.name + ".wal").read_bytes()
    record_log.close()
    whole = path.read_bytes()
    garbled = whole[:4_100] + bytes(100) + whole[4_200:8_200] + bytes(100) + whole[8_300:]
    kinds = {"garbled": garbled, "cut": whole[:20_000], "empty": b"", "foreign": b"a text" * 4_000}
    path.write_bytes(kinds.get(how, whole))
    named = path.name if how in kinds else f"{path.name}.wal"
    path.with_name(named).write_bytes(kinds.get(how, wal[:60] + bytes(100) + wal[160:]))
    with pytest.raises(StoreUnavailable, match=f"{named} is damaged: put a copy"):
        DuckDBRecordLog(path)


def test_a_text_is_parsed_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection, with other parameters, runs what was parsed; what is kept of texts is bounded, and
    several statements in one text are all run."""
    monkeypatch.setattr(duckdb_run, "_parsed", {})
    monkeypatch.setattr(duckdb_run, "PARSED_MAX", 3)
    parsed: list[str] = []

    class Watched:
        def __init__(self) -> None:
            self._connection = duckdb.connect()

        def extract_statements(self, text: str) -> list[duckdb.Statement]:
            parsed.append(text)
            return self._connection.extract_statements(text)

        def execute(self, *given: Any) -> duckdb.DuckDBPyConnection:
            return self._connection.execute(*given)

    first: Any = Watched()
    second: Any = Watched()
    assert duckdb_run.run(first, "select $a + 1", {"a": 1}) == [(2,)]
    assert duckdb_run.run(second, "select $a + 1", {"a": 2.5}) == [(3.5,)]
    assert parsed == ["select $a + 1"]
    assert duckdb_run.run(first, "create table t (a integer); insert into t values (7); from t") == [(7,)]
    for number in range(10):
        assert duckdb_run.run(first, f"select {number}") == [(number,)]
        assert len(duckdb_run._parsed) <= 3


def test_a_long_query_does_not_hold_up_a_move(tmp_path: Path) -> None:
    """While one reader is half way through its rows, moves are taken, and others see them."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(move(1))
    with record_log._reading() as connection:
        slow = connection.execute("select * from range(100000000) numbers(n), records")
        assert slow.fetchone() is not None
        record_log.apply(move(2, start=100))
        assert record_log.count(ALL) == 2
        slow.abort()
    record_log.close()


def test_many_threads_read_while_one_writes(tmp_path: Path) -> None:
    """Every answer is of whole moves, and no thread fails."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                found = record_log.records(ALL, limit=1000, bodies=True)
                assert len(found) % 10 == 0
                assert all(each.response == {"choices": []} for each in found)
                record_log.stats(START, START + timedelta(days=1))
        except BaseException as error:  # noqa: BLE001 - any failure of the thread is the test's
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for batch in range(15):
        record_log.apply(move(*range(batch * 10, batch * 10 + 10), start=batch * 1000))
    done.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert record_log.count(ALL) == 150
    record_log.close()


def test_a_list_with_large_bodies_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds at least one record, and paging on gets them all."""
    monkeypatch.setattr(duckdb_read, "LIST_PARTS_MAX", 5)
    monkeypatch.setattr(duckdb_read, "GROUP_PARTS_MAX", 2)
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    large = msgspec.Raw(b'"' + b"x" * 10_000 + b'"')
    record_log.apply(move(*range(5), request=large))
    pages = []
    page = record_log.records(ALL, limit=100, bodies=True)
    while page:
        pages.append(len(page))
        page = record_log.records(RecordFilter(before=page[-1].id), limit=100, bodies=True)
    assert pages == [2, 2, 1]
    monkeypatch.setattr(duckdb_read, "LIST_PARTS_MAX", 1)
    assert len(record_log.records(ALL, limit=100, bodies=True)) == 1
    record_log.close()


def test_bodies_of_any_length_come_back_whole(tmp_path: Path) -> None:
    """They are stored in parts; the two of a call may have different numbers of them, whatever the script."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    lengths = [0, 1, 8189, 8190, 8191, 16_382, 100_000]
    for number, length in enumerate(lengths):
        request, response = "é\U0001f600"[number % 2] * length, "x" * lengths[-1 - number]
        fields = {
            "request": msgspec.Raw(msgspec.json.encode(request)),
            "response": msgspec.Raw(msgspec.json.encode(response)),
        }
        segment = f"w/{number}"
        opened = {call_id(number): opened_json(number, request=fields["request"])}
        closed = {call_id(number): closed_json(number, response=fields["response"])}
        record_log.apply(JournalMove(segment=segment, start=0, end=1, opened=opened))
        assert record_log.orphans(segment) == opened
        record_log.apply(JournalMove(segment=segment, start=1, end=2, closed=closed))
        (found,) = record_log.records(RecordFilter(id=call_id(number)), limit=1, bodies=True)
        assert (found.request, found.response) == (request, response)
    assert record_log.orphans("") == {}
    record_log.close()


def test_huge_bodies_do_not_exhaust_memory(tmp_path: Path) -> None:
    """Many times the memory limit in open calls and bodies is stored, checkpointed, closed and read."""
    path = tmp_path / "records.duckdb"
    record_log = DuckDBRecordLog(path, memory_limit="64MB")
    noise = random.Random(1).randbytes(6_000_000).hex().encode()
    huge = msgspec.Raw(b'"' + noise + b'"')
    numbers = range(5)
    for number in numbers:
        opened = {call_id(number): opened_json(number, request=huge)}
        record_log.apply(JournalMove(segment="w/1", start=number, end=number + 1, opened=opened))
    assert list(record_log.orphans("w/")) == [call_id(0)]
    closed = {call_id(number): closed_json(number, response=huge) for number in numbers}
    record_log.apply(JournalMove(segment="w/1", start=5, end=6, closed=closed))
    record_log.close()
    record_log = DuckDBRecordLog(path, memory_limit="64MB")
    assert record_log.count(ALL) == 5
    (found,) = record_log.records(RecordFilter(id=call_id(4)), limit=1, bodies=True)
    assert found.request == found.response == noise.decode()
    record_log.close()


def test_a_row_has_a_bound(tmp_path: Path) -> None:
    """A call with tags of megabytes is refused, opened or closed: the table's memory depends on its rows."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    tags = {"tag": "x" * 70_000}
    with pytest.raises(ValueError, match="70"):
        record_log.apply(move(1, tags=tags))
    with pytest.raises(ValueError, match="70"):
        record_log.apply(
            JournalMove(segment="w/1", start=0, end=1, opened={call_id(1): opened_json(1, tags=tags)})
        )
    record_log.close()


def test_a_full_disk_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    """A move that the disk refuses raises StoreUnavailable; with space there the same log goes on."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(move(1))
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    large = msgspec.Raw(b'"' + bytes(range(48, 91)) * 20_000 + b'"')
    large = msgspec.Raw(bytes(large).replace(b"\\", b"/"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
    try:
        with pytest.raises(StoreUnavailable):
            record_log.apply(move(2, start=100, request=large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert record_log.offset(SEGMENT) == 100
    assert record_log.apply(move(2, start=100, request=large)) == 200
    record_log.close()
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    assert [each.id for each in again.records(ALL, limit=10, bodies=False)] == [call_id(2), call_id(1)]
    again.close()


def test_a_database_that_duckdb_gave_up_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call during which it happened fails, and the next one works, with nothing lost."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(move(1))
    lost = record_log._root

    def fail(*_args: object) -> int:
        raise duckdb.FatalException("database has been invalidated")

    with monkeypatch.context() as broken:
        broken.setattr(duckdb_read, "offset", fail)
        with pytest.raises(StoreUnavailable, match="invalidated"):
            record_log.apply(move(2, start=100))
    assert record_log.count(ALL) == 1
    assert record_log._root is not lost
    assert record_log.apply(move(2, start=100)) == 200
    record_log.close()


def test_a_move_of_no_bytes_leaves_no_offset(tmp_path: Path) -> None:
    """Nobody would ever forget it."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment="w/none", start=0, end=0))
    with record_log._reading() as connection:
        assert connection.execute("select count(*) from offsets").fetchall() == [(0,)]
    record_log.close()


def test_thousands_of_records_take_a_moment(tmp_path: Path) -> None:
    """Rows are stored in bulk: one statement a row would take a minute."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    records = tuple(record_json(number) for number in range(4_000))
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    assert record_log.count(ALL) == 4_000
    assert len(record_log.records(ALL, limit=10_000, bodies=True)) == 4_000
    record_log.close()
