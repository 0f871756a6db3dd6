"""What is too old is deleted: at the start and then daily, day by day, a batch at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from airboss.config.types import RetentionConfig
from airboss.domain.ports import Clock, RecordLog
from airboss.domain.status import RetentionStatus
from airboss.store.audit_rows import AuditLog
from airboss.store.disk import FREE_BYTES_MIN

BATCH: Final = 1_000
"""Records at once, so that the moves of new ones wait for a moment only."""

BATCHES_PER_TICK: Final = 5

log = logging.getLogger(__name__)


class Retention:
    """A chore. A day is over at midnight UTC, so that two runs of one day delete the same; whole days go, the
    oldest records first. Any thread may ask for the status."""

    def __init__(
        self,
        *,
        wanted: Callable[[], RetentionConfig],
        records: RecordLog,
        audit: AuditLog,
        clock: Clock,
        free_bytes: Callable[[], int] = lambda: FREE_BYTES_MIN,
    ) -> None:
        self._free_bytes = free_bytes
        self._dropped = 0
        self._full = False
        self._wanted = wanted
        self._records = records
        self._audit = audit
        self._clock = clock
        self._done_for: tuple[RetentionConfig, datetime] | None = None
        self._expired = 0
        self._status = RetentionStatus()

    def status(self) -> RetentionStatus:
        """What is wanted now, and the last run that was finished."""
        wanted = self._wanted()
        return msgspec.structs.replace(
            self._status,
            bodies_days=wanted.bodies_days,
            records_days=wanted.records_days,
            bodies_max_bytes=wanted.bodies_max_bytes,
            dropped=self._dropped,
            disk_full=self._free_bytes() < FREE_BYTES_MIN,
        )

    def gauges(self) -> dict[str, float]:
        """The status as numbers."""
        return {"bodies_dropped": float(self._dropped)}

    def tick(self) -> None:
        """Delete some batches of what is due. Raises StoreUnavailable, SetupError."""
        self._look_at_disk()
        wanted = self._wanted()
        self._make_room(wanted.bodies_max_bytes)
        today = self._clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self._done_for == (wanted, today):
            return
        bodies_before = _before(today, wanted.bodies_days)
        records_before = _before(today, wanted.records_days)
        if bodies_before is None and records_before is None:
            self._done_for = (wanted, today)
            return
        for _ in range(BATCHES_PER_TICK):
            gone = self._records.expire(
                bodies_before=bodies_before, records_before=records_before, limit=BATCH
            )
            self._expired += gone
            if gone < BATCH:
                self._note(bodies_before, records_before)
                self._finish(wanted, today)
                return

    def _look_at_disk(self) -> None:
        """Say in the log when it gets nearly full, and when there is room again."""
        free = self._free_bytes()
        if (free < FREE_BYTES_MIN) != self._full:
            self._full = free < FREE_BYTES_MIN
            state = "nearly full: once it is full calls are refused" if self._full else "not nearly full now"
            log.warning("the disk of the data directory is %s; %d MiB are left", state, free // 2**20)

    def _make_room(self, bytes_max: int | None) -> None:
        """Drop the oldest bodies where they take too much; where the disk is nearly full, whatever they take:
        the store's file does not grow while there is room in it, and journals get what is left."""
        for _ in range(BATCHES_PER_TICK):
            full = self._free_bytes() < FREE_BYTES_MIN
            if not full and bytes_max is None:
                return
            gone = self._records.make_room(0 if full else bytes_max or 0)
            if not gone:
                return
            self._dropped += gone
            why = "the disk is nearly full" if full else f"the store takes more than {bytes_max} bytes"
            log.warning("dropped the oldest bodies, of %d records: %s", gone, why)
            if full:
                return

    def _note(self, bodies_before: datetime | None, records_before: datetime | None) -> None:
        if self._expired:
            detail = {
                "records": self._expired,
                "bodies_before": bodies_before.isoformat() if bodies_before is not None else None,
                "records_before": records_before.isoformat() if records_before is not None else None,
            }
            self._audit.append(
                "retention", actor="airboss", subject="records", detail=detail, at=self._clock.now()
            )

    def _finish(self, wanted: RetentionConfig, today: datetime) -> None:
        self._status = RetentionStatus(ran_at=self._clock.now(), expired=self._expired)
        self._done_for, self._expired = (wanted, today), 0


def _before(today: datetime, days: int | None) -> datetime | None:
    """Before when something is too old: `days` whole days are kept beside today."""
    return None if days is None else today - timedelta(days=days)
