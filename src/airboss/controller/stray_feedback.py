"""Feedback whose record never came, or is another key's: put away as dead letters after a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec

from airboss.controller.dead_letters import DeadLetters
from airboss.domain.ports import Clock, RecordFilter, RecordLog

WAIT: Final = timedelta(minutes=10)
"""From when feedback was moved. A call that is still open is waited for however long it takes."""
EVERY_S: Final = 10.0
AT_ONCE: Final = 100


class StrayFeedback:
    """Looks for it now and then; `count` is how much was put away. Killed between writing a letter and
    dropping what it holds, it writes the letter again."""

    def __init__(self, record_log: RecordLog, clock: Clock, letters: DeadLetters) -> None:
        self._log = record_log
        self._clock = clock
        self._letters = letters
        self._next_at = 0.0
        self.count = 0

    def put_away(self) -> None:
        """Put away what has waited too long, if it is time to look. Raises StoreUnavailable, OSError."""
        if self._clock.monotonic() < self._next_at:
            return
        found = self._log.stray_scores(self._clock.now() - WAIT, limit=AT_ONCE)
        for score in found:
            known = self._log.records(RecordFilter(id=score.subject_id), limit=1, bodies=False)
            why = "its record is another key's" if known else "its record has not come"
            if self._letters.add(f"feedback/{score.id}", 0, why, msgspec.json.encode(score)):
                self.count += 1
        if found:
            self._letters.sync()
            self._log.drop_scores([score.id for score in found])
        if len(found) < AT_ONCE:
            self._next_at = self._clock.monotonic() + EVERY_S
