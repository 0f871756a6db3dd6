"""Records as a file: a row a call, with its bodies and every score of it. A Parquet file is read, too."""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import duckdb
import msgspec

from airboss.domain.errors import SetupError, WrongCall
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.store.csv_cells import cell
from airboss.store.datadir_lock import flock_folder
from airboss.store.duckdb_run import append
from airboss.store.joining import Row, StoredRecord
from airboss.store.rows import COLUMNS, from_row, record_row
from airboss.store.unwritable import unwritable

_TYPES: Final = {
    "started_at": "timestamp",
    "cost_usd": "decimal(18, 12)",
    **dict.fromkeys(("stream", "usage_estimated"), "boolean"),
    **dict.fromkeys(("latency_ms", "ttft_ms", "overhead_ms"), "double"),
    **dict.fromkeys(("plan", "input_tokens", "output_tokens", "cached_input_tokens"), "bigint"),
    **dict.fromkeys(("cache_write_tokens", "reasoning_tokens", "output_chars"), "bigint"),
}
"""Of columns that are no text; `attempts`, `policy`, `tags`, `scores` and the bodies are JSON text."""
_TEXTS: Final = ("request", "response", "scores")
NAMES: Final = (*COLUMNS, *_TEXTS)
_LONG: Final = tuple(map(NAMES.index, ("attempts", *_TEXTS)))
ROWS_AT_ONCE: Final = 200
MEMORY: Final = "512MB"
"""What DuckDB may take."""
GROUP: Final = 2_048
"""Rows that are read together, as many as DuckDB reads at a time; fewer where they have GROUP_BYTES."""
GROUP_BYTES: Final = 16 * 1024 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
ROW_BYTES: Final = 1_024
"""What a row has in about, beside its long texts."""
PREFIX: Final = ".airboss-export-"
LEFT_S: Final = 60.0
"""A folder that nobody holds may be new, and about to be held."""
_FULL: Final = ("No space left on device", "Could not write all bytes", "Disk quota exceeded")
_scores: Final = msgspec.json.Decoder(list[Score])


class RecordFileWriter:
    """Writes a file of a `form` that is there whole or not at all; rows wait in a file beside it, not in
    memory. Raises SetupError where it cannot be written."""

    def __init__(self, path: Path, form: Literal["csv", "parquet"]) -> None:
        self._path = path
        with _writing(path):
            beside = path.absolute().parent
            _clear_left(beside)
            self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=beside)
            self._lock = flock_folder(Path(self._folder.name), fcntl.LOCK_EX)
            self._table = (_Csv if form == "csv" else _Parquet)(Path(self._folder.name))

    def add(self, rows: Iterable[Row]) -> None:
        """Add calls."""
        with _writing(self._path):
            self._table.add([_columns(row) for row in rows])

    def finish(self) -> None:
        """Put the file in place."""
        with _writing(self._path):
            self._table.finish().replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(duckdb.Error, OSError):  # on a full disk
            self._table.close()
        with suppress(OSError):
            self._folder.cleanup()
        if self._lock >= 0:
            os.close(self._lock)


class _Csv:
    """Rows in a file for spreadsheets, and all else that reads no Parquet."""

    def __init__(self, folder: Path) -> None:
        self._part = folder / "whole.csv"
        self._file = self._part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        self._writer.writerow(NAMES)

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._writer.writerows([cell(value) for value in row] for row in rows)

    def finish(self) -> Path:
        self._file.close()
        return self._part

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Rows in small files of their own, until they can be written together: what DuckDB reads at once, up to
    2,048 rows, never is of two files, and so never many bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[tuple[Any, ...]] = []
        self._size = self._parts = 0
        config: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": 1,  # and so the order is kept
            "preserve_insertion_order": False,  # else row groups are bound by rows alone
            "temp_directory": str(folder),
        }
        self._connection = duckdb.connect(config=config)

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            self._rows.append(row)
            self._size += ROW_BYTES + sum(len(row[at]) for at in _LONG if row[at] is not None)
            if self._size >= PART_BYTES:
                self._put_down()

    def finish(self) -> Path:
        whole = self._folder / "whole.parquet"
        if self._rows or not self._parts:
            self._put_down()
        parts = ", ".join(f"'{_quoted(self._part(number))}'" for number in range(self._parts))
        self._connection.execute(
            f"copy (from read_parquet([{parts}])) to '{_quoted(whole)}' (format parquet, compression zstd,"
            f" row_group_size {GROUP}, row_group_size_bytes {GROUP_BYTES})"
        )
        return whole

    def close(self) -> None:
        self._connection.close()

    def _part(self, number: int) -> Path:
        return self._folder / f"{number}.parquet"

    def _put_down(self) -> None:
        shape = ", ".join(f'"{name}" {_TYPES.get(name, "varchar")}' for name in NAMES)
        self._connection.execute(f"create or replace table rows ({shape})")
        append(self._connection, "rows", self._rows)
        part = _quoted(self._part(self._parts))
        self._connection.execute(f"copy rows to '{part}' (format parquet, compression snappy)")
        self._rows, self._size = [], 0
        self._parts += 1


def _clear_left(beside: Path) -> None:
    """Delete what writers left there that were killed: it holds what people said."""
    for folder in beside.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or that of a writer that lives
            if time.time() - folder.stat().st_mtime > LEFT_S:
                lock = flock_folder(folder, fcntl.LOCK_EX)
                if lock >= 0:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(lock)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What fails in here is told of `path`. DuckDB tells of a full disk in words alone, with its own file."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error
    except duckdb.Error as error:
        if any(words in str(error) for words in _FULL):
            raise unwritable(path, OSError(errno.ENOSPC, "No space left on device")) from error
        raise SetupError(f"{path} cannot be written: {type(error).__name__} of DuckDB") from error


def count(path: Path) -> int:
    """How many calls a file holds. Raises WrongCall for one that is none of ours."""
    with duckdb.connect() as connection:
        try:
            found = connection.execute(f"describe select * from read_parquet('{_quoted(path)}')").fetchall()  # noqa: S608 - a quoted path
            names = {row[0] for row in found}
            missing = [name for name in NAMES if name not in names and name not in _OPTIONAL]
            if missing:
                raise WrongCall(
                    f"{path} holds no records of Airboss: it has no column {missing[0]!r}; `airboss records "
                    "export` writes such files"
                )
            ((rows,),) = connection.execute(
                f"select count(*) from read_parquet('{_quoted(path)}')"  # noqa: S608 - a quoted path
            ).fetchall()
        except duckdb.Error as error:
            raise _unreadable(path, error) from error
    return int(rows)


def read(path: Path) -> Iterator[list[Row]]:
    """The calls of a file, some at once. Raises WrongCall, with the row, for what is no record."""
    # What other programs wrote may have to have 2,048 long rows in memory, which ours has not; a cache of it
    # would take all the rest.
    with duckdb.connect(config={"threads": 1, "enable_external_file_cache": False}) as connection:
        try:
            # Of a row group it would read all that a column has, however long that is.
            connection.execute("set disable_parquet_prefetching = true")
            found = connection.execute(f"select * from read_parquet('{_quoted(path)}')")  # noqa: S608 - as above
            names = [column[0] for column in found.description or ()]
            at = 0
            while rows := found.fetchmany(ROWS_AT_ONCE):
                yield [
                    _row(path, at + nth, dict(zip(names, values, strict=True)))
                    for nth, values in enumerate(rows, start=1)
                ]
                at += len(rows)
        except duckdb.OutOfMemoryException as error:
            raise WrongCall(
                f"{path} has rows so long that those read together do not fit into this machine's memory; "
                "export it anew, or write it again with fewer rows in a row group"
            ) from error
        except duckdb.Error as error:
            raise _unreadable(path, error) from error


_OPTIONAL: Final = {"cache_write_tokens"}
"""Columns that files of an older Airboss lack."""
_records: Final = msgspec.json.Decoder(StoredRecord)


def _columns(row: Row) -> tuple[Any, ...]:
    stored = _records.decode(msgspec.json.encode(row.record))
    request, response = (
        None if text == "null" else text
        for text in (str(stored.request, "utf-8"), str(stored.response, "utf-8"))
    )
    return (*record_row(0, stored)[1:], request, response, msgspec.json.encode(row.scores).decode())


def _row(path: Path, number: int, found: Mapping[str, Any]) -> Row:
    try:
        values = [found.get(name) for name in COLUMNS]
        record = from_row((0, *values), found["request"], found["response"])
        checked = msgspec.json.decode(msgspec.json.encode(record), type=InferenceRecord)
        return Row(record=checked, scores=tuple(_scores.decode(found["scores"] or "[]")))
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongCall(f"{path}: row {number} is no record of Airboss: {error}") from error


def _unreadable(path: Path, error: Exception) -> WrongCall:
    return WrongCall(f"{path} cannot be read as a Parquet file: {str(error).splitlines()[0][:300]}")


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("'", "''")
