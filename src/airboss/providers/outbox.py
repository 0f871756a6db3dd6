"""Writes held to the end of the event loop's turn, then made one after another.

A write that finds its reader asleep has to wake it, and the writer pays for that: a third of what a small
write costs. Spread over a turn, between the parsing of one message and the next, each write finds its reader
asleep again; made in a row, only the first does.
"""

from __future__ import annotations

import asyncio

HELD_MAX = 64
"""Writes held before they are made without waiting for the turn's end."""


class Outbox:
    """Holds writes of any number of transports; those of one transport keep their order.

    A transport that may have writes here is closed by `close`, or they are lost; `abort` is to lose them.
    """

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write `data` before the loop waits for anything again."""
        held = self._held
        if not held:
            asyncio.get_running_loop().call_soon(self.flush)
        held.append((transport, data))
        if len(held) >= HELD_MAX:
            self.flush()

    def close(self, transport: asyncio.Transport) -> None:
        """Make the writes held, then close `transport`."""
        self.flush()
        transport.close()

    def flush(self) -> None:
        """Make the writes held; those of a transport that has gone are dropped."""
        held, self._held = self._held, []
        for transport, data in held:
            if not transport.is_closing():
                transport.write(data)
