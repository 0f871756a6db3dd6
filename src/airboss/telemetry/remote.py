"""Journals of machines that have joined: what the leading Airboss keeps of them.

A joined machine's gateways write journals as any do. It sends their frames here (`telemetry.shipping`), and
here they lie as segments beside those of this machine's own workers, for the same mover. A directory with a
file `remote` is of such a worker: it lives until there is a file `ended`, whoever holds what lock.

A piece says where in its segment it belongs. What is there already is not written again, so that a piece may
be sent as often as its sender was not told that it had come.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec

from airboss.domain.errors import InvalidRequest, NotFound, PermissionDenied, SetupError, Unavailable
from airboss.domain.ports import Clock
from airboss.store.whole_file import replace_file, sync_folder
from airboss.telemetry.frames import FRAME_BYTES_MAX, HEAD_BYTES, read_frames
from airboss.telemetry.journal import ENDED, REMOTE, SEGMENT_SUFFIX, UNBORN_PREFIX
from airboss.telemetry.metrics import Counts

PIECE_BYTES_MAX: Final = FRAME_BYTES_MAX + HEAD_BYTES
"""A piece is of whole frames, so that who begins anew begins where a frame does."""
NODES_MAX: Final = 1000
JOURNALS_MAX: Final = 10_000
KEPT_EVERY: Final = timedelta(seconds=30)
"""How old what is remembered of a machine may be when this begins anew: when it was heard of last."""
LATE: Final = timedelta(seconds=1)
"""What a machine that is heard of has written within this time is on its way, and nothing waits there."""
SILENT: Final = timedelta(seconds=60)
"""Who has not been heard of for so long keeps nobody waiting but those who want all of it, as an erasure."""
LONG_S: Final = 1e7
"""What is longer ago is as good as this."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_JOURNAL = re.compile(r"gateway-[0-9]{1,3}-[0-9a-f]{32}")
_SEGMENT = re.compile(r"[0-9]{6}")

log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a joined machine says of itself, twice a second, by its clock `at`. All that its gateways had
    written `clear_s` seconds ago has been brought; None: not all yet. `unsent_bytes` are still there.
    `gateways` is how each stands, of what they count: whom they ask and how that does, limits, the plan."""

    name: str
    version: str
    base_url: str
    workers: int
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    clear_s: float | None = None
    unsent_bytes: int = 0
    gateways: dict[str, Counts] = {}


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that has joined. It was heard of last at `heard_at`; all that its gateways had written by
    `clear_at` is here, and `unsent_bytes` were there when it said so."""

    name: str
    version: str
    base_url: str
    workers: int
    joined_at: datetime
    heard_at: datetime
    clear_at: datetime
    unsent_bytes: int


class _Kept(msgspec.Struct, kw_only=True):
    nodes: dict[str, Node] = {}
    forgotten: list[str] = []


class Nodes:
    """The machines that have joined, and their journals. Safe to call from several threads, of one process.

    `root` is where journals lie, `kept` the file in which the machines are remembered.
    """

    def __init__(self, root: Path, kept: Path, clock: Clock) -> None:
        self._root = root
        self._kept = kept
        self._clock = clock
        self._since = self._kept_at = clock.now()
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, Counts]] = {}
        self._ended: dict[str, None] = {}
        """Journals that ended since this began, the oldest first."""
        self._state = _Kept()
        if kept.exists():
            try:
                self._state = msgspec.json.decode(kept.read_bytes(), type=_Kept)
            except ValueError as error:
                raise SetupError(
                    f"{kept} is damaged, which says what machines have joined: put a copy of it back, or "
                    f"delete it, and an erasure waits for those alone that are heard of again ({error})"
                ) from error

    def hear(self, report: Report) -> bool:
        """A machine is there; whether it is new. Raises InvalidRequest, PermissionDenied for one that was
        forgotten, Unavailable where the disk refuses."""
        if not _NAME.fullmatch(report.name):
            raise InvalidRequest(
                f"name is {report.name[:80]!r}; give letters, digits, `.`, `_`, `-`", param="name"
            )
        if any(counts.written_at.tzinfo is None for counts in report.gateways.values()):
            raise InvalidRequest("written_at of a gateway has no time zone", param="gateways")
        with self._lock:
            if report.name in self._state.forgotten:
                raise PermissionDenied(
                    f"{report.name} was forgotten here, and what it had not brought was given up: start it"
                    " with an empty --data-dir"
                )
            before, now = self._state.nodes.get(report.name), self._clock.now()
            if before is None and len(self._state.nodes) >= NODES_MAX:
                raise Unavailable(f"{NODES_MAX} machines have joined, the most that may; forget some first")
            clear = before.clear_at if before is not None else now
            if report.clear_s is not None:
                clear = max(clear, _ago(now, report.clear_s))
            self._state.nodes[report.name] = Node(
                name=report.name,
                version=report.version,
                base_url=report.base_url,
                workers=report.workers,
                joined_at=before.joined_at if before is not None else now,
                heard_at=now,
                clear_at=clear,
                unsent_bytes=max(0, report.unsent_bytes),
            )
            self._counts[report.name] = {
                f"{worker}@{report.name}": msgspec.structs.replace(
                    counts, written_at=_ago(now, (report.at - counts.written_at).total_seconds())
                )
                for worker, counts in report.gateways.items()
            }
            if before is None:
                try:
                    self._keep()
                except OSError as error:  # not even until the next start: an erasure must wait for it
                    del self._state.nodes[report.name], self._counts[report.name]
                    raise Unavailable(f"who joins cannot be remembered: {error.strerror}") from error
            elif abs(now - self._kept_at) >= KEPT_EVERY:
                self._kept_at = now
                with suppress(OSError):  # then what is remembered is older
                    self._keep()
        return before is None

    def take(self, name: str, journal: str, segment: str, at: int, piece: bytes) -> int:
        """Bytes of a machine's segment, which begin at `at` there. Returns how many of it are here, on disk:
        where that is not the end of the piece, what follows them is to come next. An empty piece only asks:
        then what a kill left of a piece, and was told to nobody, is cut off first, so that a frame is next.

        Raises InvalidRequest, NotFound for a machine that has not joined, Unavailable where the disk refuses.
        """
        if not _SEGMENT.fullmatch(segment) or at < 0 or len(piece) > PIECE_BYTES_MAX:
            raise InvalidRequest(f"no piece of a segment: {segment[:20]!r}, {len(piece)} bytes at {at}")
        with self._lock:
            self._check(name, journal)
            if journal in self._ended:  # an answer that nobody waits for any more, and the mover may be done
                raise NotFound(f"{journal} has ended, and all of it was here")
            try:
                directory = self._directory(name, journal)
                return _append(directory / f"{segment}{SEGMENT_SUFFIX}", at, piece)
            except OSError as error:
                raise Unavailable(f"what is brought cannot be kept: {error.strerror}") from error

    def end(self, name: str, journal: str) -> None:
        """A machine's worker has ended, and all that it wrote is here. Raises as `take`."""
        with self._lock:
            self._check(name, journal)
            self._end(self._root / journal)
            self._ended[journal] = None
            if len(self._ended) > JOURNALS_MAX:
                del self._ended[next(iter(self._ended))]

    def leave(self, name: str) -> bool:
        """A machine stops, having brought everything; whether it was known."""
        with self._lock:
            known = self._state.nodes.pop(name, None) is not None
            self._counts.pop(name, None)
            if known:
                self._keep()
        return known

    def forget(self, name: str) -> None:
        """A machine is gone for good: what it has not brought is given up, its open calls end as interrupted,
        and it may not come back. Raises NotFound."""
        with self._lock:
            if self._state.nodes.pop(name, None) is None:
                raise NotFound(f"no machine {name[:80]!r} has joined; see `airboss node list`")
            self._counts.pop(name, None)
            self._state.forgotten.append(name)
            self._keep()
            for marker in self._root.glob(f"*/{REMOTE}"):
                if marker.read_text(encoding="utf-8") == name:
                    self._end(marker.parent)

    def all(self) -> Sequence[Node]:
        """The machines, by name."""
        with self._lock:
            return sorted(self._state.nodes.values(), key=lambda each: each.name)

    def counts(self) -> dict[str, Counts]:
        """What gateways there said of themselves last, by worker and machine."""
        with self._lock:
            return {name: counts for each in self._counts.values() for name, counts in each.items()}

    def clear_at(self, *, silent: bool = True) -> datetime | None:
        """All that any machine had written by then is here; None: no machine has joined. Not `silent`: those
        that are, for so long since this began, are passed over."""
        late = self._clock.now() - SILENT
        waited = [each for each in self.all() if silent or max(each.heard_at, self._since) > late]
        return min((each.clear_at for each in waited), default=None)

    def waiting_since(self) -> datetime | None:
        """Since when something waits, or may wait, on a machine that is heard of; None: nothing does."""
        now = self._clock.now()
        late = [
            each.clear_at
            for each in self.all()
            if each.clear_at < now - LATE and each.heard_at > now - SILENT
        ]
        return min(late, default=None)

    def _check(self, name: str, journal: str) -> None:
        if not _JOURNAL.fullmatch(journal):
            raise InvalidRequest(f"{journal[:80]!r} is no journal of a gateway")
        if name not in self._state.nodes:
            raise NotFound(f"no machine {name[:80]!r} has joined")

    def _directory(self, name: str, journal: str) -> Path:
        """Where a journal lies, made where it is new."""
        directory = self._root / journal
        if not directory.is_dir():
            if sum(1 for _ in self._root.glob(f"*/{REMOTE}")) >= JOURNALS_MAX:
                raise Unavailable(f"{JOURNALS_MAX:,} journals wait here; is the record store up?")
            # Without its mark it would be taken for one of this machine's, whose worker is dead.
            unborn = self._root / f"{UNBORN_PREFIX}{journal}"
            unborn.mkdir(mode=0o700, exist_ok=True)
            replace_file(unborn / REMOTE, [name.encode()])
            unborn.rename(directory)
            sync_folder(self._root)
        return directory

    def _end(self, directory: Path) -> None:
        if directory.is_dir():  # else the mover is done with it
            replace_file(directory / ENDED, [])

    def _keep(self) -> None:
        replace_file(self._kept, [msgspec.json.encode(self._state)])


def _ago(now: datetime, seconds: float) -> datetime:
    return now - timedelta(seconds=min(max(0.0, seconds), LONG_S))


def _append(path: Path, at: int, piece: bytes) -> int:
    """Put a piece behind what there is of a segment, if it belongs there; how many bytes there are."""
    new = not path.exists()
    if new and (at > 0 or not piece):
        return 0
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        held = os.fstat(descriptor).st_size
        if not piece:
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                held = read_frames(data := file.readall(), final=False, frames_max=len(data)).end
            os.ftruncate(descriptor, held)
        if at != held or not piece:
            return held
        left = memoryview(piece)
        while left:
            try:
                written = os.pwrite(descriptor, left, at)
            except OSError:
                os.ftruncate(descriptor, held)  # whole or not at all
                raise
            left, at = left[written:], at + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        sync_folder(path.parent)
    return at
