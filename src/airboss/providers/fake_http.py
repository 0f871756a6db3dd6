"""One connection of the fake provider: reads requests with httptools, plays prepared steps on the wire."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections import deque
from typing import Protocol, cast

import httptools

from airboss.domain.errors import BodyTooLarge, InvalidRequest
from airboss.providers.fake_choose import Prepared, RawHeaders
from airboss.providers.fake_stats import Exchange, Tally
from airboss.providers.fake_wire import End, Outage, Step, refuse

BODY_BYTES_MAX = 64 * 1024 * 1024
HEADERS_MAX = 1_000
PIPELINED_MAX = 64
WHOLE_THOUGH_CLOSED = ("close-delimited", "close-keep-alive")

_LINGER_NOT = struct.pack("ii", 1, 0)
_IDS = itertools.count(1)


class House(Protocol):
    """What a connection needs of the process it belongs to."""

    tally: Tally
    connections: set[Connection]

    def prepare(self, method: bytes, target: bytes, headers: RawHeaders, body: bytes) -> Prepared:
        """The answer to a request."""

    def control(self, method: bytes, target: bytes, body: bytes) -> bytes:
        """The whole response to a call of `/_fake/…`."""

    def outage(self, for_s: float | None) -> None:
        """Refuse connections for so long, or until a reset."""


class Connection(asyncio.Protocol):
    """Answers one request after the other, in order; more than that wait, bounded."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._id = next(_IDS)
        self._transport: asyncio.Transport
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._waiting: deque[tuple[Exchange, Prepared, bool]] = deque()
        self._exchange: Exchange | None = None
        self._steps: tuple[Step, ...] = ()
        self._at = 0
        self._keep_alive = True
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._full = False

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast("asyncio.Transport", transport)
        self._house.connections.add(self)
        self._house.tally.connections += 1
        self._house.tally.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client has gone, or was sent away; what was not answered by then was cancelled."""
        self._house.connections.discard(self)
        self._house.tally.open_connections -= 1
        if self._timer is not None:
            self._timer.cancel()
        left = [waiting for waiting, _, _ in self._waiting]
        for exchange in (self._exchange, *left):
            if exchange is not None:
                self._house.tally.end(exchange, "cancelled")
        self._exchange = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a defect of ours: show it
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._transport.write(refuse(InvalidRequest(f"this is not HTTP/1.1: {error}")))
            self._transport.close()

    def pause_writing(self) -> None:
        """The client reads too slowly: hold the next step back."""
        self._full = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        if self._exchange is not None and self._timer is None:
            self._play()

    def abort(self) -> None:
        """Reset the connection: the client sees ECONNRESET, not an end."""
        peer = self._transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()

    # --- the parser's side

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The request's target, perhaps in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if len(self._headers) < HEADERS_MAX:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there; a client that asks whether to go on is told to."""
        if len(self._headers) < HEADERS_MAX and any(name.lower() == b"expect" for name, _ in self._headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body; nothing beyond the bound is kept."""
        self._body_bytes += len(body)
        if self._body_bytes <= BODY_BYTES_MAX:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is there: prepare its answer and begin."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method()
        if self._target.startswith(b"/_fake/"):
            self._transport.write(self._house.control(method, self._target, body))
            return
        exchange = self._house.tally.begin(self._id)
        exchange.method = method
        exchange.path = self._target
        exchange.headers = self._headers
        exchange.keep(body)
        if self._body_bytes > BODY_BYTES_MAX:
            large = BodyTooLarge(f"the body has {self._body_bytes} bytes; at most {BODY_BYTES_MAX} are read")
            prepared = Prepared("ok", (refuse(large), End.CLOSE))
        else:
            prepared = self._house.prepare(method, self._target, self._headers, body)
        exchange.fault = prepared.fault
        keep_alive = self._parser.should_keep_alive()
        if self._exchange is None:
            self._begin(exchange, prepared, keep_alive=keep_alive)
        elif len(self._waiting) < PIPELINED_MAX:
            self._waiting.append((exchange, prepared, keep_alive))
        else:
            self.abort()

    # --- playing

    def _begin(self, exchange: Exchange, prepared: Prepared, *, keep_alive: bool) -> None:
        self._exchange = exchange
        self._steps = prepared.steps
        self._at = 0
        self._keep_alive = keep_alive
        self._due = 0.0
        self._play()

    def _play(self) -> None:
        """Do steps until one has to be waited for. Waits are counted from the last one's due time, so
        that a pace of 20 a second stays one, however late each timer fires."""
        self._timer = None
        while not self._full:
            step = self._steps[self._at]
            self._at += 1
            if isinstance(step, bytes):
                self._transport.write(step)
            elif isinstance(step, End | Outage):
                self._end(step)
                return
            elif step == 0.0:
                self._timer = self._loop.call_soon(self._play)
                return
            else:
                self._due = (self._due or self._loop.time()) + step
                self._timer = self._loop.call_at(self._due, self._play)
                return

    def _end(self, end: End | Outage) -> None:
        exchange = self._exchange
        assert exchange is not None
        if end is End.HANG:
            return
        whole = end is End.KEEP or exchange.fault in WHOLE_THOUGH_CLOSED
        self._house.tally.end(exchange, "answered" if whole else "broken")
        self._exchange = None
        if isinstance(end, Outage):
            self._house.outage(end.for_s)
        elif end is End.RESET:
            self.abort()
        elif end is End.CLOSE or not self._keep_alive:
            self._transport.close()
        elif self._waiting:
            following, prepared, keep_alive = self._waiting.popleft()
            self._begin(following, prepared, keep_alive=keep_alive)
