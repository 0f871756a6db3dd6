"""What is too old is deleted: at the start and then daily, day by day, a batch at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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
    oldest records first. `expire_answers` is `EvalStore.expire`. Any thread may ask for the status."""

    def __init__(
        self,
        *,
        wanted: Callable[[], RetentionConfig],
        records: RecordLog,
        audit: AuditLog,
        clock: Clock,
        expire_answers: Callable[[datetime, int], int],
        free_bytes: Callable[[], int] = lambda: FREE_BYTES_MIN,
    ) -> None:
        self._expire_answers = expire_answers
        self._free_bytes = free_bytes
        self._dropped = 0
        self._full = False
        self._wanted = wanted
        self._records = records
        self._audit = audit
        self._clock = clock
        self._done_for: tuple[RetentionConfig, datetime] | None = None
        self._expired = self._answers = 0
        self._status = RetentionStatus()

    def status(self) -> RetentionStatus:
        """What is wanted now, and the last run that was finished."""
        wanted = self._wanted()
        return msgspec.structs.replace(
            self._status,
            bodies_days=wanted.bodies_days,
            records_days=wanted.records_days,
            answers_days=wanted.answers_days,
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
        days = {
            "bodies": wanted.bodies_days,
            "records": wanted.records_days,
            "answers": wanted.answers_days,
        }
        due = {what: today - timedelta(days=kept) for what, kept in days.items() if kept is not None}
        if not due:
            self._done_for = (wanted, today)
            return
        for _ in range(BATCHES_PER_TICK):
            if not self._expire(due):
                self._note(due)
                self._finish(wanted, today)
                return

    def _expire(self, due: Mapping[str, datetime]) -> bool:
        """Delete a batch of what began before it is due, by what it is; whether there may be more."""
        bodies, records, answers = due.get("bodies"), due.get("records"), due.get("answers")
        gone = removed = 0
        if bodies is not None or records is not None:
            gone = self._records.expire(bodies_before=bodies, records_before=records, limit=BATCH)
            self._expired += gone
        if answers is not None:
            removed = self._expire_answers(answers, BATCH)
            self._answers += removed
        return gone >= BATCH or removed > 0

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

    def _note(self, due: Mapping[str, datetime]) -> None:
        if self._expired or self._answers:
            befores = {f"{what}_before": before.isoformat() for what, before in due.items()}
            detail = {"records": self._expired, "answers": self._answers, **befores}
            self._audit.append(
                "retention", actor="airboss", subject="records", detail=detail, at=self._clock.now()
            )

    def _finish(self, wanted: RetentionConfig, today: datetime) -> None:
        self._status = RetentionStatus(ran_at=self._clock.now(), expired=self._expired)
        self._done_for, self._expired, self._answers = (wanted, today), 0, 0
