"""Journals to move, and a log that notices what is moved twice."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, RecordLog
from airboss.domain.record import Redacted
from airboss.store.memory import MemoryRecordLog
from airboss.telemetry.journal import JournalWriter
from tests.store.samples import START, call_id, closed_json, opened_json


class FixedClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = START + timedelta(hours=1)

    def now(self) -> datetime:
        """The moment set."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since START."""
        return (self.at - START).total_seconds()


class StrictLog(MemoryRecordLog):
    """A log that fails when a move brings a record that it has, and can be down: before it takes a move, or
    after, when only the answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()

    def offset(self, segment: str) -> int:
        """As a log; fails while "all" is down."""
        self._fail("all")
        return super().offset(segment)

    def apply(self, move: JournalMove) -> int:
        """As a log; every record of a move that is taken must be new."""
        self._fail("all", "before apply")
        new = 0
        if super().offset(move.segment) == move.start:
            new = sum(each in self._pending or each in move.opened for each in move.closed)
        before = len(self._records)
        held = super().apply(move)
        assert len(self._records) == before + new, f"{move} brought records again"
        self._fail("after apply")
        return held

    def forget(self, segment: str) -> None:
        """As a log; fails while "forget" is down."""
        self._fail("all", "forget")
        super().forget(segment)

    @property
    def offsets(self) -> dict[str, int]:
        """What it remembers of segments."""
        return self._offsets

    @property
    def waiting(self) -> int:
        """How many opens wait for their close."""
        return len(self._pending)

    def _fail(self, *points: str) -> None:
        if self.down.intersection(points):
            raise StoreUnavailable(f"down: {self.down}")


def opens(writer: JournalWriter, *numbers: int) -> None:
    """Write the open frames of these calls."""
    for number in numbers:
        writer.open(cast("Redacted", opened_json(number)))


def closes(writer: JournalWriter, *numbers: int) -> None:
    """Write the close frames of these calls."""
    for number in numbers:
        writer.close_call(cast("Redacted", closed_json(number)))


def outcome(record_log: RecordLog) -> dict[str, str | None]:
    """The error type of every record, by id."""
    found = record_log.records(RecordFilter(), limit=10_000, bodies=False)
    assert len({each.id for each in found}) == len(found)
    return {each.id: each.error_type for each in found}


def expected(ended: Iterable[int], cut_off: Iterable[int] = ()) -> dict[str, str | None]:
    """What `outcome` must be when these calls ended and those were interrupted."""
    answers: dict[str, str | None] = {call_id(number): None for number in ended}
    return {**answers, **{call_id(number): "interrupted" for number in cut_off}}


def left_over(root: Path) -> list[str]:
    """Names of all that lies under a journal root."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
