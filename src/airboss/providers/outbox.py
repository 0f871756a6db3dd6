"""Writes held to the end of the event loop's turn, then made one after another.

A write that finds its reader asleep has to wake it, and the writer pays for that: a third of what a small
write costs. Spread over a turn, between the parsing of one message and the next, each write finds its reader
asleep again; made in a row, only the first does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from airboss.domain.errors import ApiError

HELD_MAX = 64
"""Writes held before they are made without waiting for the turn's end."""
LONG_BYTES = 16 * 1024
"""From so many bytes on a write is made in pieces: to join them would be to copy them."""


class Pieces(msgspec.Struct, frozen=True):
    """Bytes that lie in several places."""

    parts: tuple[bytes | memoryview, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


def behind(head: bytes, body: bytes | Pieces) -> bytes | Pieces:
    """A message of `head` and `body`."""
    if isinstance(body, Pieces):
        return Pieces((head, *body.parts))
    return head + body if len(body) < LONG_BYTES else Pieces((head, body))


Unsent = Callable[[ApiError], None]
"""Told why a write is not made; closes the transport."""


def _go_on() -> ApiError | None:
    return None


T = TypeVar("T")


def _nothing(these: Sequence[Any]) -> None:
    del these


class Outbox:
    """Holds writes of any number of transports; those of one transport keep their order.

    A transport that may have writes here is closed by `close`, or they are lost; `abort` is to lose them.
    """

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes | Pieces, Unsent | None]] = []
        self._soon = False
        self._later: list[Any] = []
        self._conclude: Callable[[Sequence[Any]], None] = _nothing
        self.before: Callable[[], ApiError | None] = _go_on
        """Called before the writes are made; where it says why not, they are not."""

    def write(self, transport: asyncio.Transport, data: bytes | Pieces, unsent: Unsent | None = None) -> None:
        """Write `data` before the loop waits for anything again. Where it may not be, the transport is
        aborted, or `unsent` told."""
        if not self._soon:
            self.soon()
        held = self._held
        held.append((transport, data, unsent))
        if len(held) >= HELD_MAX:
            self.flush()

    def soon(self) -> None:
        """Flush before the loop waits for anything again."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._turn_ends)

    def later(self, conclude: Callable[[Sequence[T]], None], what: T) -> None:
        """Call `conclude`, always the same, before the loop waits for anything again, with all that this was
        told of until then; what it writes goes with the other writes held. It must not raise."""
        if not self._soon:
            self.soon()
        self._conclude = conclude
        self._later.append(what)

    def close(self, transport: asyncio.Transport) -> None:
        """Make the writes held, then close `transport`."""
        self.flush()
        transport.close()

    def _turn_ends(self) -> None:
        try:
            self.flush()  # and with it what is held in the course of that: no turn more for it
        finally:
            self._soon = False
            if self._held or self._later:
                self.soon()

    def flush(self) -> None:
        """Make the writes held; those of a transport that has gone are dropped."""
        if self._later:
            later, self._later = self._later, []
            self._conclude(later)
        held, self._held = self._held, []
        refusal = self.before()
        for transport, data, unsent in held:
            if transport.is_closing():
                continue
            if refusal is not None:
                if unsent is None:
                    transport.abort()
                else:
                    unsent(refusal)
            elif isinstance(data, Pieces):
                transport.writelines(data.parts)
            else:
                transport.write(data)
