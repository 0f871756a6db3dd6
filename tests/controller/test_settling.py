"""When the mover has the log settle the calls that spans tell of, and by which time."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from airboss.controller.mover import SETTLE_AFTER, SETTLE_EVERY_S, SETTLE_EVERY_S_MAX, SETTLED_AT_ONCE, Mover
from airboss.domain.ports import JournalMove
from airboss.store.span_messages import CALLS_FOR
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import StrictLog, closes, opens
from tests.controller.test_steady import Set


class Settling(StrictLog):
    """A log that says what it was told: `asked` holds the times up to which it was to settle, `moved` when
    moves were made. Of calls to settle it has `left`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[datetime] = []
        self.moved: list[datetime | None] = []
        self.left = 0

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """Settle what is left, so many at once."""
        self.asked.append(before)
        settled = min(limit, self.left)
        self.left -= settled
        return settled

    def apply(self, move: JournalMove) -> int:
        """As a log."""
        self.moved.append(move.moved_at)
        return super().apply(move)


class Moving:
    """A mover, its log and its clock."""

    def __init__(self, root: Path) -> None:
        self.log, self.clock = Settling(), Set()
        self.mover = Mover(root, self.log, self.clock)

    def asked_in(self, seconds: float) -> list[float]:
        """When the log was asked in the next seconds, of which a tick takes a tenth: so many after now."""
        found = []
        for nth in range(1, round(10 * seconds) + 1):
            self.clock.forward(0.1)
            before = len(self.log.asked)
            self.mover.tick()
            found += [nth / 10] * (len(self.log.asked) - before)
        return found


@pytest.fixture
def moving(tmp_path: Path) -> Moving:
    """A mover that has ticked once, with nothing to do."""
    made = Moving(tmp_path)
    made.mover.tick()
    return made


def test_what_is_settled_was_moved_two_seconds_ago(moving: Moving) -> None:
    """By a clock that is never set back: so are the times of moves, which are compared with it, and an end
    settles all that there is."""
    began = moving.clock.at
    assert moving.log.asked == [began - SETTLE_AFTER]
    writer = JournalWriter(moving.mover._root, "0")
    opens(writer, 1)
    closes(writer, 1)
    moving.clock.forward(1)
    moving.clock.at -= timedelta(hours=1)
    moving.mover.tick()
    assert moving.log.moved == [began + timedelta(seconds=1)]
    assert moving.log.asked[1:] == [began + timedelta(seconds=1) - SETTLE_AFTER]
    moving.clock.forward(1)
    moving.mover.finish()
    assert moving.log.asked[-1] == began + timedelta(seconds=2) + CALLS_FOR
    writer.stop()


def test_it_is_asked_ever_less_often_until_there_is_something(moving: Moving) -> None:
    """About once a second at first, in the end every ten; then again at once, until nothing is left, and as
    at first."""
    at = moving.asked_in(120)
    waits = [round(later - sooner, 1) for sooner, later in pairwise([0.0, *at])]
    assert waits[0] == pytest.approx(1.2 * SETTLE_EVERY_S, abs=0.2)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(SETTLE_EVERY_S_MAX, abs=0.2)
    moving.log.left = 2 * SETTLED_AT_ONCE + 1
    first, *more = moving.asked_in(SETTLE_EVERY_S_MAX + 3)
    found = [round(each - first, 1) for each in more]
    assert found[:3] == [0.1, 0.2, 0.3], "what was left, and once more"
    assert found[3] - 0.3 == pytest.approx(1.2 * SETTLE_EVERY_S, abs=0.2)
    assert moving.log.left == 0
