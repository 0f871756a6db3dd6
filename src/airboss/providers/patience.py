"""Time-outs that do not blame others for a loop that was held up."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

LATE_S = 0.05
"""How long a loop that was held up has for what came meanwhile."""


class Awake:
    """How long a loop has run, counted in steps: one in which it is held up counts as any other."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


class within:  # noqa: N801 - as `asyncio.timeout`, for which it stands
    """As `asyncio.timeout`, but what has come by then is read first: after it was held up a loop looks at its
    timers before it reads."""

    __slots__ = ("_seconds", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._timeout = timeout = asyncio.timeout(None)
        await timeout.__aenter__()
        self._timer = loop.call_later(self._seconds, lambda: timeout.reschedule(loop.time() + LATE_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)
