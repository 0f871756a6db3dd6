"""DuckDB at the end of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import RecordFilter
from airboss.store.duckdb import DuckDBRecordLog


@pytest.mark.parametrize("module", ["airboss.store.duckdb", "airboss.compose.records", "airboss.cli.stopped"])
def test_nothing_is_said_at_the_end(module: str) -> None:
    """No structure of ours keeps DuckDB alive past the interpreter: its bindings would list what has leaked
    on the stderr of every verb that reads the data of a stopped Airboss."""
    done = subprocess.run(
        [sys.executable, "-c", f"import duckdb, {module}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_what_a_killed_one_had_no_room_for_goes(tmp_path: Path) -> None:
    """DuckDB puts bodies on disk where memory is short, and never looks again at what was left of a process
    that was killed: no erasure would find it. As long as another has the log open it is that one's."""
    path = tmp_path / "records.duckdb"
    spilled = tmp_path / "records.duckdb.tmp" / "duckdb_temp_1_0_storage_DEFAULT-0.tmp"
    spilled.parent.mkdir()
    spilled.write_bytes(b"words of somebody who is forgotten by now")
    (spilled.parent / "another's").touch()
    log = DuckDBRecordLog(path)
    assert [each.name for each in spilled.parent.iterdir()] == ["another's"]
    spilled.touch()
    opened = f"import pathlib, airboss.store.duckdb as d; d.DuckDBRecordLog(pathlib.Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", opened], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, "is open in another process" in done.stderr) == (1, True)
    assert spilled.exists()
    log.close()


def test_a_disk_that_fails_at_the_opening_is_the_stores_trouble(tmp_path: Path) -> None:
    """Records wait in journals, and it is tried again; it is no defect that ends who tries."""
    path = tmp_path / "records.duckdb"
    (tmp_path / "records.duckdb.copied").mkdir()  # it cannot be unlinked, as nothing can where a disk fails
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        DuckDBRecordLog(path)


BUSY = """
import sys, threading
from pathlib import Path
from airboss.cli.ending import leave
from airboss.store.duckdb import DuckDBRecordLog
from airboss.telemetry import logs
from tests.store.samples import move

logs.configure("store")
log, asking = DuckDBRecordLog(Path(sys.argv[1])), threading.Event()
log.apply(move(1))

def hang():
    asking.set()
    threading.Event().wait()

def ask():
    with log._reading() as connection:
        connection.create_function("hang", hang, [], "BIGINT")
        connection.execute("select hang()").fetchall()

threading.Thread(target=ask, daemon=True).start()
asking.wait()
log.apply(move(2, start=100))
leave(log.close)
"""


def test_a_question_that_is_still_answered_keeps_nobody_from_ending(tmp_path: Path) -> None:
    """That is no defect: the write-ahead log holds what is not in the file, and the next start reads it."""
    path = tmp_path / "records.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", BUSY, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert "the next start reads the write-ahead log" in done.stderr
    log = DuckDBRecordLog(path)
    assert log.count(RecordFilter()) == 2
    log.close()
