"""Requests that came in one turn of the event loop: all are read, then all are admitted, then all are sent.

One by one, each in the midst of its call, these steps cost half as much again: between them the processor
forgets their code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from airboss.domain.ports import Clock
from airboss.domain.request import Operation
from airboss.gateway import wire
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.splice import LONG

if TYPE_CHECKING:
    from airboss.gateway.http1 import Connection

log = logging.getLogger("airboss.gateway")
_OPERATIONS: Final[dict[str, Operation]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
}


class Intake:
    """One worker's. `now` is when what is begun in this turn is: one look at the clock for all of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop, self._clock = loop, clock
        self._look_at_clock()
        self._came: list[tuple[HttpRequest, Connection]] = []
        self._admitted: list[Callable[[], None]] = []

    def add(self, request: HttpRequest, connection: Connection) -> None:
        """Have a request read and begun before the loop waits for anything again."""
        if not self._came:
            self._loop.call_soon(self._begin)
        self._came.append((request, connection))

    def then(self, send: Callable[[], None]) -> None:
        """Have what was just begun sent on, once all of this turn are; `send` must not raise."""
        self._admitted.append(send)

    def _look_at_clock(self) -> None:
        self.now = self._clock.now()
        self.now_ms = int(self.now.timestamp() * 1000)

    def _begin(self) -> None:
        self._look_at_clock()
        came, self._came = self._came, []
        for request, _ in came if len(came) > 1 else ():
            operation = _OPERATIONS.get(request.path)
            # A long one is read in its call, whose steps share what is found in it.
            if operation is not None and len(request.body) < LONG:
                try:  # noqa: SIM105 - `suppress` is three calls more
                    request.read = wire.parse_body(operation, request.body)
                except Exception:  # noqa: BLE001, S110 - it is read again where that is an answer
                    pass
        for _, connection in came:
            try:
                connection.begin()
            except Exception:  # the others of this turn are to be served
                log.exception("a request cannot be answered; its connection is cut")
                connection.abort()
        admitted, self._admitted = self._admitted, []
        for send in admitted:
            send()
