"""Moves journals into the record log, each call exactly once.

The log takes a stretch of a segment and its new offset in one transaction, so a move repeated after a kill
does nothing. The order of the rest makes every point safe to be killed at:

- A segment is read to its end before the next one, and its worker's death is seen before its end is read.
- What is done with is first renamed to `….done` and the rename made durable: from then on nobody reads it.
  Then its offset is forgotten, then it is deleted. Deleting first would leave offsets that nobody remembers;
  forgetting first would let a kill between the two move everything twice. What a kill leaves half done under
  a `….done` name is finished at the next tick.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from mmap import mmap
from pathlib import Path
from typing import Final, Literal

import msgspec

from airboss.controller.dead_letters import DeadLetters
from airboss.controller.gaps import Gaps
from airboss.controller.letter_retry import READERS, LetterRetry
from airboss.controller.moving import Elsewhere, FaultPoint, People
from airboss.controller.quiet import Quiet, written_end
from airboss.controller.span_scores import SpanScores
from airboss.controller.steady import Steady
from airboss.controller.stray_feedback import StrayFeedback
from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import Clock, JournalMove
from airboss.domain.status import JournalStatus
from airboss.store.joining import call_of, interrupted, read_opened
from airboss.store.span_messages import CALLS_FOR
from airboss.store.span_rows import TracedLog
from airboss.store.whole_file import sync_folder
from airboss.telemetry.frames import Frame, Stretch, read_frames
from airboss.telemetry.journal import (
    DONE_SUFFIX,
    OWNER,
    SEGMENT_SUFFIX,
    UNBORN_PREFIX,
    lock_of_the_dead,
    read_to_end,
    segment_name,
    segments_under,
)

DEAD_LETTERS: Final = "dead-letters.jsonl"
MOVES_PER_TICK: Final = 32
"""Of one segment, so that one busy worker cannot starve the others."""
UNBORN_S_MAX: Final = 60.0
SETTLE_AFTER: Final = timedelta(seconds=2)
"""From when a model call's span was moved: by then what a gateway wrote of the same call, which is before its
answer ends, has been moved too, as nothing waits in journals."""
SETTLED_AT_ONCE: Final = 1000
SETTLE_EVERY_S: Final = 1.0
SETTLE_EVERY_S_MAX: Final = 10.0

log = logging.getLogger(__name__)


class Mover:
    """Owns all that is under `root` but the segments that living workers write to. One thread calls it, and
    one process: whoever holds the data directory's lock."""

    def __init__(
        self,
        root: Path,
        record_log: TracedLog,
        clock: Clock,
        *,
        batch_frames: int = 16_000,
        batch_bytes: int = 16 * 1024 * 1024,
        people: People | None = None,
        elsewhere: Elsewhere | None = None,
        fault: Callable[[FaultPoint], None] = lambda _point: None,
    ) -> None:
        self._root, self._log = root, record_log
        self._clock, self._steady = clock, Steady(clock)
        self._batch_frames = batch_frames
        self._batch = mmap(-1, batch_bytes)  # one for all: each of its own was laid beside the last
        self._people, self._elsewhere = people, elsewhere
        self._fault = fault
        self._letters = DeadLetters(root / DEAD_LETTERS)
        self._strays = StrayFeedback(record_log, clock, self._letters)
        self._span_scores = SpanScores(record_log, clock)
        self.letters = LetterRetry(root, self._letters, record_log, clock, people)
        self._quiet = Quiet(root, clock)
        self._gaps = Gaps(self._letters.deleted)
        self._taken: dict[str, int] = {}
        self._whole: set[str] = set()
        self._marks: dict[str, tuple[int, datetime]] = {}
        self._moved_records, self.heard_at = 0, 0.0  # when a move was answered last; any thread may ask
        self._settle_at, self._settle_s = 0.0, SETTLE_EVERY_S
        self._behind = self._moved = False
        self._store_detail: str | None = None
        self._waits_for: Literal["record store", "ledger"] = "record store"

    def run(
        self,
        stop: threading.Event,
        on_status: Callable[[JournalStatus], None],
        *,
        interval_s: float = 0.2,
    ) -> None:
        """Tick until `stop` is set, seldom while nothing comes. A disk that fails us is tried again."""
        while not stop.is_set():
            try:
                if not self._is_quiet():
                    on_status(self.tick())
                    joined = self._elsewhere is not None and self._elsewhere.clear_at()
                    busy = self._behind or self._moved or self._store_detail or joined
                    self._quiet.begin({} if busy else self._taken)
            except OSError as error:
                log.error("journals not moved (%s); trying again", error)  # noqa: TRY400 - no defect of ours
                self._behind = False
            if not self._behind:
                stop.wait(interval_s)

    def _is_quiet(self) -> bool:
        with suppress(SetupError):  # the tick tells of it
            return not self.letters.asked and self._quiet.lasts() and not self._more_people()
        return False

    def _more_people(self) -> bool:
        """As `People.begin`."""
        self._waits_for = "ledger"
        more = self._people is not None and self._people.begin()
        self._waits_for = "record store"
        return more

    def drain(self) -> JournalStatus:
        """Tick until all is moved that can be. `store_up` False in the answer: the log did not take it."""
        status = self.tick()
        while self._behind and status.store_up:
            status = self.tick()
        return status

    def finish(self) -> JournalStatus:
        """As `drain`, with no worker left who could yet tell of the calls that spans tell of: these become
        records at once, but where machines have joined, which may have."""
        status = self.drain()
        if self._elsewhere is not None and self._elsewhere.clear_at() is not None:
            return status
        with suppress(StoreUnavailable):  # the next one goes on
            while status.store_up and self._log.settle_calls(
                self._steady.now() + CALLS_FOR, limit=SETTLED_AT_ONCE
            ):
                pass
        return status

    def tick(self) -> JournalStatus:
        """Move what there is, within bounds, and finish what dead workers left. Raises OSError."""
        self._behind = self._moved = False
        began = self._steady.now()
        sure = heard = None
        if self._elsewhere is not None:
            sure, heard = self._elsewhere.clear_at(), self._elsewhere.clear_at(silent=False)
        try:
            self._more_people()
            self._log.offset("")  # a log that is down is found out before anything is read and joined for it
            for directory in self._directories():
                try:
                    self._move_worker(directory)
                except FileNotFoundError:
                    log.warning("journal %s was deleted by someone else", directory)
            if not self._behind:  # while records wait in journals, so does what people say of them
                self._strays.put_away()
                self.letters.answer()
                self._settle_calls(min(began, heard or began))
                self._span_scores.attach(moved=self._moved)
                if self._people is not None:
                    self._people.settle(self._segments(), self._letters, sure)
            self._store_detail = None
        except (StoreUnavailable, SetupError) as error:
            self._whole.clear()  # a move that failed may be half made
            self._waits_for = "ledger" if isinstance(error, SetupError) else "record store"
            self._store_detail = str(error)  # without the ledger nobody knows who was forgotten
        return self.status()

    def _settle_calls(self, began: datetime) -> None:
        """Let the log settle calls that spans tell of; while nothing comes, it is asked ever less often."""
        at = self._clock.monotonic()
        if self._moved or at >= self._settle_at:
            settled = self._log.settle_calls(began - SETTLE_AFTER, limit=SETTLED_AT_ONCE)
            fresh = settled or self._moved
            self._settle_s = SETTLE_EVERY_S if fresh else min(1.2 * self._settle_s, SETTLE_EVERY_S_MAX)
            self._settle_at = at if settled else at + self._settle_s

    def _directories(self) -> list[Path]:
        """Workers' directories, oldest first, after clearing up what is done with or was never born."""
        directories = []
        for path in sorted(self._root.glob("*/")):
            if path.name.startswith(UNBORN_PREFIX):
                with suppress(FileNotFoundError):  # it has been born meanwhile
                    self._clear_unborn(path)
            elif path.name.endswith(DONE_SUFFIX):
                self._delete_directory(path)
            else:
                directories.append(path)
        if self._root.exists():  # a data directory that was moved away comes back
            for name, numbers in self._gaps.vanished([each.name for each in directories]):
                self._lost(name, numbers)
        return directories

    def _clear_unborn(self, path: Path) -> None:
        """Delete what a worker left that was killed while it began its journal. Raises FileNotFoundError."""
        age_s = self._clock.now().timestamp() - path.stat().st_mtime
        with lock_of_the_dead(path) as dead:
            if dead and age_s > UNBORN_S_MAX:
                shutil.rmtree(path)

    def _move_worker(self, directory: Path) -> None:
        with lock_of_the_dead(directory) as dead:
            for done in sorted(directory.glob(f"*{DONE_SUFFIX}")):
                self._delete_segment(done)
            segments = sorted(directory.glob(f"*{SEGMENT_SUFFIX}"))
            self._look_for_gaps(directory, segments)
            for segment, successor in zip_longest(segments, segments[1:]):
                # The writer never returns to a segment that has a successor.
                final = dead or successor is not None
                if not self._move_segment(segment, final=final):
                    return
                if successor is not None:
                    self._delete_segment(_renamed(segment, segment.with_suffix(DONE_SUFFIX), self._fault))
            if dead:
                self._close_orphans(directory, segments[-1] if segments else directory / "none")
                self._gaps.forget(directory.name)
                done = directory.with_name(directory.name + DONE_SUFFIX)
                self._delete_directory(_renamed(directory, done, self._fault))

    def _look_for_gaps(self, directory: Path, segments: Sequence[Path]) -> None:
        numbers = [int(path.stem) for path in segments if path.stem.isdecimal()]
        missing = self._gaps.missing(
            directory.name,
            numbers,
            may_be_new=not (directory / OWNER).exists(),
            begun=lambda number: self._offset(f"{directory.name}/{number:06d}") > 0,
        )
        self._lost(directory.name, missing)

    def _lost(self, journal: str, numbers: Sequence[int]) -> None:
        """Segments that somebody deleted are told of as dead letters, which cannot be tried again."""
        for number in numbers:
            name = f"{journal}/{number:06d}"
            if (self._root / f"{name}{SEGMENT_SUFFIX}").exists():  # made while its neighbours were listed
                continue
            self._letters.add_deleted(name, self._offset(name))
            self._gaps.told(journal, number)

    def _move_segment(self, path: Path, *, final: bool) -> bool:
        """Move what the segment holds now; whether nothing is left in it. `final`: nothing will be added."""
        name = segment_name(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for _ in range(MOVES_PER_TICK):
                taken = self._offset(name)
                begun = self._begun(name)
                if begun is not None:
                    # Made again with just the frames that it had, the log knows what of it is in already.
                    made = os.pread(descriptor, begun - taken, taken)
                    frames = read_frames(made, final=True, frames_max=len(made)).frames
                    self._apply_frames(name, taken, frames, begun)
                    continue
                data: bytes | mmap = self._batch
                size = os.preadv(descriptor, [data], taken)
                if not size:
                    return True
                at_end = size < len(data)
                stretch = self._read(data, size, final=final and at_end)
                if stretch.end == 0 and not at_end:  # one frame is larger than a batch
                    data = read_to_end(descriptor, taken)
                    stretch = self._read(data, len(data), final=final)
                if stretch.end == 0:
                    return False
                self._move_stretch(name, taken, data, stretch)
                whole = len(stretch.frames) < self._batch_frames and self._offset(name) == taken + stretch.end
                if at_end and whole and not final:
                    # What has come since waits for the next tick: a move costs the log as much as hundreds of
                    # records do, and with a worker that is never idle there would always be a small one more.
                    return False
        finally:
            os.close(descriptor)
        self._behind = True
        return False

    def _read(self, data: bytes | mmap, size: int, *, final: bool) -> Stretch:
        return read_frames(data, final=final, frames_max=self._batch_frames, size=size)

    def _move_stretch(self, name: str, taken: int, data: bytes | mmap, stretch: Stretch) -> None:
        for damage in stretch.damaged:
            self._put_away(name, taken + damage.start, "damaged", data[damage.start : damage.end])
        if stretch.torn:
            # The last write of a killed worker: its call never came to an end that anybody saw.
            log.warning("journal %s ends in %d bytes of a frame cut off", name, stretch.torn)
        self._apply_frames(name, taken, stretch.frames, taken + stretch.end)

    def _apply_frames(
        self, name: str, start: int, frames: Sequence[Frame], end: int, *, look: bool = False
    ) -> None:
        """Have the log take these frames, or as many of them as come before one that it cannot take."""
        try:
            move = self._move_of(name, start, frames, end, look=look)
            if self._apply(move) and self._people is not None:
                self._people.taken(self._root / f"{name}{SEGMENT_SUFFIX}", start, frames)
        except ValueError as error:
            if not look:
                self._apply_frames(name, start, frames, end, look=True)
                return
            half = len(frames) // 2
            if half:
                self._apply_frames(name, start, frames[:half], start + frames[half - 1].end, look=True)
                return
            for frame in frames:
                self._put_away(name, start + frame.start, str(error), frame.payload)
            self._apply(JournalMove(segment=name, start=start, end=end))
            if self._people is not None:
                self._people.taken(self._root / f"{name}{SEGMENT_SUFFIX}", start, frames)

    def _move_of(
        self, name: str, start: int, frames: Sequence[Frame], end: int, *, look: bool
    ) -> JournalMove:
        """The move that these frames are. The log reads them, and reading them here too would be a twentieth
        of what a record costs; so only once it refused some we `look` at each. Else raises ValueError."""
        opened: dict[str, bytes] = {}
        closed: dict[str, bytes] = {}
        scores: list[bytes] = []
        spans: list[bytes] = []
        for frame in frames if self._people is None else map(self._people.arriving, frames):
            if look:
                try:
                    READERS[frame.kind](frame.payload)
                except ValueError as error:
                    self._put_away(name, start + frame.start, str(error), frame.payload)
                    continue
            if frame.kind == "open":
                opened[call_of(frame.payload)] = frame.payload
            elif frame.kind == "close":
                closed[call_of(frame.payload)] = frame.payload
            else:
                (scores if frame.kind == "score" else spans).append(frame.payload)
        return JournalMove(
            segment=name,
            start=start,
            end=end,
            opened=opened,
            closed=closed,
            scores=tuple(scores),
            spans=tuple(spans),
            moved_at=self._steady.now(),
        )

    def _put_away(self, name: str, offset: int, why: str, payload: bytes) -> None:
        """A frame that no record can be made of becomes a dead letter."""
        kept = payload if self._people is None else self._people.kept(name, payload)
        self._letters.add(name, offset, why, kept)

    def _segments(self) -> dict[Path, int]:
        """The segments there are, with how many bytes of each were taken."""
        return {path: self._offset(segment_name(path)) for path in sorted(segments_under(self._root))}

    def _apply(self, move: JournalMove) -> bool:
        """One move; whether it was taken. If the log has another offset than we thought, that counts."""
        self._letters.sync()  # from then on nobody reads what they lay in
        held = self._log.apply(move)
        self.heard_at = self._clock.monotonic()
        if held == move.end:
            self._moved_records += len(move.closed)
        self._taken[move.segment] = held
        self._moved = True
        self._fault("applied")
        return held == move.end

    def _close_orphans(self, directory: Path, last: Path) -> None:
        """Close what a dead worker left open."""
        name = segment_name(last)
        tried: set[str] = set()
        while orphans := self._untried(directory, tried):
            tried.update(orphans)
            try:
                self._interrupt(name, orphans)
            except ValueError:
                for record_id, payload in orphans.items():
                    try:
                        self._interrupt(name, {record_id: payload})
                    except ValueError as error:
                        self._put_away(f"{name}#{record_id}", 0, str(error), payload)
            self._fault("closed")
        self._letters.sync()  # as in `_apply`

    def _interrupt(self, name: str, orphans: dict[str, bytes]) -> None:
        """Close these calls in the log. It moves no byte, and a close that was done before is ignored."""
        taken = self._offset(name)
        now = self._clock.now()
        closed = {
            record_id: msgspec.json.encode(interrupted(read_opened(payload), now))
            for record_id, payload in orphans.items()
        }
        self._apply(JournalMove(segment=name, start=taken, end=taken, closed=closed))

    def _untried(self, directory: Path, tried: set[str]) -> dict[str, bytes]:
        return {k: v for k, v in self._log.orphans(f"{directory.name}/").items() if k not in tried}

    def _delete_segment(self, done: Path) -> None:
        if done.stem.isdecimal():
            self._gaps.done(done.parent.name, int(done.stem))
        self._forget(segment_name(done))
        done.unlink()
        self._fault("deleted")

    def _delete_directory(self, done: Path) -> None:
        name = done.name.removesuffix(DONE_SUFFIX)
        for path in sorted(done.iterdir()):
            if path.suffix in {SEGMENT_SUFFIX, DONE_SUFFIX}:
                self._forget(f"{name}/{path.stem}")
                path.unlink()
                self._fault("deleted")
        shutil.rmtree(done)
        self._fault("deleted")

    def _forget(self, name: str) -> None:
        self._log.forget(name)
        self._taken.pop(name, None)
        self._whole.discard(name)
        self._marks.pop(name, None)
        self._letters.forget(name)
        self._fault("forgotten")

    def _offset(self, name: str) -> int:
        if name not in self._taken:
            self._taken[name] = self._log.offset(name)
        return self._taken[name]

    def _begun(self, name: str) -> int | None:
        """Where a move of this segment ends that was begun and may be half made; asked for once."""
        if name in self._whole:
            return None
        begun = self._log.begun(name)
        if begun is None:
            self._whole.add(name)
        return begun

    def status(self) -> JournalStatus:
        """How far behind the log is, read off the files; any thread may ask, also while a move hangs."""
        unmoved_bytes = 0
        oldest = self._elsewhere.waiting_since() if self._elsewhere is not None else None
        now = self._clock.now()
        for path in segments_under(self._root):
            if path.parent.name.endswith(DONE_SUFFIX):
                continue
            try:
                held = path.stat()
            except FileNotFoundError:
                continue
            name = segment_name(path)
            taken = self._taken.get(name, 0)
            end = written_end(path, taken)
            if end > taken:
                unmoved_bytes += end - taken
                written_at = self._written_at(name, end, held.st_mtime, now)
                oldest = written_at if oldest is None else min(oldest, written_at)
        return JournalStatus(
            unmoved_bytes=unmoved_bytes,
            oldest_unmoved_at=oldest,
            lag_s=max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0,
            store_up=self._store_detail is None,
            moved_records=self._moved_records,
            corrupt_frames=self._letters.count - self._strays.count,
            dead_letters=self._letters.newest(),
            stray_feedback=self._strays.count,
            store_detail=self._store_detail,
            waits_for=self._waits_for,
        )

    def _written_at(self, name: str, end: int, touched: float, now: datetime) -> datetime:
        """When the oldest unmoved byte of a segment was written: the tick at which it was first seen, or, for
        one that was there before this process, the newest write (frames carry no time of their own)."""
        mark = self._marks.get(name)
        if mark is None:
            mark = (end, min(now, datetime.fromtimestamp(touched, UTC)))
        elif mark[0] <= self._taken.get(name, 0):
            mark = (end, now)
        self._marks[name] = mark
        return mark[1]


def _renamed(path: Path, done: Path, fault: Callable[[FaultPoint], None]) -> Path:
    """Rename for good: after a power cut too, it is `done` that is there."""
    path.rename(done)
    sync_folder(done.parent)
    fault("renamed")
    return done
