"""What every page and API call works with, and the one way it reads: in a thread, bounded in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread

from airboss.console.live import Live
from airboss.console.session import Attempts, Sessions
from airboss.domain.errors import StoreUnavailable
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Clock, Ledger, RecordFilter, RecordLog
from airboss.domain.status import SystemStatus

T = TypeVar("T")

READERS_MAX = 8
READ_S = 20.0
"""The longest one page may read. The thread may go on after that; it is bounded by the log's own client."""

Apply = Callable[[str, str], ServingPlan]
"""Applies a configuration: its text and the name of its source, usually a file; returns the plan published.
Raises ConfigError where it is wrong."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The ports, the keys, and what the process keeps between requests. `base_url` ends with `/v1`."""

    ledger: Ledger
    log: RecordLog
    admin_key: str
    sessions: Sessions
    clock: Clock
    status: Callable[[], SystemStatus]
    apply: Apply
    base_url: str
    attempts: Attempts = field(default_factory=Attempts)
    live: Live
    readers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS_MAX))

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread. Raises StoreUnavailable when it takes longer than `READ_S`."""
        try:
            with anyio.fail_after(READ_S):
                return await anyio.to_thread.run_sync(work, limiter=self.readers, abandon_on_cancel=True)
        except TimeoutError:
            message = f"no answer within {READ_S:.0f} s; choose a shorter time, or look at `airboss status`"
            raise StoreUnavailable(message) from None


def newest_of(log: RecordLog) -> str | None:
    """The id of the newest record."""
    found = log.records(RecordFilter(), limit=1, bodies=False)
    return found[0].id if found else None
