"""A part of the ledger: its connections, and what is told when the database refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as AllTaken

from airboss.domain.errors import SetupError
from airboss.store.ledger_open import (
    REFUSALS,
    bring_up_to_date,
    cannot,
    engine_on,
    open_engine,
    read_url,
    writing,
)
from airboss.store.ledger_tables import revision
from airboss.store.ledger_trouble import LedgerTrouble, edited, writes
from airboss.store.ledger_unchanged import Version
from airboss.store.opened_file import OpenedFile


class _Together:
    """Writes of one thread that become one transaction, begun by the first of them: what is only read before
    keeps nobody waiting."""

    def __init__(self, writer: Engine, ends: ExitStack) -> None:
        self._writer = writer
        self._ends = ends
        self.connection: Connection | None = None

    def begun(self) -> Connection:
        if self.connection is None:
            self.connection = self._ends.enter_context(self._writer.begin())
        return self.connection


_together: ContextVar[dict[str, _Together]] = ContextVar("together", default={})  # noqa: B039 - never changed
"""By the database's URL, as each part of a ledger has an engine of its own."""


def utc_text(at: datetime) -> str:
    """A time as the tables have it: ISO 8601 in UTC with its microseconds, so that texts sort as times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


class LedgerPart:
    """Connections to a ledger that is brought up to date first. Safe to use by threads, and by several
    processes on one database. Raises SetupError if it cannot be opened or, later, used. `late`: one on a
    server is opened when it is first used, and brought forward by others, who lead."""

    def __init__(self, url: str, *, moved: bool = False, late: bool = False) -> None:
        self._late = late and read_url(url).get_backend_name() == "postgresql"
        self._engine = engine_on(url) if self._late else open_engine(url, moved=moved)
        self._writer = writing(self._engine)
        self._place = self._engine.url.render_as_string(hide_password=True)
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._file = OpenedFile(file) if file and file != ":memory:" else None
        self._version = Version(self._file) if self._file is not None else None
        self._answers: dict[tuple[Any, ...], tuple[int, Any]] = {}

    def close(self) -> None:
        """Give back connections. Not used after."""
        self._engine.dispose()
        if self._version is not None:
            self._version.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes within, by any part of this ledger, is one transaction: on disk at the end,
        or, where the block raises, not at all. The write lock is held from the first write on, so that
        nothing slow may come after it, nor what waits for another's write. Raises SetupError."""
        if self._place in _together.get():
            yield
            return
        try:
            with ExitStack() as ends:
                token = _together.set({**_together.get(), self._place: _Together(self._writer, ends)})
                ends.callback(_together.reset, token)
                yield
        except REFUSALS as error:
            raise self._refused(error) from error

    def unwritable(self) -> str | None:
        """Why nothing can be written, though it can be read; None: it can, as far as is known."""
        asked = "SELECT current_setting('transaction_read_only') = 'on'"
        only_read = False
        if self._engine.dialect.name == "postgresql":
            with self._read() as connection:
                only_read = bool(connection.exec_driver_sql(asked).scalar())
        if only_read or writes.why_not(self._place) is not None:
            with suppress(SetupError), self._write() as connection:
                connection.execute(update(revision).values(value=revision.c.value))
        return writes.why_not(self._place)

    def _refused(self, error: DBAPIError | AllTaken) -> SetupError:
        """What to tell of a write that the database refuses."""
        told = cannot(error, self._engine)
        if isinstance(told, LedgerTrouble):
            writes.refused(self._place, str(told))
        return told

    def _check(self) -> None:
        """Raise SetupError where SQLite's file is not the one that was opened any more."""
        if self._late:
            bring_up_to_date(self._engine, moved=False, leads=False)
            self._late = False
        trouble = self._file.trouble() if self._file is not None else None
        if trouble is not None:
            raise SetupError(f"the ledger {trouble}")

    def _shared(self) -> Connection | None:
        """The connection of `together`, once it has written."""
        held = _together.get().get(self._place)
        return held.connection if held is not None else None

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        try:
            shared = self._shared()
            if shared is not None:
                yield shared
                return
            self._check()
            with self._engine.connect() as connection:
                yield connection
        except REFUSALS as error:
            raise cannot(error, self._engine) from error
        except msgspec.DecodeError as error:
            raise edited(error, self._engine.url.database) from error

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """As `_read`, in a transaction that has the write lock from its start and is on disk at its end."""
        try:
            self._check()
            held = _together.get().get(self._place)
            if held is not None:
                yield held.begun()
                return
            with self._writer.begin() as connection:
                yield connection
            writes.done(self._place)
        except REFUSALS as error:
            raise self._refused(error) from error
        except msgspec.DecodeError as error:
            raise edited(error, self._engine.url.database) from error
