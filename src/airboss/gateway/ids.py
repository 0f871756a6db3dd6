"""Record ids: UUIDv7 (RFC 9562, section 5.7), in the order they were made."""

from __future__ import annotations

import os
import random


class RecordIds:
    """Makes ids that grow, even within a millisecond and when the clock steps back."""

    def __init__(self) -> None:
        self._last_ms = 0
        self._counter = 0
        # Ids must be unique, not secret: a seeded generator spares a system call for each.
        self._random = random.Random(os.urandom(32))  # noqa: S311

    def next(self, unix_ms: int) -> str:
        """A new id. The 12 bits after the time count the ids of one millisecond; 62 bits are random."""
        if unix_ms > self._last_ms:
            self._last_ms, self._counter = unix_ms, 0
        else:
            self._counter += 1
            if self._counter > 0xFFF:
                self._last_ms, self._counter = self._last_ms + 1, 0
        noise = self._random.getrandbits(62)
        value = self._last_ms << 80 | 0x7000 << 64 | self._counter << 64 | 0x8000_0000_0000_0000 | noise
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
