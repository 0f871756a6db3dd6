"""Two attempts of one call, where the first is slow to begin: the quicker one answers, the other is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from airboss.domain.errors import ApiError
from airboss.gateway.answer import AnyAnswer
from airboss.gateway.judge import HedgeLost

HEDGES_FREE = 1
"""The first may come before the share allows one."""
HEDGES_SAVED = 100
"""So much of the share is saved up: were it all, a provider that has been quick for a day and then is not
would get twice the calls just when it is slow."""


class Hedges:
    """How many second attempts a deployment's calls have had."""

    __slots__ = ("calls", "made")

    def __init__(self) -> None:
        self.calls = 0
        self.made = 0
        """Hedges that were made, and those that were allowed, not made, and are allowed no more."""

    def may(self, extra: float) -> bool:
        """Whether one more is within the share `extra` of the calls; takes it."""
        allowed = HEDGES_FREE + extra * self.calls
        if self.made >= allowed:
            return False
        self.made = max(self.made, int(allowed) - HEDGES_SAVED) + 1
        return True


class Chosen(Protocol):
    """Where the answer that counts is kept."""

    answer: AnyAnswer | None


Beside = Callable[[float], "tuple[AnyAnswer, asyncio.Task[None]] | None"]
"""Begins the second attempt, after so many seconds; None where there may be none."""


async def race(
    first: AnyAnswer, trying: asyncio.Task[None], after_s: Iterable[float], beside: Beside, *, chosen: Chosen
) -> AnyAnswer:
    """The answer of `first`, which `trying` attempts, or of another begun without any output after the first
    of `after_s`, in their order, at which there may be one. Raises the ApiError of the one that ends last."""
    running, waited_s = {trying: first}, 0.0
    try:
        for each_s in after_s:
            await asyncio.wait(running, timeout=each_s - waited_s)
            waited_s = each_s
            if trying.done() or first.first_output_at is not None:
                break
            second = beside(each_s)
            if second is not None:
                running[second[1]] = second[0]
                break
        while True:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                answer = running.pop(task)
                error = task.exception()
                if error is None:
                    chosen.answer = answer
                    return answer
                lost = isinstance(error, HedgeLost) and running
                if not lost and (answer.committed or not running or not isinstance(error, ApiError)):
                    chosen.answer = answer
                    raise error
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
