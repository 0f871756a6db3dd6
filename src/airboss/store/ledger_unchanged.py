"""Reads of the ledger that are asked many times a second, remembered for as long as nothing was written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from airboss.store.ledger_sqlite import connected
from airboss.store.opened_file import OpenedFile

ANSWERS_MAX: Final = 64

P = ParamSpec("P")
T = TypeVar("T")


class Version:
    """Which writes a SQLite file has seen: a number that another commit by anybody changes. Any thread may
    ask. It costs a twentieth of the smallest query; a connection of its own never writes, so that it sees
    those of this process too."""

    def __init__(self, file: OpenedFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def now(self) -> int | None:
        """The number; None if it cannot be told, and then nothing may be taken to be as it was."""
        if self._file.trouble() is not None:
            return None
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connected(self._file.path, wait_s=0)
                found = self._connection.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                return None
        return int(found[0])

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class Remembering(Protocol):
    """What has remembered answers: by what was asked, with the version before they were read."""

    _version: Version | None
    _answers: dict[tuple[Any, ...], tuple[int, Any]]

    def _shared(self) -> object | None:
        """What reads go by that see writes of which nobody else knows yet."""


R = TypeVar("R", bound=Remembering)


def unchanged(read: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """A read whose answer, which nobody changes, is given again until something is written. Its arguments
    can be hashed. Where the version cannot be told (PostgreSQL) it reads each time, and so it does among
    writes that may yet be taken back (`LedgerPart.together`)."""

    @wraps(read)
    def remembered(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        version = self._version.now() if self._version is not None and self._shared() is None else None
        if version is None:
            return read(self, *args, **kwargs)
        asked = (read.__name__, *args, *kwargs.items())
        held = self._answers.get(asked)
        if held is not None and held[0] == version:
            answer: T = held[1]
            return answer
        answer = read(self, *args, **kwargs)  # what is written from here on changes the version again
        if len(self._answers) >= ANSWERS_MAX:
            self._answers.clear()
        self._answers[asked] = (version, answer)
        return answer

    return remembered
