"""A ledger in a file of SQLite: how connections to it behave, what is told where it refuses, and its plan,
read without SQLAlchemy, which takes as long to load as half of a gateway."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from airboss.domain.errors import SetupError
from airboss.domain.ports import Snapshot
from airboss.store.ledger_rows import read_key, read_plan
from airboss.store.ledger_trouble import LedgerTrouble, edited
from airboss.store.opened_file import OpenedFile, locked_up

BUSY_TIMEOUT_MS = 10_000
"""How long a write waits for another process's, which takes milliseconds."""
TROUBLE = (sqlite3.OperationalError, sqlite3.InternalError, sqlite3.InterfaceError)
"""What is about the database itself, and not about what it was asked."""


def connected(file: Path | str, *, wait_s: float) -> sqlite3.Connection:
    """A connection to a file that is there, which opens no transactions by itself and may be used by any
    thread, one at a time. Raises sqlite3.Error, also where the file may only be read now."""
    if (locked := locked_up(file)) is not None:
        raise sqlite3.OperationalError(f"{locked} is readonly")
    return sqlite3.connect(
        f"file:{quote(str(file))}?mode=rw",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )


def prepare(connection: sqlite3.Connection) -> None:
    """Let a connection be as every one to a ledger is. Raises sqlite3.Error."""
    # The driver's own way of opening transactions leaves reads outside of them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    try:
        # The first that reads the schema: of a damaged one the driver cannot say what it found.
        cursor.execute("PRAGMA journal_mode = WAL")
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("database disk image is malformed") from error
    # A publish is rare, and must outlive a power cut; NORMAL would only promise that for a killed process.
    cursor.execute("PRAGMA synchronous = FULL")
    # What is deleted is overwritten: of a person who was erased nothing may stay in unused parts of a page.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def schema_of(file: Path) -> str | None:
    """The migration that a ledger is at; None where that cannot be told, and who opens it tells why."""
    try:
        with closing(connected(file, wait_s=BUSY_TIMEOUT_MS / 1000)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return None if found is None else str(found[0])


def refusal(words: str, file: str, *, trouble: bool) -> SetupError:
    """What to tell of what SQLite said of a ledger."""
    advice = "is its disk there, writable and not full?"
    if any(each in words for each in ("malformed", "not a database", "no such table")):
        advice = "it is damaged: put a copy of the data directory back"
    refused = LedgerTrouble if trouble else SetupError
    return refused(f"the ledger {file} cannot be used: {words}; {advice}")


class SqlitePlans:
    """Implements `PlanSource` on a ledger with the newest schema. Safe to use by threads. All calls raise
    SetupError if the file cannot be used."""

    def __init__(self, file: Path) -> None:
        self._file = OpenedFile(file)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Give the connection back. Not used after."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def revision(self) -> int:
        """As `PlanSource.revision`."""
        with self._reading() as column:
            return int(column("SELECT value FROM revision")[0])

    def snapshot(self) -> Snapshot | None:
        """As `PlanSource.snapshot`."""
        with self._reading() as column:
            plan = column("SELECT content FROM plans ORDER BY number DESC LIMIT 1")
            if not plan:
                return None
            return Snapshot(
                revision=int(column("SELECT value FROM revision")[0]),
                plan=read_plan(plan[0]),
                keys=tuple(map(read_key, column("SELECT content FROM keys ORDER BY name"))),
            )

    def config(self) -> str | None:
        """As `PlanSource.config`."""
        with self._reading() as column:
            found = column("SELECT config FROM plans ORDER BY number DESC LIMIT 1")
            return str(found[0]) if found else None

    @contextmanager
    def _reading(self) -> Iterator[Callable[[str], list[Any]]]:
        """What reads a column, as it was at one moment."""
        with self._lock:
            trouble = self._file.trouble()
            if trouble is not None:
                raise SetupError(f"the ledger {trouble}")
            try:
                connection = self._connected()
                connection.execute("BEGIN")
                try:
                    yield lambda asked: [value for (value,) in connection.execute(asked)]
                finally:
                    connection.rollback()
            except sqlite3.Error as error:
                raise refusal(str(error), str(self._file.path), trouble=isinstance(error, TROUBLE)) from error
            except msgspec.DecodeError as error:
                raise edited(error, str(self._file.path)) from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connected(self._file.path, wait_s=BUSY_TIMEOUT_MS / 1000)
            try:
                prepare(connection)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection
