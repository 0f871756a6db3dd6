"""Frames that cannot become records, and feedback without a record, kept for a person to look at."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from airboss.domain.status import DeadLetter
from airboss.store.sealed_marks import PREFIX
from airboss.store.whole_file import replace_file, sync_folder

BYTES_MAX: Final = 64 * 1024 * 1024
SHOWN_MAX: Final = 20
EXCERPT_CHARS: Final = 200
SEALED_CHARS_MAX: Final = 64 * 1024
"""So much is shown of what is sealed, so that who may open it can show how it begins."""
TAIL_BYTES: Final = 1024 * 1024
"""So much of the file is read for the newest when a controller starts."""
DELETED: Final = "deleted by somebody"
"""How it begins why a whole segment is told of."""

log = logging.getLogger(__name__)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the file. `payload` is what the frame said, sealed where bodies are; "" once blanked."""

    segment: str
    offset: int
    why: str
    payload: str

    @property
    def place(self) -> Place:
        """Where it lay, which names it."""
        return (self.segment, self.offset)


Place = tuple[str, int]
"""A segment and an offset in it."""


class DeadLetters:
    """A file of JSON lines `Letter`, at most 64 MB of them; `count` counts those beyond that too. A frame is
    added once, however often its move is tried, and is on disk after `sync`: before that nobody may give up
    what it was read from. One thread calls it; any may ask for the `newest`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[str, int]] = set()
        self.count = 0
        self._dirty = False
        self._newest = deque(_read_newest(path), SHOWN_MAX)

    def newest(self) -> tuple[DeadLetter, ...]:
        """Those put away last, by earlier processes too; the newest first."""
        return tuple(reversed(self._newest.copy()))

    def add(self, segment: str, offset: int, why: str, payload: bytes) -> bool:
        """Put one away; whether it was not there yet. Raises OSError."""
        if (segment, offset) in self._seen:
            return False
        letter = Letter(segment=segment, offset=offset, why=why, payload=payload.decode(errors="replace"))
        line = msgspec.json.encode(letter) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            if held + len(line) <= BYTES_MAX:
                _write_whole(descriptor, line, held)
                self._dirty = True
        finally:
            os.close(descriptor)
        self._seen.add((segment, offset))
        self.count += 1
        self._newest.append(shown(letter))
        log.error("put away as a dead letter: journal %s at %d (%s)", segment, offset, why)
        return True

    def add_deleted(self, segment: str, taken: int) -> None:
        """Tell of a segment that somebody deleted when so many bytes of it were taken. Raises OSError."""
        why = f"{DELETED} when {taken} bytes of it were taken; calls in the rest are lost"
        self.add(segment, taken, why, b"")

    def deleted(self, journal: str) -> set[int]:
        """The segments of a journal that letters say were deleted, of earlier processes too. Raises
        OSError."""
        start = f"{journal}/"
        return {
            int(letter.segment.removeprefix(start))
            for letter in _read(self._path)
            if letter.segment.startswith(start) and letter.why.startswith(DELETED)
        }

    def sync(self) -> None:
        """Have all that was added on disk. Raises OSError."""
        if self._dirty:
            with suppress(FileNotFoundError), self._path.open("rb") as file:  # moved away: nothing to sync
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
            self._dirty = False

    def all(self) -> list[Letter]:
        """Every letter written so far, the oldest first. Raises OSError."""
        return list(_read(self._path))

    def blank(self, must_go: Callable[[str, bytes], bool]) -> int:
        """Take away the payloads that must go, by the segment they are of, of letters written so far; returns
        how many. Raises OSError."""
        kept, gone = [], 0
        for letter in _read(self._path):
            payload = letter.payload.encode("utf-8", "replace")
            if payload and must_go(letter.segment, payload):
                why = f"{letter.why}; blanked, as somebody was erased"
                letter = msgspec.structs.replace(letter, payload="", why=why)  # noqa: PLW2901 - what it is now
                gone += 1
            kept.append(letter)
        if gone:
            self._write(kept)
        return gone

    def remove(self, places: Collection[Place]) -> None:
        """Take these letters out of the file, on disk when this returns: what they hold is kept elsewhere.
        Raises OSError."""
        kept = [letter for letter in _read(self._path) if letter.place not in places]
        self._write(kept)

    def _write(self, letters: Iterable[Letter]) -> None:
        replace_file(self._path, (msgspec.json.encode(letter) + b"\n" for letter in letters))
        self._dirty = False
        self._newest = deque(_read_newest(self._path), SHOWN_MAX)

    def forget(self, segment: str) -> None:
        """The segment is gone and will not be tried again."""
        self._seen = {seen for seen in self._seen if seen[0] != segment}


def _write_whole(descriptor: int, line: bytes, held: int) -> None:
    """Append a line, or nothing: half a line would spoil the next one. Raises OSError."""
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, held)
        raise


def _read(path: Path) -> Iterator[Letter]:
    """The letters of a file, the oldest first; what is no letter is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    yield from _letters(path, lines)


def _read_newest(path: Path) -> list[DeadLetter]:
    """The last letters of the file, the newest last."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    return list(map(shown, _letters(path, lines[1 if start else 0 :][-SHOWN_MAX:])))


def _letters(path: Path, lines: Iterable[bytes]) -> Iterator[Letter]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Letter)
        except msgspec.DecodeError:
            log.warning("a line of %s is no dead letter", path)


def shown(letter: Letter) -> DeadLetter:
    """How a letter begins."""
    return DeadLetter(
        segment=letter.segment,
        offset=letter.offset,
        why=letter.why,
        bytes=len(letter.payload.encode()),
        excerpt=letter.payload[: SEALED_CHARS_MAX if letter.payload.startswith(PREFIX) else EXCERPT_CHARS],
    )
