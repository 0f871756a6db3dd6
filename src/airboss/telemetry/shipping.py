"""Journals of a joined machine, brought to the Airboss that leads: whole frames, each once.

A segment is brought to its end before the next one, and its worker's death is seen before its end is read.
What has been brought is not kept here: a segment is deleted once all of it is there, and of one that still
grows the frames that are there are overwritten by zeros. How far a segment has come, only the other side
knows; who begins anew asks. A directory is renamed to `….done` before the other side is told that its worker
has ended, and deleted after that: so it is told again by whoever finds it, and nothing is brought twice.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final, Protocol

from airboss.domain.errors import AirbossError, SetupError
from airboss.store.whole_file import sync_folder
from airboss.telemetry.frames import HEAD_BYTES, read_frames
from airboss.telemetry.journal import (
    DONE_SUFFIX,
    SEGMENT_SUFFIX,
    UNBORN_PREFIX,
    lock_of_the_dead,
    segment_name,
    segments_under,
)

READ_BYTES: Final = 4 * 1024 * 1024
PIECES_PER_TICK: Final = 16
"""Of one segment, so that one busy worker cannot starve the others."""
INTERVAL_S: Final = 0.2
TELL_S: Final = 0.5
"""At least so often the other side is told how things stand."""
_ZEROS: Final = bytes(1 << 20)

log = logging.getLogger(__name__)


class Leader(Protocol):
    """The Airboss that journals are brought to. What it raises is an AirbossError: it is tried again."""

    def take(self, journal: str, segment: str, at: int, piece: bytes) -> int:
        """As `remote.Nodes.take`."""

    def end(self, journal: str) -> None:
        """As `remote.Nodes.end`."""

    def hear(self, *, clear_s: float | None, unsent_bytes: int) -> None:
        """How this machine stands: as in `remote.Report`."""

    def leave(self) -> None:
        """Nothing more will come from here: this machine stops, having brought everything."""


class Shipping:
    """Owns all that is under `root` but the segments that living workers write to. One thread calls it."""

    def __init__(self, root: Path, leader: Leader, *, before: Callable[[], None] = lambda: None) -> None:
        self._root = root
        self._leader = leader
        self._before = before
        self._sent: dict[str, int] = {}
        self._sure: set[str] = set()
        self._told_at = 0.0
        self._known = False
        self._behind = False
        self.up = True
        """Whether the other side answered last."""
        self.unsent_bytes = 0

    def run(self, stop: threading.Event, on_tick: Callable[[], None]) -> None:
        """Tick until `stop` is set, then bring what is left and take leave, if the other side answers."""
        while not stop.is_set():
            self._tick(on_tick)
            if not self._behind:
                stop.wait(INTERVAL_S)
        self._tick(on_tick)
        while self.up and self._behind:
            self._tick(on_tick)
        if self.up and not self.unsent_bytes and not any(self._directories()):
            try:
                self._leader.leave()
            except AirbossError as error:
                log.warning("the Airboss that leads does not know that this machine has stopped: %s", error)

    def _tick(self, on_tick: Callable[[], None]) -> None:
        try:
            self.tick()
            if not self.up:
                log.warning("the Airboss that leads answers again")
            self.up = True
        except (AirbossError, OSError) as error:
            self._known = self._behind = False
            self.unsent_bytes = sum(self._left(path) for path in segments_under(self._root))
            if self.up:
                log.warning("journals wait here: %s", error, extra={"unsent_bytes": self.unsent_bytes})
            self.up = False
        on_tick()

    def tick(self) -> None:
        """Bring what there is, within bounds, and say how things stand. `before` is done first: what this
        machine has to know or do before it may say that all of it has been brought. Raises AirbossError,
        OSError."""
        began = time.monotonic()
        self._behind = False
        if not self._known:  # who has not joined brings nothing
            self._leader.hear(clear_s=None, unsent_bytes=self.unsent_bytes)
            self._known = True
        self._before()
        brought = [self._bring_worker(directory) for directory in self._directories()]
        now = time.monotonic()
        if self._behind:
            self.unsent_bytes = sum(self._left(path) for path in segments_under(self._root))
        else:
            self.unsent_bytes = 0
        if any(brought) or now - self._told_at >= TELL_S:
            self._leader.hear(clear_s=None if self._behind else now - began, unsent_bytes=self.unsent_bytes)
            self._told_at = now

    def _directories(self) -> Iterator[Path]:
        """Workers' directories, oldest first."""
        for path in sorted(self._root.glob("*/")):
            if not path.name.startswith(UNBORN_PREFIX):
                yield path

    def _bring_worker(self, directory: Path) -> bool:
        """Bring what a worker has written; whether there was anything."""
        brought = False
        if directory.name.endswith(DONE_SUFFIX):
            self._finish(directory)
            return True
        with lock_of_the_dead(directory) as dead:
            segments = sorted(directory.glob(f"*{SEGMENT_SUFFIX}"))
            for segment, successor in zip_longest(segments, segments[1:]):
                # The writer never returns to a segment that has a successor.
                final = dead or successor is not None
                before = self._sent.get(segment_name(segment))
                whole = self._bring(segment, final=final)
                brought = brought or before != self._sent.get(segment_name(segment))
                if not whole:
                    return brought
                if successor is not None:
                    segment.unlink()
                    sync_folder(directory)
                    self._sent.pop(segment_name(segment), None)
                    self._sure.discard(segment_name(segment))
            if dead:
                done = directory.with_name(directory.name + DONE_SUFFIX)
                directory.rename(done)
                sync_folder(self._root)
                self._finish(done)
                return True
        return brought

    def _finish(self, done: Path) -> None:
        """All of a dead worker has been brought: say so, and delete it."""
        journal = done.name.removesuffix(DONE_SUFFIX)
        self._leader.end(journal)
        shutil.rmtree(done)
        self._sent = {key: at for key, at in self._sent.items() if not key.startswith(f"{journal}/")}
        self._sure &= self._sent.keys()

    def _bring(self, path: Path, *, final: bool) -> bool:
        """Bring what the segment holds now; whether nothing is left in it. `final`: nothing will be added."""
        key = segment_name(path)
        descriptor = os.open(path, (os.O_RDONLY if final else os.O_RDWR) | os.O_CLOEXEC)
        try:
            for _ in range(PIECES_PER_TICK):
                before = self._sent.get(key, 0)
                if key not in self._sure:
                    self._ask(path)
                elif piece := _ready(descriptor, before, final=final):
                    self._send(path, before, piece)
                else:
                    return True
                if not final:
                    _blank(descriptor, before, self._sent[key])
        finally:
            os.close(descriptor)
        self._behind = True
        return False

    def _ask(self, path: Path) -> None:
        """Learn how far a segment has come: at first, and where no answer came to what was sent of it."""
        key = segment_name(path)
        held, before = self._leader.take(path.parent.name, path.stem, 0, b""), self._sent.get(key, 0)
        if held < before:
            raise SetupError(
                f"the Airboss that leads has {held} bytes of {key}, and {before} had been brought: what it"
                " lost can only come from a copy of its data directory"
            )
        self._sent[key] = held
        self._sure.add(key)

    def _send(self, path: Path, at: int, piece: bytes) -> None:
        key, end = segment_name(path), at + len(piece)
        self._sure.discard(key)
        if self._leader.take(path.parent.name, path.stem, at, piece) == end:
            self._sent[key] = end
            self._sure.add(key)

    def _left(self, path: Path) -> int:
        """About how many bytes of a segment are still to be brought."""
        try:
            size = path.stat().st_size
            with path.open("rb", buffering=0) as file:
                at = self._sent.get(segment_name(path), 0)
                file.seek(at)
                return size - at if any(file.read(HEAD_BYTES)) else 0
        except FileNotFoundError:
            return 0


def _ready(descriptor: int, at: int, *, final: bool) -> bytes:
    """The bytes from `at` on that may be brought: whole frames, and of what is `final` all but the zeros that
    it had grown ahead by, whatever is wrong with it."""
    size = READ_BYTES
    while True:
        data = os.pread(descriptor, size, at)
        at_end = len(data) < size
        end = read_frames(data, final=False, frames_max=len(data)).end
        if final and at_end:
            return data[:end] + data[end:].rstrip(b"\0")
        if end or at_end:
            return data[:end]
        size *= 2  # one frame is longer


def _blank(descriptor: int, start: int, end: int) -> None:
    for at in range(start, end, len(_ZEROS)):
        os.pwrite(descriptor, _ZEROS[: end - at], at)
