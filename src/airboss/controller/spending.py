"""What keys have spent, by the records, written where budgets are counted from: the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from airboss.domain.ports import Clock, RecordLog, Spent

ALL_S: Final = 600.0
"""So often all of the month is looked at: records may arrive days late."""


class Spends(Protocol):
    """What is needed of `store.spends.SqlSpends`."""

    def raise_to(self, spent: Iterable[Spent]) -> int:
        """Let no key and day have less than this."""


class Spending:
    """A chore. `moved` is how many records have been moved: while it stays, there is nothing to add up.

    A gateway counts what its calls cost by itself, and at once. This is for what it could not tell any more
    because it was killed, and for records that came from elsewhere; so that spend is the sum of the records.
    """

    def __init__(self, records: RecordLog, spends: Spends, *, moved: Callable[[], int], clock: Clock) -> None:
        self._records = records
        self._spends = spends
        self._moved = moved
        self._clock = clock
        self._seen: int | None = None
        self._all_at: float | None = None

    def tick(self) -> None:
        """Add up what is new. Raises StoreUnavailable, SetupError."""
        moved, now = self._moved(), self._clock.monotonic()
        whole = self._all_at is None or now >= self._all_at
        if moved == self._seen and not whole:
            return
        self._spends.raise_to(self._records.spent(self._since(self._clock.now(), whole=whole)))
        self._seen = moved
        if whole:
            self._all_at = now + ALL_S

    def _since(self, now: datetime, *, whole: bool) -> datetime:
        """Yesterday, or the first of the month if that is earlier: days are in UTC."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        yesterday = today - timedelta(days=1)
        return min(yesterday, today.replace(day=1)) if whole else yesterday
