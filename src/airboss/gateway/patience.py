"""How long calls wait for a database that is silent: the first one long, the next ones hardly at all."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from typing import Any, Final

from airboss.domain.errors import SetupError
from airboss.store.ledger_trouble import LedgerAway

SHORT_S: Final = 0.25
"""So long one call waits for a database that was silent when it was asked last; the others do not at all."""


class Patience:
    """What is known of one database from what it was asked of one kind. Used by one event loop; what is asked
    may end in any thread. That no server is there holds for what is asked `beside` too."""

    def __init__(self, beside: Patience | None = None) -> None:
        self._beside = beside
        if beside is not None:
            beside._beside = self
        self._why: str | None = None
        """Why it is known to be silent; None: it is not."""
        self._stuck: Future[Any] | None = None
        """What was waited for in vain, and may still be answered."""

    def wait_s(self, most_s: float) -> float:
        """How long a call may wait for what it asks now, `most_s` at most. Raises LedgerAway at once while
        what another call has waited for in vain is not answered."""
        why = self._why  # read once: another thread takes it away as an answer comes
        if why is None:
            return most_s
        if self._stuck is not None and not self._stuck.done():
            raise LedgerAway(why)
        return min(most_s, SHORT_S)

    def asked(self, asked: Future[Any]) -> None:
        """Know how the database is by how this ends, which is asked now."""
        began = time.monotonic()
        asked.add_done_callback(lambda ended: self._ended(ended, time.monotonic() - began))

    def gave_up(self, asked: Future[Any] | None, waited_s: float) -> LedgerAway:
        """A call has waited for this in vain: what to tell it."""
        why = self._why = self._why or f"the ledger has been silent for {waited_s:g} s"
        if asked is not None and not asked.done():
            self._stuck = asked
        return LedgerAway(why)

    def _ended(self, ended: Future[Any], took_s: float) -> None:
        try:
            failed = ended.exception()
        except CancelledError:  # it was never asked
            return
        if not isinstance(failed, SetupError):
            self._why = None
        elif took_s > SHORT_S:
            self._why = str(failed)
            if self._beside is not None and isinstance(failed, LedgerAway):
                self._beside._why = self._why
