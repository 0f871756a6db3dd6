"""Frames that cannot become records, and feedback without a record, kept for a person to look at."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

BYTES_MAX: Final = 64 * 1024 * 1024

log = logging.getLogger(__name__)


class DeadLetters:
    """A file of JSON lines `{"segment", "offset", "why", "payload"}`, at most 64 MB of them; `count` counts
    those beyond that too. A frame is added once, however often its move is tried."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[str, int]] = set()
        self.count = 0

    def add(self, segment: str, offset: int, why: str, payload: bytes) -> None:
        """Put one away. Raises OSError."""
        if (segment, offset) in self._seen:
            return
        letter = {
            "segment": segment,
            "offset": offset,
            "why": why,
            "payload": payload.decode(errors="replace"),
        }
        line = msgspec.json.encode(letter) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(line) <= BYTES_MAX:
                os.write(descriptor, line)
        finally:
            os.close(descriptor)
        self._seen.add((segment, offset))
        self.count += 1
        log.error("put away as a dead letter: journal %s at %d (%s)", segment, offset, why)

    def blank(self, must_go: Callable[[bytes], bool]) -> int:
        """Take away the payloads that must go, of letters written so far; returns how many. Raises
        OSError."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return 0
        kept, gone = [], 0
        for line in lines:
            letter = msgspec.json.decode(line)
            if letter["payload"] and must_go(letter["payload"].encode("utf-8", "replace")):
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
        return gone

    def forget(self, segment: str) -> None:
        """The segment is gone and will not be tried again."""
        self._seen = {seen for seen in self._seen if seen[0] != segment}
