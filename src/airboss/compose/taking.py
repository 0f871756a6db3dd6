"""Waiting until what was changed is served: who has been told that it is done may rely on it at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from airboss.telemetry.metrics import Counts

TAKEN_S: Final = 1.0
"""Who takes longer, being busy, is not waited for."""
LOOK_S: Final = 0.1
ALIVE: Final = timedelta(seconds=3)
"""A gateway tells of itself every second, and whenever it serves something new."""


def wait_until_taken(revision: int, counts: Callable[[], Mapping[str, Counts]]) -> None:
    """Return once every gateway of this machine serves what the ledger has, or after TAKEN_S."""
    until = time.monotonic() + TAKEN_S
    while any(each < revision for each in served(counts())) and time.monotonic() < until:
        time.sleep(LOOK_S)  # they tell by files, which wake nobody


def served(counts: Mapping[str, Counts]) -> list[int]:
    """Which state of the ledger each living gateway serves."""
    since = datetime.now(UTC) - ALIVE
    return [each.revision for each in counts.values() if each.revision and each.written_at >= since]
