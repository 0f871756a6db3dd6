"""A share of the event loop's turns, for work that comes in heaps.

Hundreds of streams may end in one turn, when a client or a provider is gone, and to count what each has used
takes from half a millisecond to ten. So that nobody else waits for all of them, work of that kind has a share
of each turn, and what is over goes on in the next, in its order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
THREAD_BYTES: Final = 64 * 1024
"""More takes a thread: others should not wait for a megabyte of numbers."""
APART_BYTES: Final = 1024 * 1024
"""More is done by one after another, so that not all of it is in the memory at once."""
SHARE_S: Final = 0.01
OTHERS_S: Final = 0.25
"""Time enough for small calls, from request to answer, on a busy machine too."""


class Share:
    """One event loop's."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began: float | None = None
        """When the first of this turn began."""

    async def mine(self) -> None:
        """Return at once while the turn has some left, else in a later one; the work follows right behind."""
        while True:
            now = self._clock()
            if self._began is None:
                self._began = now
                asyncio.get_running_loop().call_soon(self._turn_ends)
            if now - self._began < SHARE_S:
                return
            await asyncio.sleep(0)

    def _turn_ends(self) -> None:
        self._began = None


class Spaced:
    """One event loop's, for work that may take long at once: each in a turn of its own, and after one that
    took longer than a share the loop is the others' for as long again, OTHERS_S at most. What other processes
    took meanwhile does not count."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()

    async def mine(self) -> None:
        """Return when it may begin, at once where nobody has; the work follows right behind."""
        await self._lock.acquire()
        asyncio.get_running_loop().call_soon(self._turn_ends, self._clock())

    def _turn_ends(self, began: float) -> None:
        took = self._clock() - began
        if took < SHARE_S:
            self._lock.release()
        else:
            asyncio.get_running_loop().call_later(min(took, OTHERS_S), self._lock.release)


async def apart(gate: asyncio.Semaphore, work: Callable[[], T]) -> T:
    """Do it in a thread, once the gate lets it. Whoever asked for it may leave: what has begun goes on, as no
    thread can be stopped, and the gate knows of it until it is over."""
    async with gate:
        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(working)
        finally:
            await asyncio.gather(working, return_exceptions=True)


async def by_size(size: int, gate: asyncio.Semaphore, work: Callable[[], T]) -> T:
    """Do what takes the longer, and the more memory, the more bytes it is about."""
    if size < THREAD_BYTES:
        return work()
    return await (asyncio.to_thread(work) if size <= APART_BYTES else apart(gate, work))
