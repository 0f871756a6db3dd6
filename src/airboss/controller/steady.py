"""Time of day that never goes back: what was to wait two seconds does not wait an hour where the clock is set
back by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airboss.domain.ports import Clock


class Steady:
    """The clock's time, or where it has been set back, the time since then on from where it was. For one
    thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at, self._ticks = datetime.min.replace(tzinfo=UTC), clock.monotonic()

    def now(self) -> datetime:
        """Now, aware, in UTC; never earlier than it was told before."""
        ticks = self._clock.monotonic()
        self._at = max(self._clock.now(), self._at + timedelta(seconds=ticks - self._ticks))
        self._ticks = ticks
        return self._at
