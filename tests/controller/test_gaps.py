"""Segments of journals that somebody deletes are told of: as dead letters, each once."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from airboss.controller.gaps import Gaps
from airboss.controller.mover import Mover
from airboss.telemetry.journal import REMOTE, JournalWriter
from tests.controller.journals import FixedClock, StrictLog, closes, expected, opens, outcome

SMALL = 900
"""Bytes of a segment that holds one call, and not two."""


def nothing_begun(_number: int) -> bool:
    """Nothing was taken of any."""
    return False


def written(root: Path, calls: int) -> JournalWriter:
    """A living worker with so many calls, each in a segment of its own or two."""
    writer = JournalWriter(root, "0", segment_bytes=SMALL)
    for number in range(1, calls + 1):
        opens(writer, number)
        closes(writer, number)
    return writer


def told(mover: Mover) -> list[str]:
    """The numbers of segments that are told of, ascending."""
    letters = mover.tick().dead_letters
    assert all(each.why.startswith("deleted by somebody when ") for each in letters), letters
    return sorted(each.segment.partition("/")[2] for each in letters)


def test_one_between_others_is_told_of_once(tmp_path: Path) -> None:
    """With the calls around it moved; by whoever begins when it is gone."""
    writer = written(tmp_path, 4)
    (writer.directory / "000002.seg").unlink()
    mover = Mover(tmp_path, StrictLog(), FixedClock())
    assert told(mover) == ["000002"]
    assert mover.tick().corrupt_frames == 1
    writer.stop()
    assert (told(mover), mover.tick().corrupt_frames) == (["000002"], 1)
    assert [each.name for each in tmp_path.iterdir()] == ["dead-letters.jsonl"]


def first(directory: Path) -> None:
    """Delete the oldest."""
    min(directory.glob("*.seg")).unlink()


def newest(directory: Path) -> None:
    """Delete the one that grows."""
    max(directory.glob("*.seg")).unlink()


@pytest.mark.parametrize("delete", [first, newest, shutil.rmtree])
@pytest.mark.parametrize("lives", [True, False])
def test_what_was_there_a_moment_ago_is_missed(
    tmp_path: Path, *, delete: Callable[[Path], object], lives: bool
) -> None:
    """The oldest, the newest, and a whole journal, also of a worker that is dead; what was taken of them."""
    log = StrictLog()
    mover = Mover(tmp_path, log, FixedClock())
    writer = written(tmp_path, 1)
    assert told(mover) == []
    number = max(writer.directory.glob("*.seg")).stem
    if not lives:
        log.down.add("all")  # else it is moved, and gone
        writer.stop()
        mover.tick()
        log.down.clear()
    delete(writer.directory)
    assert told(mover) == [number]
    (letter,) = mover.status().dead_letters
    assert letter.offset > 0
    assert f"when {letter.offset} bytes of it were taken" in letter.why
    assert told(mover) == [number]
    assert outcome(log) == expected([1])


def test_what_was_taken_of_in_an_earlier_life_is_missed(tmp_path: Path) -> None:
    """By its offset, which only the mover forgets; and a journal that has no segment has lost one."""
    log = StrictLog()
    writer = JournalWriter(tmp_path, "0", segment_bytes=SMALL)
    opens(writer, 1)
    Mover(tmp_path, log, FixedClock()).tick()
    opens(writer, 2, 3)
    first(writer.directory)
    assert told(Mover(tmp_path, log, FixedClock())) == ["000001"]
    for path in writer.directory.glob("*.seg"):
        path.unlink()
    (tmp_path / "dead-letters.jsonl").unlink()
    assert told(Mover(tmp_path, StrictLog(), FixedClock())) == ["000001"]


@pytest.mark.parametrize("left", [0, 1])
def test_who_begins_later_does_not_tell_again(tmp_path: Path, left: int) -> None:
    """Of the only segment of a worker that lives, nor of one that something was taken of, before one that is
    left."""
    log = StrictLog()
    writer = written(tmp_path, 4)
    mover = Mover(tmp_path, log, FixedClock())
    assert told(mover) == []
    if left:
        opens(writer, 5)
    gone, *rest = sorted(writer.directory.glob("*.seg"))
    gone.unlink()
    assert len(rest) == left
    assert told(mover) == [gone.stem]
    for _ in range(3):
        letters = Mover(tmp_path, log, FixedClock()).tick()
        assert [each.segment for each in letters.dead_letters] == [f"{writer.directory.name}/{gone.stem}"]
    assert letters.corrupt_frames == 0, "told in this life too"


def test_what_cannot_be_told_is_told_later(tmp_path: Path) -> None:
    """The disk refuses the letter; once it takes it, it is there."""
    writer = written(tmp_path, 3)
    mover = Mover(tmp_path, StrictLog(), FixedClock())
    (writer.directory / "000002.seg").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            mover.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told(mover) == ["000002"]


def test_what_the_mover_deletes_is_not_missed(tmp_path: Path) -> None:
    """Nor what it is kept from deleting, a journal whose worker is on another machine and has brought nothing
    yet, and one that was moved away with all the others and comes back."""
    log = StrictLog()
    mover = Mover(tmp_path / "journal", log, FixedClock())
    writer = written(tmp_path / "journal", 3)
    log.down.add("forget")
    assert told(mover) == []
    log.down.clear()
    assert told(mover) == []
    (tmp_path / "journal" / "gateway-0-of-another").mkdir()
    (tmp_path / "journal" / "gateway-0-of-another" / REMOTE).touch()
    assert told(mover) == []
    (tmp_path / "journal").rename(tmp_path / "away")
    mover.tick()
    (tmp_path / "away").rename(tmp_path / "journal")
    assert told(mover) == []
    writer.stop()
    assert told(mover) == []
    assert outcome(log) == expected([1, 2, 3])


def test_numbers_that_were_done_with_are_no_gap() -> None:
    """Whatever was there first: only what lies between the oldest and the newest that were seen."""
    gaps = Gaps(lambda _journal: ())
    assert gaps.missing("a", [7, 8], may_be_new=False, begun=nothing_begun) == []
    gaps.done("a", 7)
    assert gaps.missing("a", [8, 11], may_be_new=False, begun=nothing_begun) == [9, 10]
    for number in (9, 10):
        gaps.told("a", number)
    assert gaps.missing("a", [8], may_be_new=False, begun=nothing_begun) == [11]
    gaps.told("a", 11)
    assert list(gaps.vanished(["b"])) == [("a", [8])]
    assert list(gaps.vanished(["b"])) == []
