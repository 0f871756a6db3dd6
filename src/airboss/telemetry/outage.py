"""What goes wrong again and again, told once in the log: a server that is silent for an hour is one line as
it begins, and one as it is over."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from airboss.store.ledger_trouble import LedgerTrouble

AGAIN_S: Final = 60.0
"""So long nothing more is told of what has been told, though it begins again or has another cause."""


class Outage:
    """One thing that is tried again and again; `undone` says what was not done. Any thread may tell. That the
    ledger is away is told once for all that a process does with it."""

    def __init__(self, log: logging.Logger, undone: str) -> None:
        self._log = log
        self._undone = undone
        self._lock = threading.Lock()
        self._missed = 0
        self._began = self._quiet_until = 0.0
        self._cause: str | None = None
        """What was told of it, until it is over; None: nothing."""
        self._ledger = False
        """Whether it was the ledger's fault."""

    def failed(self, why: object) -> None:
        """It could not be done now."""
        if isinstance(why, LedgerTrouble) and self is not LEDGER:
            self._ledger = True
            LEDGER.failed(why)
            return
        now, cause = time.monotonic(), str(why)
        with self._lock:
            self._missed += 1
            if cause == self._cause or now < self._quiet_until:
                return
            if self._cause is None:
                self._began = now
            self._cause, self._quiet_until = cause, now + AGAIN_S
        self._log.warning("%s; trying again: %s", self._undone, cause)

    def over(self) -> None:
        """It was done."""
        if self._ledger:
            self._ledger = False
            LEDGER.over()
        if not self._missed:
            return
        with self._lock:
            if self._cause is None:  # as short as it was soon after another: its count comes with the next
                return
            lasted_s, missed = time.monotonic() - self._began, self._missed
            self._missed, self._cause = 0, None
        self._log.warning("%s: over after %.0f s; missed: %d", self._undone, lasted_s, missed)


LEDGER: Final = Outage(logging.getLogger("airboss.ledger"), "what needs the ledger waits")
"""Of this process, whatever it needs the ledger for."""
