"""How everything stands, told within seconds also where the ledger is away or hangs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Final

import msgspec

from airboss.domain.errors import SetupError
from airboss.domain.ports import Clock
from airboss.domain.status import SystemStatus
from airboss.store.daemons import Daemons

SILENT_S: Final = 1.5
"""So long the ledger is waited for. One that is silent is not asked again before it has answered."""
EVERY_S: Final = 30.0
"""So often it is asked anyhow, so that there is something to tell of it when it is away."""

_threads: Final = Daemons(4, "status")


class Lately:
    """`whole` reads the ledger, `own` does not. Where the ledger does not answer, the rest is told as it is,
    and of the ledger what it said last. Implements `chores.Chore`. Any thread may ask."""

    def __init__(
        self, whole: Callable[[], SystemStatus], own: Callable[[], SystemStatus], clock: Clock
    ) -> None:
        self.whole = whole
        self._own = own
        self._clock = clock
        self._last: tuple[SystemStatus, datetime] | None = None
        self._stuck: Future[SystemStatus] | None = None
        self._due = 0.0

    def __call__(self) -> SystemStatus:
        """The status of now."""
        stuck = self._stuck
        if stuck is not None and not stuck.done():
            return self._without("the ledger does not answer")
        asked = _threads.submit(self.whole)
        try:
            found = asked.result(SILENT_S)
        except TimeoutError:
            self._stuck = asked
            return self._without(f"the ledger has been silent for {SILENT_S:g} s")
        except SetupError as error:
            return self._without(str(error))
        self._last = found, self._clock.now()
        return found

    def _without(self, why: str) -> SystemStatus:
        now = self._own()
        if self._last is None:
            return msgspec.structs.replace(now, ledger_trouble=why)
        said, at = self._last
        letters = msgspec.structs.replace(now.journal, dead_letters=said.journal.dead_letters)
        return msgspec.structs.replace(
            said,
            running=now.running,
            started_at=now.started_at,
            base_url=now.base_url,
            console_url=now.console_url,
            processes=now.processes,
            journal=letters,
            breakers=now.breakers,
            counters_away=now.counters_away,
            kept_plans=now.kept_plans,
            unrecordable=now.unrecordable,
            ledger_trouble=f"{why}; plans, replicas and alarms are told as they were at {at:%H:%M:%S} UTC",
        )

    def tick(self) -> None:
        """As `Chore.tick`."""
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + EVERY_S
            self()
