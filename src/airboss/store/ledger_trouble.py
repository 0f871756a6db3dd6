"""The errors of a ledger that cannot be used, apart from what opens one, which takes long to load."""

from __future__ import annotations

import threading
import time
from typing import Final

import msgspec

from airboss.domain.errors import SetupError

TOLD_S: Final = 60.0


class LedgerTrouble(SetupError):
    """The database cannot be used now, whatever it is asked: it is away, full, read-only, silent. What was
    asked is not at fault, and may be asked again."""


class LedgerAway(LedgerTrouble):
    """No server is there now, or others have all its connections; of one that says no it is not this."""


class Writes:
    """How it goes with what this process writes, by the database. Any thread may tell."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def refused(self, where: str, why: str) -> None:
        """One was refused, not for what it was."""
        with self._lock:
            self._refused[where] = (why, time.monotonic())

    def done(self, where: str) -> None:
        """One was done: what was refused a minute ago is over. Until then it is told, for one table may be
        written and another not."""
        why, at = self._refused.get(where, ("", 0.0))
        if why and time.monotonic() - at > TOLD_S:
            with self._lock:
                self._refused.pop(where, None)

    def why_not(self, where: str) -> str | None:
        """Why one was refused of late; None: none was."""
        return self._refused.get(where, (None, 0.0))[0]


writes: Final = Writes()
"""Those of this process."""


def edited(error: msgspec.DecodeError, database: str | None) -> SetupError:
    """What to tell of a row that holds what nobody here wrote."""
    return SetupError(
        f"the ledger {database} has a row that no Airboss of this version wrote ({error}): put a copy of it"
        " back, and see `airboss audit verify`"
    )
