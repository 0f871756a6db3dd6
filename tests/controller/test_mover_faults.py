"""The mover killed at every boundary: every call that ended once, every other one once as interrupted."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.controller.mover import Mover
from airboss.controller.moving import FaultPoint
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import (
    FixedClock,
    StrictLog,
    closes,
    expected,
    left_over,
    opens,
    outcome,
)

POINTS: list[FaultPoint] = ["applied", "closed", "renamed", "forgotten", "deleted"]
STORE_FAULTS = ["all", "before apply", "after apply", "forget"]


class Killed(BaseException):
    """The mover's process ends here."""


class Killer:
    """Kills at the `nth` passing of `point`, once; `point` None never kills."""

    def __init__(self, point: FaultPoint | None, nth: int = 1) -> None:
        self._point = point
        self._left = nth

    def __call__(self, point: FaultPoint) -> None:
        """What the mover calls at each boundary."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                raise Killed

    @property
    def struck(self) -> bool:
        """Whether it has killed."""
        return self._left <= 0


def tick_until_killed(mover: Mover) -> None:
    """One tick, or the part of it before the kill."""
    with contextlib.suppress(Killed):
        mover.tick()


def played(root: Path, record_log: StrictLog, killer: Killer) -> None:
    """Two workers, several segments, calls that span them; movers are killed and replaced on the way."""

    def tick() -> None:
        tick_until_killed(Mover(root, record_log, FixedClock(), batch_frames=3, fault=killer))

    first = JournalWriter(root, "0", segment_bytes=900)
    second = JournalWriter(root, "1", segment_bytes=900)
    opens(first, 1, 2)
    tick()
    opens(second, 11)
    closes(first, 1)
    opens(first, 3, 4)
    tick()
    closes(first, 2)
    closes(second, 11)
    opens(second, 12)
    opens(first, 5)
    tick()
    closes(first, 4)
    first.stop()
    tick()
    tick()
    closes(second, 12)
    opens(second, 13)
    second.stop()
    for _ in range(4):
        tick()


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_boundary_loses_and_doubles_nothing(tmp_path: Path, point: FaultPoint) -> None:
    """At each passing of each boundary in turn, until there is none left to be killed at."""
    nth = 0
    killer = Killer(None)
    while nth == 0 or killer.struck:
        nth += 1
        record_log, killer = StrictLog(), Killer(point, nth)
        root = tmp_path / str(nth)
        played(root, record_log, killer)
        Mover(root, record_log, FixedClock()).drain()
        assert outcome(record_log) == expected([1, 2, 4, 11, 12], [3, 5, 13]), nth
        assert left_over(root) == [], nth
        assert (record_log.offsets, record_log.waiting) == ({}, 0), nth
    assert nth > 1, f"{point} was never passed"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 2)),
        st.tuples(st.just("close"), st.integers(0, 2)),
        st.tuples(st.just("die"), st.integers(0, 2)),
        st.tuples(st.just("tick"), st.just(0)),
        st.tuples(st.sampled_from(POINTS), st.integers(1, 4)),
        st.tuples(st.sampled_from(STORE_FAULTS), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.integers(1, 5), st.sampled_from([400, 1200, 10**6]), st.randoms(use_true_random=False))
def test_no_interleaving_loses_or_doubles_a_call(
    actions: list[tuple[str, int]], batch_frames: int, segment_bytes: int, random: Random
) -> None:
    """Workers open and close calls and die, movers are killed anywhere, the log fails in between."""
    with tempfile.TemporaryDirectory() as folder:
        root, record_log, clock = Path(folder), StrictLog(), FixedClock()
        writers: dict[int, JournalWriter] = {}
        open_calls: dict[int, list[int]] = {0: [], 1: [], 2: []}
        ended: list[int] = []
        cut_off: list[int] = []
        number = 0
        mover = Mover(root, record_log, clock, batch_frames=batch_frames)
        try:
            for action, which in actions:
                if action == "open":
                    number += 1
                    if which not in writers:
                        writers[which] = JournalWriter(root, str(which), segment_bytes=segment_bytes)
                    opens(writers[which], number)
                    open_calls[which].append(number)
                elif action == "close" and open_calls[which]:
                    call = open_calls[which].pop(random.randrange(len(open_calls[which])))
                    closes(writers[which], call)
                    ended.append(call)
                elif action == "die" and which in writers:
                    writers.pop(which).stop()
                    cut_off += open_calls[which]
                    open_calls[which] = []
                elif action == "tick":
                    mover.tick()
                elif action in POINTS:
                    point = next(each for each in POINTS if each == action)
                    killed = Mover(
                        root, record_log, clock, batch_frames=batch_frames, fault=Killer(point, which)
                    )
                    tick_until_killed(killed)
                    mover = Mover(root, record_log, clock, batch_frames=batch_frames)
                elif action in STORE_FAULTS:
                    record_log.down = {action}
                    mover.tick()
                    record_log.down = set()
        finally:
            for which, writer in writers.items():
                writer.stop()
                cut_off += open_calls[which]
        mover.drain()
        assert outcome(record_log) == expected(ended, cut_off)
        assert left_over(root) == []
        assert (record_log.offsets, record_log.waiting) == ({}, 0)
