"""Frames that cannot become records, and feedback without a record, kept for a person to look at."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from airboss.domain.status import DeadLetter
from airboss.store.sealed_marks import PREFIX

BYTES_MAX: Final = 64 * 1024 * 1024
SHOWN_MAX: Final = 20
EXCERPT_CHARS: Final = 200
SEALED_CHARS_MAX: Final = 64 * 1024
"""So much is shown of what is sealed, so that who may open it can show how it begins."""
TAIL_BYTES: Final = 1024 * 1024
"""So much of the file is read for the newest when a controller starts."""

log = logging.getLogger(__name__)


class DeadLetters:
    """A file of JSON lines `{"segment", "offset", "why", "payload"}`, at most 64 MB of them; `count` counts
    those beyond that too. A frame is added once, however often its move is tried. One thread calls it; any
    may ask for the `newest`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[str, int]] = set()
        self.count = 0
        self._newest = deque(_read_newest(path), SHOWN_MAX)

    def newest(self) -> tuple[DeadLetter, ...]:
        """Those put away last, by earlier processes too; the newest first."""
        return tuple(reversed(self._newest.copy()))

    def add(self, segment: str, offset: int, why: str, payload: bytes) -> bool:
        """Put one away; whether it was not there yet. Raises OSError."""
        if (segment, offset) in self._seen:
            return False
        letter = {
            "segment": segment,
            "offset": offset,
            "why": why,
            "payload": payload.decode(errors="replace"),
        }
        line = msgspec.json.encode(letter) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            if held + len(line) <= BYTES_MAX:
                _write_whole(descriptor, line, held)
        finally:
            os.close(descriptor)
        self._seen.add((segment, offset))
        self.count += 1
        self._newest.append(_shown(letter))
        log.error("put away as a dead letter: journal %s at %d (%s)", segment, offset, why)
        return True

    def blank(self, must_go: Callable[[str, bytes], bool]) -> int:
        """Take away the payloads that must go, by the segment they are of, of letters written so far; returns
        how many. Raises OSError."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return 0
        kept, gone = [], 0
        for line in lines:
            letter = msgspec.json.decode(line)
            if letter["payload"] and must_go(letter["segment"], letter["payload"].encode("utf-8", "replace")):
                letter |= {"payload": "", "why": f"{letter['why']}; blanked, as somebody was erased"}
                gone += 1
            kept.append(msgspec.json.encode(letter) + b"\n")
        if gone:
            beside = self._path.with_name(f"{self._path.name}.new")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self._newest = deque(_read_newest(self._path), SHOWN_MAX)
        return gone

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


def _read_newest(path: Path) -> list[DeadLetter]:
    """The last letters of the file, the newest last; what is no letter is passed over."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines[1 if start else 0 :][-SHOWN_MAX:]:
        try:
            found.append(_shown(msgspec.json.decode(line)))
        except (msgspec.DecodeError, KeyError, TypeError):
            log.warning("a line of %s is no dead letter", path)
    return found


def _shown(letter: dict[str, Any]) -> DeadLetter:
    payload = letter["payload"]
    return DeadLetter(
        segment=letter["segment"],
        offset=letter["offset"],
        why=letter["why"],
        bytes=len(payload.encode()),
        excerpt=payload[: SEALED_CHARS_MAX if payload.startswith(PREFIX) else EXCERPT_CHARS],
    )
