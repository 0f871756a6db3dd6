"""uvicorn's HTTP, with bounds: heads and framing in bytes, senders in time, and errors in the house's shape.

uvicorn itself waits for ever for a head to end, keeps whatever comes of it, and takes trailers for headers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from airboss.console.wire import error_json
from airboss.domain.errors import ApiError, HeadersTooLarge, InvalidRequest, RequestTimeout

HEAD_BYTES_MAX = 64 * 1024
FRAMING_BYTES_A_BODY_BYTE = 8
"""What chunks of one byte each cost; sizes, extensions and trailers may take so much, and a head's worth."""
HEADER_BYTES_EXTRA = 32
"""Many tiny headers cost more than their bytes."""
HEAD_S_MAX = 15.0
LINGER_S = 2.0
"""How long what is still being sent is read and dropped after an early answer, so that the client sees the
answer and not a reset."""
HALF_CLOSED_S = 2.0
"""How long who has stopped sending, and may have gone, is worked for."""
BODY_S_MAX = 60.0
"""The largest body that a route takes is a few megabytes."""
PIPELINE_MAX = 64
"""Requests waiting behind the one being served; browsers and our verbs send none."""
ONCE_ONLY = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-api-key", b"content-type"}
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What is refused here is answered once and closed."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._refusal: ApiError | None = None
        self._late: asyncio.TimerHandle | None = None
        self._reading: object = None
        """The headers of the request that is being read; None between requests."""
        self._in_head = self._lingering = False
        self._bytes = self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself has it
        """Give the first request its time."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            # uvicorn writes head and body apart: without this each answer waits 40 ms for the client's ACK.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._due_in(HEAD_S_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._due_in(None)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio has it so
        """Answer what is whole, if soon: who has gone looks like who sends no more. TLS closes anyway."""
        if self._reading is not None:
            self._refuse(InvalidRequest("the request ended before it was whole", code="invalid_http"))
        if not self._serving() or not self.transport.can_write_eof():
            return False
        self.cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED_S, self.transport.abort)
        return True

    def data_received(self, data: bytes) -> None:
        """Parse, within bounds."""
        if self.transport.is_closing() or self._lingering:
            return
        before, body_bytes = self._reading, self._body_bytes
        self._parse(data)
        if self.transport.is_closing():
            return
        if self._reading is None:
            if self._late is None and not self._serving():
                self._due_in(HEAD_S_MAX)  # line feeds between requests must not keep a connection
            return
        if self._reading is not before:
            return
        # A head or a trailer that has not ended is llhttp's alone: what it comes in counts.
        self._bytes += len(data) - (self._body_bytes - body_bytes)
        if self._bytes > HEAD_BYTES_MAX + FRAMING_BYTES_A_BODY_BYTE * self._body_bytes:
            self._refuse(_too_large())

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest: bytes | memoryview = data
        while rest and not self.transport.is_closing():
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offered:
                if not self._offered():  # but asked to CONNECT to somebody else
                    return
                rest = memoryview(rest)[offered.args[0] :]
                self._parse(self._head_again())
            except httptools.HttpParserError as error:
                self.send_400_response(str(error))
            else:
                return

    def _offered(self) -> bool:
        """Whether the head that was read offers to change to another protocol."""
        return self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)

    def _head_again(self) -> bytes:
        """The head without that offer, which a server may ignore (RFC 9110, 7.8) and Java's own client makes
        in each request, for a new parser: the old one takes the body for the other protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own has it
        return b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(lines))

    def on_response_complete(self) -> None:
        """Go on to the next request; a body that is still coming after its answer is read no further."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # which uvicorn ends though others wait: it would read on for ever
        if self._reading is None or self._in_head or self._serving() or self.transport.is_closing():
            return
        self._lingering = True
        self._due_in(LINGER_S)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _due_in(self, seconds: float | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(seconds, self._too_late) if seconds is not None else None

    def _too_late(self) -> None:
        self._late = None
        if self._lingering:
            self.transport.abort()
        elif self._reading is None:
            if not self._serving():
                self.transport.close()
        else:
            self._refuse(RequestTimeout("the request did not come whole in time; send it faster"))

    def _refuse(self, error: ApiError) -> None:
        self._refusal = error
        self.send_400_response(error.message)

    def send_400_response(self, msg: str) -> None:
        """Answer what was refused, in the one shape; `msg` is uvicorn's, and says little."""
        del msg
        self._due_in(None)
        error = self._refusal or InvalidRequest("the request is not valid HTTP/1.1", code="invalid_http")
        if self._may_answer():
            body = bytes(error_json(error).body)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[error.http_status] + head % len(body) + body)
        self.transport.close()

    def _serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _may_answer(self) -> bool:
        """Whether an answer is still to come, and none has begun; the request being read has none then."""
        if self._in_head or self.cycle is None:
            return not self._serving()
        if self.cycle.response_started:
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    # -- llhttp

    def on_message_begin(self) -> None:
        """Start reading a request."""
        super().on_message_begin()
        self._reading, self._in_head = self.headers, True
        self._bytes = self._body_bytes = 0
        self._due_in(HEAD_S_MAX)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is none."""
        if not self._in_head:
            return
        self._bytes += len(name) + len(value) + HEADER_BYTES_EXTRA
        if self._bytes > HEAD_BYTES_MAX:
            raise self._refused(_too_large())
        name = name.lower()
        if name in ONCE_ONLY and any(each == name for each, _ in self.headers):
            raise self._refused(InvalidRequest(f"header {name.decode()!r} was sent twice; send it once"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to serve, unless the body could be read in two ways."""
        self._in_head = False
        self._bytes = 0
        named = dict(self.headers)
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise self._refused(InvalidRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1"))
        if version == "1.1" and b"host" not in named:
            raise self._refused(InvalidRequest("the host header is missing", code="invalid_http"))
        encoding = named.get(b"transfer-encoding", b"chunked")
        if encoding.lower() != b"chunked" or (b"transfer-encoding" in named and version == "1.0"):
            raise self._refused(InvalidRequest("only transfer-encoding 'chunked' is read here, by HTTP/1.1"))
        if len(self.url) > HEAD_BYTES_MAX:
            raise self._refused(_too_large())
        if len(self.pipeline) >= PIPELINE_MAX:
            raise self._refused(InvalidRequest("too many requests wait on this connection; read the answers"))
        if not self._offered():
            super().on_headers_complete()
        self._due_in(BODY_S_MAX)

    def _refused(self, error: ApiError) -> ApiError:
        """Note why parsing stops; llhttp wraps what is raised."""
        self._refusal = error
        return error

    def on_body(self, body: bytes) -> None:
        """Count, and pass on."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; the next one's time begins with its first byte."""
        if self._offered():
            return
        self._reading = None
        self._due_in(None)
        super().on_message_complete()


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(
        f"the request's head, or what frames its body, is over {HEAD_BYTES_MAX} bytes; send fewer or shorter "
        "headers"
    )
