"""Journals in which nothing happens are only looked at; whatever happens there is seen at the next look."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airboss.controller.mover import Mover
from airboss.controller.quiet import LASTS_S, Quiet
from airboss.governance.redact import Redactor
from airboss.telemetry.journal import JournalWriter, segment_name
from tests.controller.journals import FixedClock, StrictLog, closes, opens


class Clock:
    """Stands still until it is moved."""

    seconds = 5.0

    def monotonic(self) -> float:
        """As `ports.Clock`."""
        return self.seconds


@pytest.fixture
def journal(tmp_path: Path) -> JournalWriter:
    """A living worker's."""
    return JournalWriter(tmp_path, "gateway-0")


def quiet(root: Path, clock: Clock) -> Quiet:
    """All that is there has been taken."""
    found = Quiet(root, clock)  # type: ignore[arg-type]  # it asks for the time alone
    taken = {segment_name(path): written(path) for path in root.glob("*/*.seg")}
    found.begin(taken)
    return found


def written(path: Path) -> int:
    """How much of a segment holds frames."""
    return len(path.read_bytes().rstrip(b"\0"))


def test_nothing_happens(tmp_path: Path, journal: JournalWriter) -> None:
    """It lasts, but not for ever."""
    clock = Clock()
    found = quiet(tmp_path, clock)
    assert found.lasts()
    clock.seconds += LASTS_S
    assert not found.lasts()
    journal.stop()


def test_a_frame_ends_it(tmp_path: Path, journal: JournalWriter) -> None:
    """As soon as it stands there."""
    found = quiet(tmp_path, Clock())
    journal.score(Redactor(()).redact(b'{"id":"x"}'))
    assert not found.lasts()
    journal.stop()


def test_a_worker_that_comes_or_dies_ends_it(tmp_path: Path, journal: JournalWriter) -> None:
    """A directory that is new, a segment that is new, a lock that nobody holds."""
    found = quiet(tmp_path, Clock())
    other = JournalWriter(tmp_path, "gateway-1")
    assert not found.lasts()
    found = quiet(tmp_path, Clock())
    assert found.lasts()
    (other.directory / "000002.seg").touch()
    assert not found.lasts()
    (other.directory / "000002.seg").unlink()
    assert found.lasts()
    os.close(other._owner)
    assert not found.lasts()
    journal.stop()


def test_what_the_log_has_not_told_of_is_not_quiet(tmp_path: Path, journal: JournalWriter) -> None:
    """A segment whose offset is not known may hold anything."""
    found = Quiet(tmp_path, Clock())  # type: ignore[arg-type]  # as above
    found.begin({})
    assert not found.lasts()
    journal.stop()


def test_the_lag_is_of_what_waits(tmp_path: Path) -> None:
    """Not of what was moved long ago: a segment grows ahead of its frames, which take hours to fill that."""
    clock = FixedClock()
    clock.at = datetime.now(UTC)
    mover = Mover(tmp_path, StrictLog(), clock)
    writer = JournalWriter(tmp_path, "0")
    for number in range(5):
        opens(writer, number)
        waiting = mover.status()
        assert 0 < waiting.unmoved_bytes < 4_096
        assert waiting.lag_s < 30
        closes(writer, number)
        assert mover.tick().unmoved_bytes == 0
        clock.at += timedelta(minutes=1)
    writer.stop()
