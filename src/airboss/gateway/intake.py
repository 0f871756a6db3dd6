"""Requests that came in one turn of the event loop: all are read, then all are begun.

Read one by one, each in the midst of its call, they cost half as much again: between its steps the processor
forgets their code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final

from airboss.domain.request import Operation
from airboss.gateway import wire
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.splice import LONG

_OPERATIONS: Final[dict[str, Operation]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
}


class Waiting:
    """What a task awaits for its next request, again and again: a future that resumes it at once and not by
    way of the loop. Awaited by one task only."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_loop", "_resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resume: Callable[[Waiting], object] | None = None
        self._cancelled = False
        self._asyncio_future_blocking = False

    def over(self) -> None:
        """Resume the task; not from within another task."""
        if self._resume is not None:
            # Never in a variable: a cancelled task's traceback would keep this frame, and that the task.
            self._taken()(self)

    def _taken(self) -> Callable[[Waiting], object]:
        resume, self._resume = self._resume, None
        assert resume is not None  # as was just seen
        return resume

    # -- what a task asks of a future

    def __await__(self) -> Generator[Waiting, None, None]:
        """Wait."""
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the task."""
        return self._loop

    def add_done_callback(self, resume: Callable[[Waiting], object], *, context: object = None) -> None:
        """Take the task's way to be resumed, which knows its context."""
        del context
        self._resume = resume

    def cancel(self, msg: object = None) -> bool:
        """Whether the task waited: it is resumed by the loop, as cancelled."""
        del msg
        if self._resume is None:
            return False
        self._cancelled = True
        self._loop.call_soon(self.over)
        return True

    def result(self) -> None:
        """Nothing, or raise CancelledError."""
        if self._cancelled:
            raise asyncio.CancelledError


class Intake:
    """One worker's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._came: list[tuple[HttpRequest, Waiting]] = []

    def add(self, request: HttpRequest, waiting: Waiting) -> None:
        """Have a request read, and who waits for it resumed, before the loop waits for anything again."""
        if not self._came:
            self._loop.call_soon(self._begin)
        self._came.append((request, waiting))

    def _begin(self) -> None:
        came, self._came = self._came, []
        for request, _ in came if len(came) > 1 else ():
            operation = _OPERATIONS.get(request.path)
            # A long one is read in its call, whose steps share what is found in it.
            if operation is not None and len(request.body) < LONG:
                with suppress(Exception):  # it is read again where that is an answer
                    request.read = wire.parse_body(operation, request.body)
        for _, waiting in came:
            waiting.over()
