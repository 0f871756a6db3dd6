"""Record ids: UUIDv7 (RFC 9562, section 5.7), in the order they were made."""

from __future__ import annotations

import os
import random
from typing import Final

STEP_MS_MAX: Final = 3_600_000
"""A clock that steps back further was wrong, and its time is forgotten."""


class RecordIds:
    """Makes ids that grow, even within a millisecond and when the clock steps back, but for a step of more
    than STEP_MS_MAX: ids that stayed ahead of the clock for days would keep all that goes by them waiting."""

    def __init__(self) -> None:
        self._last_ms = 0
        self._time = _time_of(0)
        self._counter = 0
        # Ids must be unique, not secret: a seeded generator spares a system call for each.
        self._random = random.Random(os.urandom(32))  # noqa: S311

    def begin_after(self, unix_ms: int) -> None:
        """Make only ids that are later than all of a last life, which ended then: the clock may have stepped
        back meanwhile."""
        self._last_ms = unix_ms
        self._time = _time_of(unix_ms)
        self._counter = 0xFFF

    def next(self, unix_ms: int) -> str:
        """A new id. The 12 bits after the time count the ids of one millisecond; 62 bits are random."""
        if unix_ms == self._last_ms and self._counter < 0xFFF:
            self._counter += 1
        else:
            self._go_on(unix_ms)
        # `hex` writes `0x` first; the variant fills the first digit, so that all of them are there.
        noise = hex(0x8000_0000_0000_0000 | self._random.getrandbits(62))
        return f"{self._time}-7{self._counter:03x}-{noise[2:6]}-{noise[6:]}"

    def _go_on(self, unix_ms: int) -> None:
        wrong = unix_ms < self._last_ms - STEP_MS_MAX
        if unix_ms > self._last_ms or self._counter == 0xFFF or wrong:
            self._last_ms = unix_ms if wrong else max(unix_ms, self._last_ms + 1)
            self._time = _time_of(self._last_ms)
            self._counter = 0
        else:
            self._counter += 1


def _time_of(unix_ms: int) -> str:
    return f"{unix_ms >> 16:08x}-{unix_ms & 0xFFFF:04x}"
