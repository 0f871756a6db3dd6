"""What a process does beside its main work: each work in a thread of its own, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

log = logging.getLogger(__name__)

ENDS_S: Final = 20.0
"""So long a process waits for its works to end. One may wait for a database that hangs, and whatever it is at
may be killed at any moment."""

Work = Callable[[threading.Event], None]
"""What is done until the event is set."""


@contextmanager
def at_work(works: Mapping[str, Work], *, broke: Callable[[], None]) -> Iterator[None]:
    """These are done until the end of the block. `broke` is called if one ends by a defect: a process that
    does only a part of what it is for must not look alive."""
    stop = threading.Event()

    def run(name: str, work: Work) -> None:
        try:
            work(stop)
        except BaseException:
            log.exception("%s ended by a defect, and so does this process", name)
            broke()

    threads: list[threading.Thread] = []
    try:
        for name, work in works.items():
            thread = threading.Thread(target=run, args=(name, work), name=name, daemon=True)
            thread.start()
            threads.append(thread)
        yield
    finally:
        stop.set()
        by = time.monotonic() + ENDS_S
        for thread in threads:
            thread.join(max(0.0, by - time.monotonic()))
            if thread.is_alive():
                log.warning("%s has not ended in %.0f s, and is left", thread.name, ENDS_S)


def in_a_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> Work:
    """Asynchronous work, in an event loop of its own."""

    async def until(stop: threading.Event) -> None:
        task = asyncio.ensure_future(work())
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def listen() -> None:
            stop.wait()
            with suppress(RuntimeError):  # the loop ended first
                loop.call_soon_threadsafe(told.set)

        # A thread that sleeps: looking five times a second, each loop took a thousandth of a core.
        threading.Thread(target=listen, name="stop", daemon=True).start()
        stopped = asyncio.ensure_future(told.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            stopped.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    return lambda stop: asyncio.run(until(stop))
