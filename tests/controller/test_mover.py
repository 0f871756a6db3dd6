"""Journals become records: joined, once, in order; what is damaged is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.controller import dead_letters
from airboss.controller.mover import DEAD_LETTERS, Mover
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import Redacted
from airboss.domain.status import JournalStatus
from airboss.store.duckdb import DuckDBRecordLog
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
from tests.store.samples import START, call_id, closed_json, opened_json, record
from tests.support.small_disk import fill, small_disk


@pytest.fixture
def record_log() -> StrictLog:
    """The log that the mover moves to."""
    return StrictLog()


@pytest.fixture
def mover(tmp_path: Path, record_log: StrictLog) -> Mover:
    """A mover of the journals under `tmp_path`."""
    return Mover(tmp_path, record_log, FixedClock())


def letters(root: Path) -> list[dict[str, Any]]:
    """The dead letters."""
    path = root / DEAD_LETTERS
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_a_call_is_a_record_as_soon_as_it_is_closed(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """Its worker lives on; an open alone is no record yet; both frames make the whole record."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1, 2)
    closes(writer, 1)
    status = mover.tick()
    assert list(record_log.records(RecordFilter(), limit=10, bodies=True)) == [record(1)]
    assert (status.moved_records, status.unmoved_bytes, status.store_up) == (1, 0, True)
    closes(writer, 2)
    assert mover.tick().moved_records == 2
    assert outcome(record_log) == expected([1, 2])
    writer.stop()


def test_what_comes_during_a_move_waits_for_the_next_tick(tmp_path: Path) -> None:
    """A worker that is never idle has its calls moved many at a time: a tick is one move of its segment."""
    writer = JournalWriter(tmp_path, "0")
    numbers = iter(range(1, 6))

    class Slow(StrictLog):
        def apply(self, move: JournalMove) -> int:
            if move.closed:
                served()
            return super().apply(move)

    def served() -> None:
        for number in islice(numbers, 1):
            opens(writer, number)
            closes(writer, number)

    record_log = Slow()
    mover = Mover(tmp_path, record_log, FixedClock())
    served()
    for ticks in range(1, 5):
        assert mover.tick().moved_records == ticks
    writer.stop()
    mover.drain()
    assert outcome(record_log) == expected(range(1, 6))


def test_a_call_is_joined_over_two_segments(tmp_path: Path, mover: Mover, record_log: StrictLog) -> None:
    """Opened in the first, closed in the third; full segments are deleted while the worker lives."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=900)
    opens(writer, 1)
    for number in range(2, 6):
        opens(writer, number)
        closes(writer, number)
    closes(writer, 1)
    before = sorted(path.name for path in writer.directory.glob("*.seg"))
    assert len(before) >= 3
    mover.tick()
    assert outcome(record_log) == expected(range(1, 6))
    assert [path.name for path in writer.directory.glob("*.seg")] == before[-1:]
    assert list(record_log.offsets) == [f"{writer.directory.name}/{before[-1][:-4]}"]
    writer.stop()


def test_what_a_dead_worker_left_open_is_interrupted(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """Its directory goes, and with it every trace in the log but the records."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=900)
    opens(writer, 1, 2, 3, 4)
    closes(writer, 2)
    mover.tick()
    closes(writer, 3)
    writer.stop()
    status = mover.tick()
    assert outcome(record_log) == expected([2, 3], [1, 4])
    assert left_over(tmp_path) == []
    assert (record_log.offsets, record_log.waiting) == ({}, 0)
    assert (status.moved_records, status.unmoved_bytes) == (4, 0)
    (cut_off,) = record_log.records(RecordFilter(id=call_id(1)), limit=1, bodies=True)
    assert (cut_off.status, cut_off.usage_estimated, cut_off.request) == ("error", True, record(1).request)
    assert cut_off.latency_ms == timedelta(hours=1, seconds=-1).total_seconds() * 1000


def test_thousands_of_interrupted_calls_are_all_closed(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """The log gives orphans a thousand at a time."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, *range(2100))
    writer.stop()
    mover.tick()
    assert outcome(record_log) == expected([], range(2100))


def test_workers_do_not_touch_each_other(tmp_path: Path, mover: Mover, record_log: StrictLog) -> None:
    """The death of one leaves the open calls of another open."""
    dead, living = JournalWriter(tmp_path, "0"), JournalWriter(tmp_path, "1")
    opens(dead, 1)
    opens(living, 2, 3)
    closes(living, 3)
    dead.stop()
    mover.tick()
    assert outcome(record_log) == expected([3], [1])
    assert record_log.waiting == 1
    closes(living, 2)
    living.stop()
    mover.tick()
    assert outcome(record_log) == expected([2, 3], [1])


def test_a_tail_cut_off_waits_while_its_writer_lives(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """Half a frame is not read, not counted as damage, and read when the rest has come."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1)
    closes(writer, 1)
    segment = writer.directory / "000001.seg"
    whole = segment.read_bytes()
    os.truncate(segment, len(whole.rstrip(b"\0")) - 5)
    status = mover.tick()
    assert outcome(record_log) == {}
    assert status.unmoved_bytes > 0
    segment.write_bytes(whole)
    status = mover.tick()
    assert outcome(record_log) == expected([1])
    assert (status.corrupt_frames, status.unmoved_bytes) == (0, 0)
    writer.stop()


def test_a_tail_cut_off_by_death_is_passed_over(tmp_path: Path, mover: Mover, record_log: StrictLog) -> None:
    """The call it belonged to is interrupted, the directory goes, and nothing counts as damage."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1)
    closes(writer, 1)
    writer.stop()
    segment = writer.directory / "000001.seg"
    os.truncate(segment, segment.stat().st_size - 5)
    status = mover.tick()
    assert outcome(record_log) == expected([], [1])
    assert (left_over(tmp_path), status.corrupt_frames) == ([], 0)


def test_a_damaged_frame_is_counted_kept_and_passed(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """The calls around it become records; the damaged bytes are a dead letter, once."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1, 2, 3)
    closes(writer, 1, 2, 3)
    segment = writer.directory / "000001.seg"
    data = bytearray(segment.read_bytes())
    at = data.index(closed_json(2))
    data[at + 9] ^= 1
    segment.write_bytes(data)
    assert mover.tick().corrupt_frames == 1
    assert mover.tick().corrupt_frames == 1
    assert outcome(record_log) == expected([1, 3])
    (letter,) = letters(tmp_path)
    assert (letter["segment"], letter["why"]) == (f"{writer.directory.name}/000001", "damaged")
    writer.stop()
    mover.tick()
    assert outcome(record_log) == expected([1, 3], [2])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"nonsense",
        b"[" * 5000,
        b'"\xed\xa0\x80"',
        b'{"id":"a","status":7}',
        b'{"id":"cut',
        b'{"id":"\\x',
    ],
)
def test_json_that_is_no_frame_is_a_dead_letter(
    tmp_path: Path, mover: Mover, record_log: StrictLog, payload: bytes
) -> None:
    """It is counted and kept; everything else goes on."""
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1)
    writer.open(cast("Redacted", payload))
    writer.close_call(cast("Redacted", payload))
    closes(writer, 1)
    assert mover.tick().corrupt_frames == 2
    assert outcome(record_log) == expected([1])
    assert [letter["payload"] for letter in letters(tmp_path)] == [payload.decode(errors="replace")] * 2
    writer.stop()


@pytest.mark.parametrize("batch_frames", [1, 2, 3, 1000])
def test_a_call_that_the_log_refuses_holds_nobody_up(tmp_path: Path, batch_frames: int) -> None:
    """A number beyond the table's bounds: the close is a dead letter, the call stands as interrupted."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    root = tmp_path / "journal"
    mover = Mover(root, record_log, FixedClock(), batch_frames=batch_frames)
    writer = JournalWriter(root, "0")
    opens(writer, *range(10))
    for number in range(10):
        wrong = {"output_tokens": 2**70} if number in {3, 4} else {}
        writer.close_call(cast("Redacted", closed_json(number, **wrong)))
    writer.stop()
    status = mover.drain()
    assert outcome(record_log) == expected([0, 1, 2, 5, 6, 7, 8, 9], [3, 4])
    assert status.corrupt_frames == len(letters(root)) == 2
    assert left_over(root) == [DEAD_LETTERS]
    record_log.close()


def test_an_open_that_no_record_can_be_made_of_does_not_keep_its_directory(tmp_path: Path) -> None:
    """It is a dead letter, and its worker's other calls are closed."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    root = tmp_path / "journal"
    writer = JournalWriter(root, "0")
    opens(writer, 1, 3)
    writer.open(cast("Redacted", opened_json(2, plan=2**70)))
    writer.stop()
    status = Mover(root, record_log, FixedClock()).drain()
    assert outcome(record_log) == expected([], [1, 3])
    assert (status.corrupt_frames, left_over(root)) == (1, [DEAD_LETTERS])
    record_log.close()


def test_a_dead_letter_is_written_once_however_often_its_move_is_tried(
    tmp_path: Path, mover: Mover, record_log: StrictLog
) -> None:
    """A log that is down for an hour does not fill the disk with them."""
    writer = JournalWriter(tmp_path, "0")
    writer.open(cast("Redacted", b"nonsense"))
    record_log.down = {"before apply"}
    for _ in range(3):
        assert mover.tick().corrupt_frames == 1
    record_log.down = set()
    assert mover.tick().corrupt_frames == len(letters(tmp_path)) == 1
    writer.stop()


def test_the_newest_dead_letters_are_shown_after_a_restart_too(tmp_path: Path) -> None:
    """Twenty at most, the newest first, cut short; a line that is none is passed over."""
    path = tmp_path / "dead-letters.jsonl"
    first = dead_letters.DeadLetters(path)
    for number in range(30):
        first.add("w/000001", number, f"reason {number}", b"x" * 1000)
    with path.open("a") as file:
        file.write('{"torn')
    for letters_now in (first, dead_letters.DeadLetters(path)):
        newest = letters_now.newest()
        assert [each.offset for each in newest][:3] == [29, 28, 27]
        assert 19 <= len(newest) <= 20
        assert (newest[0].why, newest[0].bytes, len(newest[0].excerpt)) == ("reason 29", 1000, 200)


def test_a_full_disk_leaves_no_half_dead_letter(tmp_path: Path) -> None:
    """What does not fit is not begun; with room it is written, and every line can be read."""
    with small_disk(tmp_path / "disk", 1) as disk:
        letters_there = dead_letters.DeadLetters(disk / "dead-letters.jsonl")
        letters_there.add("w/000001", 1, "first", b"x")
        ballast = fill(disk, but=8192)
        with pytest.raises(OSError, match="No space"):
            letters_there.add("w/000001", 2, "second", b"y" * 100_000)
        assert letters_there.count == 1
        ballast.unlink()
        assert letters_there.add("w/000001", 2, "second", b"y" * 100_000)
        lines = (disk / "dead-letters.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["why"] for line in lines] == ["first", "second"]


def test_dead_letters_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are counted and not kept."""
    monkeypatch.setattr(dead_letters, "BYTES_MAX", 300)
    mover = Mover(tmp_path, StrictLog(), FixedClock())
    writer = JournalWriter(tmp_path, "0")
    for _ in range(10):
        writer.open(cast("Redacted", b'{"no":"call"}'))
    assert mover.tick().corrupt_frames == 10
    assert (tmp_path / DEAD_LETTERS).stat().st_size <= 300
    assert 0 < len(letters(tmp_path)) < 10
    writer.stop()


def test_a_frame_larger_than_a_batch_is_moved(tmp_path: Path, record_log: StrictLog) -> None:
    """The batch grows to hold it."""
    mover = Mover(tmp_path, record_log, FixedClock(), batch_bytes=500)
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1)
    large = msgspec.Raw(b'"' + b"x" * 5000 + b'"')
    writer.open(cast("Redacted", opened_json(2, request=large)))
    closes(writer, 2, 1)
    writer.stop()
    mover.drain()
    assert outcome(record_log) == expected([1, 2])
    assert left_over(tmp_path) == []


def test_a_long_journal_takes_several_ticks(tmp_path: Path, record_log: StrictLog) -> None:
    """A tick is bounded, so that one worker cannot starve the others; draining goes on to the end."""
    mover = Mover(tmp_path, record_log, FixedClock(), batch_frames=2)
    writer = JournalWriter(tmp_path, "0")
    for number in range(100):
        opens(writer, number)
        closes(writer, number)
    writer.stop()
    assert 0 < mover.tick().moved_records < 100
    assert mover.drain().moved_records == 100
    assert left_over(tmp_path) == []


def test_a_log_that_is_down_costs_nothing_but_time(tmp_path: Path, record_log: StrictLog) -> None:
    """Everything stays, the lag is told and grows, and all is moved when the log is back."""
    clock = FixedClock()
    clock.at = datetime.now(UTC)  # beside the file system's own time
    mover = Mover(tmp_path, record_log, clock)
    writer = JournalWriter(tmp_path, "0", segment_bytes=900)
    mover.tick()
    record_log.down = {"all"}
    opens(writer, *range(10))
    first = mover.tick()
    assert not first.store_up
    assert "down" in str(first.store_detail)
    written = [path.read_bytes().rstrip(b"\0") for path in writer.directory.glob("*.seg")]
    assert first.unmoved_bytes == sum(map(len, written))
    clock.at += timedelta(seconds=60)
    closes(writer, *range(10))
    second = mover.tick()
    assert second.unmoved_bytes > first.unmoved_bytes
    assert second.lag_s == pytest.approx(60.0, abs=5.0)
    record_log.down = set()
    third = mover.tick()
    assert (third.store_up, third.store_detail, third.unmoved_bytes, third.lag_s) == (True, None, 0, 0.0)
    assert third.oldest_unmoved_at is None
    assert outcome(record_log) == expected(range(10))
    writer.stop()


class Midwife(FixedClock):
    """The first time that it is asked for, a worker begins to make its directory; at the next it has it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        unborn = root / ".0-unborn"
        self._steps: list[Callable[[], object]] = [unborn.mkdir, lambda: unborn.rename(root / "0-born")]

    def now(self) -> datetime:
        """The time set."""
        if self._steps:
            self._steps.pop(0)()
        return super().now()


def test_a_directory_still_being_made_is_left_alone(tmp_path: Path, record_log: StrictLog) -> None:
    """Its owner may not hold the lock yet; one that was never finished goes after a while."""
    clock = FixedClock()
    clock.at = datetime.now(UTC)
    mover = Mover(tmp_path, record_log, clock)
    (tmp_path / ".0-unborn").mkdir()
    (tmp_path / ".0-unborn" / "000001.seg").write_bytes(b"")
    mover.tick()
    assert (tmp_path / ".0-unborn").exists()
    clock.at += timedelta(seconds=120)
    mover.tick()
    assert left_over(tmp_path) == []


def test_a_directory_that_is_born_while_it_is_looked_at_is_moved_next(
    tmp_path: Path, record_log: StrictLog
) -> None:
    """A worker that starts beside the mover is no failure of the mover's."""
    mover = Mover(tmp_path, record_log, Midwife(tmp_path))
    assert mover.tick().store_up
    assert left_over(tmp_path) == ["0-born"]
    assert mover.tick().store_up
    assert left_over(tmp_path) == []


def test_no_journal_is_no_work(tmp_path: Path, record_log: StrictLog) -> None:
    """Before the first worker has started there is not even a folder."""
    status = Mover(tmp_path / "none", record_log, FixedClock()).drain()
    assert (status.unmoved_bytes, status.moved_records, status.store_up) == (0, 0, True)


def test_a_log_with_nothing_to_do_is_seldom_asked(tmp_path: Path, record_log: StrictLog) -> None:
    """Whether calls are to be settled is asked once a second while nothing comes, and with each move."""
    clock, asked = FixedClock(), 0
    settle_calls = record_log.settle_calls

    def counted(before: datetime, *, limit: int) -> int:
        nonlocal asked
        asked += 1
        return settle_calls(before, limit=limit)

    record_log.settle_calls = counted  # type: ignore[method-assign]
    mover = Mover(tmp_path, record_log, clock)
    writer = JournalWriter(tmp_path, "gateway-0")
    for _ in range(10):
        mover.tick()
        clock.at += timedelta(seconds=0.2)
    assert asked == 2
    opens(writer, 1)
    mover.tick()
    closes(writer, 1)
    mover.tick()
    assert asked == 4
    writer.stop()


def test_a_running_mover_keeps_up_and_stops_when_told(
    tmp_path: Path, record_log: StrictLog, caplog: pytest.LogCaptureFixture
) -> None:
    """It tells its status after every tick, and survives a disk that fails it."""
    seen: list[JournalStatus] = []
    stop, moved, failed = threading.Event(), threading.Event(), threading.Event()

    def on_status(status: JournalStatus) -> None:
        seen.append(status)
        if not failed.is_set():
            failed.set()
            raise OSError("disk full")
        if status.moved_records == 2:
            moved.set()

    mover = Mover(tmp_path, record_log, FixedClock())
    thread = threading.Thread(target=mover.run, args=(stop, on_status), kwargs={"interval_s": 0.005})
    thread.start()
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1, 2)
    closes(writer, 1, 2)
    assert moved.wait(60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert seen[-1].unmoved_bytes == 0
    assert "journals not moved (disk full); trying again" in caplog.text
    assert "Traceback" not in caplog.text
    writer.stop()


def test_leftovers_of_a_stopped_airboss_are_moved_without_it(tmp_path: Path) -> None:
    """So the records of a stopped one can be read: open its file, drain its journals."""
    writer = JournalWriter(tmp_path / "journal", "0")
    opens(writer, 1, 2)
    closes(writer, 1)
    writer.stop()
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    Mover(tmp_path / "journal", record_log, FixedClock()).drain()
    assert outcome(record_log) == expected([1], [2])
    assert record_log.count(RecordFilter(since=START)) == 2
    record_log.close()
