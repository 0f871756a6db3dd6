"""A part of the ledger: its connections, and what is told when the database refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from airboss.store.ledger_open import cannot, open_engine, writing
from airboss.store.ledger_unchanged import Version


class LedgerPart:
    """Connections to a ledger that is brought up to date first. Safe to use by threads, and by several
    processes on one database. Raises SetupError if it cannot be opened or, later, used."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._writer = writing(self._engine)
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._version = Version(file) if file and file != ":memory:" else None
        self._answers: dict[tuple[Any, ...], tuple[int, Any]] = {}

    def close(self) -> None:
        """Give back connections. Not used after."""
        self._engine.dispose()
        if self._version is not None:
            self._version.close()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise cannot(error, self._engine) from error

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """As `_read`, in a transaction that has the write lock from its start and is on disk at its end."""
        try:
            with self._writer.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise cannot(error, self._engine) from error
