"""An answer from the cache, as any other answer to whoever records it and to its client."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from airboss.domain.record import ClosedCall
from airboss.gateway.answer import DONE, WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.heads import response_head
from airboss.gateway.replay import events_of
from airboss.gateway.spoken import Client
from airboss.gateway.taking import EVENT_STREAM
from airboss.gateway.worker import Admitted
from airboss.providers.compatible import read_reply


class Kept(WholeAnswer):
    """An answer that is there: no attempt brought it."""

    def __init__(self, answer: bytes, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("cache", loop)
        self.status = 200
        self._take_in(answer, read_reply(answer))


def give_kept(
    client: Client, call: Admitted, dispatched: Dispatched, answer: bytes, closed: ClosedCall
) -> None:
    """Give the client a kept answer, as a stream where it asked for one."""
    if not call.request.stream:
        head = response_head(call, dispatched, b"application/json", closed.overhead_ms)
        cost = closed.cost_usd if closed.attempts else Decimal(0)
        if cost is not None:
            head += b"x-airboss-cost-usd: %s\r\n" % format(cost, "f").encode()
        client.respond(200, head, answer)
        return
    events = events_of(answer, with_usage=call.request.wants_usage)
    client.start_stream(
        200, response_head(call, dispatched, EVENT_STREAM, closed.overhead_ms), b"".join(events)
    )
    client.end_stream(DONE)
