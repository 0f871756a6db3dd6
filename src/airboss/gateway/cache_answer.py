"""An answer from the cache, as any other answer to whoever records it and to its client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from airboss.domain.errors import UpstreamTimeout
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.deadline import bound, left_s, raised
from airboss.gateway.heads import EVENT_STREAM, ours_ms, response_head
from airboss.gateway.replay import events_of
from airboss.gateway.spoken import Client
from airboss.gateway.worker import Admitted
from airboss.providers.compatible import read_reply

PIECE_BYTES = 16 * 1024
"""About so much of a stream goes out in one turn of the event loop."""


class Kept(WholeAnswer):
    """An answer that is there: no attempt brought it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("cache")
        self.status = 200
        self._take_in(answer, read_reply(answer))

    async def stream(self, client: Client, call: Admitted, dispatched: Dispatched) -> None:
        """Give it as a stream's events, as fast as the client reads them; its end waits for the record.
        Raises UpstreamTimeout where the client has not read it in the time of the whole call."""
        timeout = call.deployment.timeout
        self.committed = False  # nothing of it is the client's yet
        try:
            async with asyncio.timeout(left_s(timeout)):
                await self._stream(client, call, dispatched)
        except TimeoutError:
            raise UpstreamTimeout(
                f"the answer was not read within {bound(timeout)}; read faster, or {raised(timeout)}",
                code="timeout_total",
            ) from None

    async def _stream(self, client: Client, call: Admitted, dispatched: Dispatched) -> None:
        readable = asyncio.Event()

        def heed(writable: bool) -> None:  # noqa: FBT001 - called back by position
            (readable.set if writable else readable.clear)()

        client.on_writable = heed
        heed(client.writable)
        head = response_head(call, dispatched, EVENT_STREAM, ours_ms(dispatched))
        for number, piece in enumerate(_pieces(events_of(self.content, with_usage=call.request.wants_usage))):
            if number:
                client.stream(piece)
            else:
                client.start_stream(200, head, piece)
                self.committed = True
            await asyncio.sleep(0)
            await readable.wait()


def _pieces(events: Iterable[bytes]) -> Iterable[bytes]:
    """Whole events, some at a time."""
    piece, size = list[bytes](), 0
    for event in events:
        piece.append(event)
        size += len(event)
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)
