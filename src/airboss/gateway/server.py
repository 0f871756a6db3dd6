"""What the connections of one worker share."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from airboss.domain.errors import ApiError
from airboss.gateway.client_bounds import KEEP_ALIVE_S, STRANGER_UNREAD_S, UNSENT_BYTES, WRITE_BUFFER_BYTES
from airboss.gateway.intake import Intake
from airboss.gateway.request_head import PEER, HttpRequest
from airboss.providers.outbox import Outbox

if TYPE_CHECKING:
    from airboss.gateway.http1 import Connection

Handler = Callable[["Connection", HttpRequest], Awaitable[None] | None]
"""Answers a request through the connection: `respond`, or `start_stream` and what follows it. None: it does
so by and by, and calls the connection's `over` then. Raises ApiError, which is the answer."""

FAREWELL_S = 2.0
"""So long a client may take to say that it has seen the end."""

STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


def unsent(transport: asyncio.Transport) -> bool:
    """Whether the client has yet to take some of what was written, be it in the transport or the kernel."""
    if transport.get_write_buffer_size():
        return True
    left = b"\0" * 4
    with suppress(OSError):  # a socket that is gone has nothing left
        left = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, left)
    return int.from_bytes(left, sys.byteorder) > 0


def tune(transport: asyncio.Transport) -> dict[bytes, bytes]:
    """Set a client's connection up; gives what its requests say beside their headers: where they are from."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    peer = transport.get_extra_info("peername")
    return {PEER: str(peer[0]).encode()} if isinstance(peer, tuple) and peer else {}


class Server(msgspec.Struct, kw_only=True):
    """One worker's."""

    handler: Handler
    error_response: Callable[[ApiError, str], tuple[bytes, bytes]]
    """Headers and body for an error that no handler saw; the second argument is the request's path."""
    may_send: Callable[[Mapping[bytes, bytes], str], object]
    """Raises ApiError where such a head, to such a path, may bring no body over STRANGER_BODY_BYTES_MAX."""
    body_bytes_max: int
    loop: asyncio.AbstractEventLoop
    outbox: Outbox
    intake: Intake
    connections: set[Connection] = msgspec.field(default_factory=set)
    draining: bool = False
    closed: dict[Connection, float] = msgspec.field(default_factory=dict)
    """Since when those that were closed for a drain are."""

    def patience_s(self, request: HttpRequest | None, headers: Mapping[bytes, bytes]) -> float:
        """How long answers may stand unread: of who sent this request, or the one with these headers."""
        try:
            self.may_send(headers if request is None else request.headers, "/v1/")
        except ApiError:
            return STRANGER_UNREAD_S
        return KEEP_ALIVE_S

    def last_response(self, error: ApiError, path: str) -> bytes:
        """A whole response with the error, behind which the connection is closed."""
        headers, body = self.error_response(error, path)
        status = STATUS_LINES[error.http_status]
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        return b"".join((status, headers, length, body))

    def sweep(self) -> None:
        """Close what waits too long; called about once a second."""
        now = time.monotonic()
        for connection in tuple(self.connections):
            connection.check_deadline(now)

    def drain(self) -> None:
        """Answer what was begun, then close; connections between requests close now."""
        self.draining = True
        self.outbox.flush()
        now = time.monotonic()
        for connection in tuple(self.connections):
            if connection.busy():
                continue
            # What is still to be sent is waited for, but no answer to TLS's farewell: who is idle gives none.
            late = now - self.closed.setdefault(connection, now) > FAREWELL_S
            if late and not unsent(connection.transport):
                connection.transport.abort()
            else:
                connection.transport.close()
