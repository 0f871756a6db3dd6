"""The write-ahead journal of one gateway worker.

A worker owns the directory `<root>/<worker>-<uuid7>`: a file `owner`, locked for as long as the worker
lives, and segments `000001.seg`, `000002.seg`, … of frames. Only the last segment grows. The controller
reads behind it and deletes what it has moved.

Frames are copied into a mapping of the segment, which the kernel keeps when the process is killed: that costs
half of a `write`, and both stand on the request's path. The file grows ahead of the frames, GROWTH_BYTES at a
time, so a living segment ends in zeros; one that is done with has none. What comes with a long frame is
written, all at once: zeros first and a copy over them cost more.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import mmap
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from airboss.domain.errors import BodyTooLarge, Unavailable
from airboss.domain.record import Redacted
from airboss.store.whole_file import sync_folder
from airboss.telemetry.frames import FRAME_BYTES_MAX, HEAD_BYTES, FrameKind, frame_head

OWNER: Final = "owner"
SEGMENT_SUFFIX: Final = ".seg"
GROWTH_BYTES: Final = 256 * 1024
LONG_BYTES: Final = 64 * 1024
"""Where more is asked for at once, the file grows without zeros, and what comes is written there."""
PIECES_MAX: Final = 1024
"""Of one write (IOV_MAX)."""
_ZEROS: Final = memoryview(bytes(GROWTH_BYTES))
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
DONE_SUFFIX: Final = ".done"
"""Of a segment, or of a dead worker's journal, of which nothing is left to take."""
UNBORN_PREFIX: Final = "."
"""A directory whose name starts so is still being made: its owner may not hold the lock yet."""

REMOTE: Final = "remote"
"""In a directory that another machine's worker writes to (`telemetry.remote`), with that machine's name: it
lives until there is `ENDED`."""
ENDED: Final = "ended"

log = logging.getLogger(__name__)


def segments_under(root: Path) -> list[Path]:
    """Every segment of the journals in a folder, but of one that is being made. What goes away meanwhile has
    none: before Python 3.13 `glob` over both levels fails where it meets that."""
    found: list[Path] = []
    for folder in root.glob(f"[!{UNBORN_PREFIX}]*"):
        with suppress(FileNotFoundError, NotADirectoryError):
            found += folder.glob(f"*{SEGMENT_SUFFIX}")
    return found


class JournalWriter:
    """Appends frames; each is handed to the operating system whole before the call returns.

    So a process killed at any moment loses no frame whose call returned; a machine that loses power may lose
    those of the last `fsync_interval_s` seconds. Safe to call from several threads. Raises Unavailable if the
    disk refuses, and BodyTooLarge for a frame over 256 MiB; the journal stays whole and usable after either.
    One that is begun on a full disk is begun by the first frame that there is room for.
    """

    def __init__(
        self,
        root: Path,
        worker: str,
        *,
        fsync_interval_s: float = 0.05,
        segment_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._fsync_interval_s = fsync_interval_s
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._stopping, self._written = threading.Event(), threading.Event()
        self._number = 0
        self._size = 0
        self._room = self._filled = self._held_from = self._promised = 0
        self._dirty = False
        self._full: list[int] = []
        self._flush_error: OSError | None = None
        self._segment = self._owner = -1
        self._left: list[int] = []
        """Locks of directories in which nothing is written any more: calls in them are not over yet."""
        self._root, self._worker = root, worker
        self._flusher = threading.Thread(target=self._flush_often, name="journal-fsync", daemon=True)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._begin()
        except OSError as error:
            if error.errno not in FULL:
                raise
            # Else whoever calls would wait at a socket that nobody reads until there is room.
            log.error("no call is served: %s", self._refused(error))  # noqa: TRY400 - no defect of ours

    def _begin(self) -> None:
        """Have a directory of this worker's own with a first segment, or nothing. Raises OSError."""
        # A data directory that was moved away is not made anew here, or it could not be moved back.
        self._root.mkdir(exist_ok=True)
        name = f"{self._worker}-{_uuid7_hex()}"
        # Under its last name a directory must already be locked, or the mover would take its owner for dead.
        self.directory = self._root / f"{UNBORN_PREFIX}{name}"
        try:
            self.directory.mkdir(mode=0o700)
            self._owner = os.open(self.directory / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._owner, fcntl.LOCK_EX)
            self._next_segment(0)
            self.directory = self.directory.rename(self._root / name)
            sync_folder(self._root)
        except OSError:
            shutil.rmtree(self.directory, ignore_errors=True)
            for descriptor in (self._segment, self._owner):
                if descriptor >= 0:
                    os.close(descriptor)
            self._segment = self._owner = -1
            self._number = self._room = 0
            raise
        if not self._flusher.is_alive():
            self._flusher.start()

    def open(self, frame: Redacted, *more: Redacted) -> None:
        """Append the open frame of a call: JSON of `OpenedCall`, in pieces where it is long."""
        self._append("open", frame, *more)

    def close_call(self, frame: Redacted) -> None:
        """Append the close frame of a call: JSON of `ClosedCall`."""
        self._append("close", frame)

    def score(self, *frames: Redacted) -> None:
        """Append feedback on a call: JSON of `Score`, several at once."""
        size = sum(HEAD_BYTES + len(each) for each in frames)
        self.promise(size)
        self.append_pieces([("score", (each,)) for each in frames], promised=size)

    def span(self, frame: Redacted) -> None:
        """Append a span of a trace: JSON of `Span`."""
        self._append("span", frame)

    def promise(self, size: int) -> None:
        """Have room for frames of `size` bytes, heads included, which `append` will bring."""
        if size - HEAD_BYTES > FRAME_BYTES_MAX:
            raise BodyTooLarge(
                f"a record of {size - HEAD_BYTES} bytes is over the journal's limit of {FRAME_BYTES_MAX}; "
                "send less in one call"
            )
        with self._lock:
            if self._size + self._promised + size > self._room or self._flush_error is not None:
                self._make_room(size)
            self._promised += size

    def append(self, frames: Redacted, *, promised: int) -> None:
        """Append several frames at once, as `framed` joins them; `promised` bytes are asked for no longer.
        Where that was enough, it does not raise."""
        self._put([frames], promised)

    def append_pieces(
        self, frames: Iterable[tuple[FrameKind, tuple[Redacted, ...]]], *, promised: int
    ) -> None:
        """The same for frames in pieces, of which some are long."""
        pieces: list[bytes] = []
        for kind, payload in frames:
            pieces += (frame_head(kind, *payload), *payload)
        self._put(pieces, promised)

    def stop(self) -> None:
        """Flush to disk and give the directory up; whoever moves frames may then finish it."""
        with self._lock:
            if self._stopping.is_set() or not self._flusher.is_alive():
                return
            self._stopping.set()
            self._written.set()
        self._flusher.join()
        with self._lock:
            self._look()
            if self._segment >= 0:
                os.ftruncate(self._segment, self._size)
                self._leave()
            for descriptor in (*self._left, *self._full):
                os.close(descriptor)
            self._left, self._full = [], []

    def _append(self, kind: FrameKind, *payload: Redacted) -> None:
        size = HEAD_BYTES + sum(map(len, payload))
        self.promise(size)
        self.append_pieces([(kind, payload)], promised=size)

    def _put(self, pieces: list[bytes], promised: int) -> None:
        size = sum(map(len, pieces))
        with self._lock:
            self._promised -= promised
            if self._size + self._promised + size > self._room or self._is_cut():
                self._make_room(size)
            if not size:
                return
            end = self._size + size
            if end <= self._filled:
                # A reader that comes in between sees a frame with a wrong checksum, and waits for the rest.
                at = self._size
                for piece in pieces:
                    self._map[at : at + len(piece)] = piece
                    at += len(piece)
            else:
                self._write(pieces)
            self._size = end
            if not self._dirty:
                self._dirty = True
                self._written.set()

    def _is_cut(self) -> bool:
        """Whether the file is shorter than was made room for: to touch the mapping there would be the end of
        the process, by SIGBUS."""
        return self._segment >= 0 and os.lseek(self._segment, 0, os.SEEK_END) < self._room

    def _write(self, pieces: list[bytes]) -> None:
        try:
            _write(self._segment, pieces, self._size)
        except OSError as error:
            # Half a frame is not left for whoever reads on behind the next one.
            self._map[self._size : self._room] = bytes(self._room - self._size)
            raise self._refused(error) from error

    def _make_room(self, size: int) -> None:
        """Let the segment hold `size` bytes more than it has and has promised, or go on in a new one. Raises
        Unavailable: the disk is asked for room here, so that a full one is an error and not a signal when the
        map is touched."""
        long = size > LONG_BYTES
        size += self._promised
        try:
            self._look()
            if self._segment < 0 and not self._stopping.is_set():
                self._begin()
            if self._size + size > len(self._map):
                self._rotate(size)
            if self._size + size > self._room:
                room = min(max(self._size + size, self._room + GROWTH_BYTES), len(self._map))
                os.posix_fallocate(self._segment, self._room, room - self._room)
                if not long:
                    _fill(self._segment, max(self._size, self._filled), room)
                    self._filled = room
                    self._let_go()
                self._room = room
        except OSError as error:
            raise self._refused(error) from error
        if self._flush_error is not None:
            raise self._refused(self._flush_error)

    def _let_go(self) -> None:
        """Have the process hold no more of the segment than is to come: up to 16 MiB of it would count as its
        memory. What was written stays the kernel's."""
        written = self._size - self._size % mmap.PAGESIZE
        if written > self._held_from:
            self._map.madvise(mmap.MADV_DONTNEED, self._held_from, written - self._held_from)
            self._held_from = written

    def _refused(self, error: OSError) -> Unavailable:
        reason = error.strerror or str(error)
        what = "free space on the disk of the data directory, or make it writable"
        if error.errno == errno.ENOSPC and _inodes_left(self._root) == 0:
            reason, what = "no inode is left on its disk", "delete files there, so that new ones can be made"
        if isinstance(error, FileNotFoundError):
            what = f"put {self._root.parent} back, which was deleted or moved away"
        return Unavailable(
            "the call cannot be recorded, so it is not served: writing to the journal failed "
            f"({reason}); {what}",
            code="journal_unwritable",
        )

    def _rotate(self, size: int) -> None:
        """Go on in a new segment, which holds `size` bytes at least; the flusher syncs and closes the full
        one."""
        full, full_map, full_size = self._segment, self._map, self._size
        self._next_segment(size)
        full_map.close()
        os.ftruncate(full, full_size)
        self._full.append(full)

    def _next_segment(self, size: int) -> None:
        path = self.directory / f"{self._number + 1:06d}{SEGMENT_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        segment = os.open(path, flags, 0o600)
        try:
            length = max(self._segment_bytes, size)
            room = min(GROWTH_BYTES, length)
            # The mapping is as long as the segment may get; only what the file has by then is touched.
            os.ftruncate(segment, length)
            mapping = mmap.mmap(segment, length)
            os.ftruncate(segment, 0)
            os.posix_fallocate(segment, 0, room)
            _fill(segment, 0, room)
        except OSError:
            os.close(segment)
            path.unlink()
            raise
        self._segment, self._map = segment, mapping
        self._number += 1
        self._size, self._room, self._filled, self._held_from = 0, room, room, 0

    def _look(self) -> None:
        """Give a segment up that lies no more where it is read, or not whole. The caller holds the lock."""
        path = self.directory / f"{self._number:06d}{SEGMENT_SUFFIX}"
        if self._segment < 0:
            return
        what = "was deleted or moved away"
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(self._segment)):
                if not self._is_cut():
                    return
                what = "was cut by somebody else"
        log.error("%s %s: what was written to it just now may be lost", path, what)
        self._leave()

    def _leave(self) -> None:
        """Give the segment up; the next frame is written in a directory of its own. The caller holds the
        lock."""
        self._map.close()
        self._full.append(self._segment)  # the flusher may be at it
        self._left.append(self._owner)
        self._segment = self._owner = -1
        self._number = self._size = self._room = self._filled = self._held_from = 0

    def _flush_often(self) -> None:
        while not self._stopping.is_set():
            self._written.wait()  # a worker that is idle does not wake
            self._written.clear()
            self._stopping.wait(self._fsync_interval_s)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Sync all that was written before this call. A failure is raised by the next append: after one,
        nobody knows what the disk holds, so no further call may be promised."""
        with self._lock:
            if not self._dirty and not self._full:
                return
            self._dirty = False
            self._look()
            full, self._full = self._full, []
            segments = [each for each in (*full, self._segment) if each >= 0]
        try:
            if len(segments) > len(full) > 0:
                sync_folder(self.directory)
            for descriptor in segments:
                os.fdatasync(descriptor)
        except OSError as error:
            if self._flush_error is None:  # it is tried again at once, on a disk that has its log too
                log.error("journal %s not flushed: %s", self.directory, error)  # noqa: TRY400 - no defect of ours
            with self._lock:
                self._flush_error, self._dirty = error, True
            self._written.set()
        else:
            with self._lock:
                self._flush_error = None
        for descriptor in full:
            os.close(descriptor)


def _fill(segment: int, start: int, end: int) -> None:
    """Have bytes [start, end), which the disk has room for, in the page cache. Raises OSError."""
    # Zeros written at once lie in a few large pieces of it. Without them the mapping faults at each page that
    # it touches first, which cost a call 2 µs.
    for at in range(start, end, GROWTH_BYTES):
        os.pwrite(segment, _ZEROS[: end - at], at)


def _write(segment: int, pieces: list[bytes], at: int) -> None:
    """Write all of `pieces`, one after another. Raises OSError."""
    if len(pieces) > PIECES_MAX:
        pieces = [b"".join(pieces)]
    written = os.pwritev(segment, pieces, at)
    missing = sum(map(len, pieces)) - written
    if missing:  # the disk is full, or nearly: what is left says which
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            at += written
            written = os.pwrite(segment, rest, at)
            rest = rest[written:]


def _inodes_left(path: Path) -> int | None:
    """How many files can be made there; None where that has no bound, or nobody says."""
    with suppress(OSError):
        held = os.statvfs(path)
        return held.f_favail if held.f_files else None
    return None


def _uuid7_hex() -> str:
    """32 hex digits of a UUID version 7: later ones sort after earlier ones."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high = milliseconds << 16 | 0x7000 | random >> 68
    low = 0b10 << 62 | random & ((1 << 62) - 1)
    return f"{high:016x}{low:016x}"


def read_to_end(descriptor: int, start: int) -> bytes:
    """All that a file has from there on."""
    pieces = []
    while piece := os.pread(descriptor, 1 << 24, start):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def segment_name(path: Path) -> str:
    """The name under which the log keeps a segment's offset: the same before and after a rename."""
    return f"{path.parent.name}/{path.stem}"


@contextmanager
def lock_of_the_dead(directory: Path) -> Iterator[bool]:
    """Whether the directory's worker is dead; if so, nobody can come to hold its lock meanwhile."""
    if (directory / REMOTE).exists():
        yield (directory / ENDED).exists()
        return
    try:
        descriptor = os.open(directory / OWNER, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
