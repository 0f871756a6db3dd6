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
        # Ids must be unique, not secret: a seeded generator spares a system call for each millisecond.
        self._random = random.Random(os.urandom(32))  # noqa: S311
        self._begin(0)

    def begin_after(self, unix_ms: int) -> None:
        """Make only ids that are later than all of a last life, which ended then: the clock may have stepped
        back meanwhile."""
        self._begin(unix_ms)
        self._counter = 0xFFF

    def next(self, unix_ms: int) -> str:
        """A new id. The 12 bits after the time count the ids of one millisecond; the 62 bits behind them are
        drawn for each millisecond, so that no two workers make the same, and the count is in the last of them
        too: these 62 are the call's span in a trace, which other calls of that millisecond may be in."""
        if unix_ms == self._last_ms and self._counter < 0xFFF:
            self._counter += 1
        else:
            self._go_on(unix_ms)
        return f"{self._time}-7{self._counter:03x}-{self._noise}{self._counter ^ self._last_bits:03x}"

    def _go_on(self, unix_ms: int) -> None:
        wrong = unix_ms < self._last_ms - STEP_MS_MAX
        if unix_ms > self._last_ms or self._counter == 0xFFF or wrong:
            self._begin(unix_ms if wrong else max(unix_ms, self._last_ms + 1))
        else:
            self._counter += 1

    def _begin(self, unix_ms: int) -> None:
        """Begin a millisecond."""
        self._last_ms, self._counter = unix_ms, 0
        self._time = f"{unix_ms >> 16:08x}-{unix_ms & 0xFFFF:04x}"
        # The variant fills the first digit, so that all of them are there.
        drawn = 0x8000_0000_0000_0000 | self._random.getrandbits(62)
        noise, self._last_bits = f"{drawn >> 12:x}", drawn & 0xFFF
        self._noise = f"{noise[:4]}-{noise[4:]}"
