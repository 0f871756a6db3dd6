"""HTTP/1.1 to upstreams: keep-alive connections that call back, on asyncio protocols and llhttp.

Our own, because it is the data path: a kept client library costs several times more per request than all
the rest of the gateway. An `Answer` is called back in order: `head` once, `body` any number of times, then
exactly one of `done` and `failed`. After `Connection.cancel` nothing is called.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.providers.outbox import Pieces

if TYPE_CHECKING:
    from airboss.providers.pools import Pool

HEAD_BYTES_MAX = 256 * 1024
TURN_BYTES = 128 * 1024
"""After a read of so many, other connections have their turn: one that is full would be read on and on."""
NO_BODY = frozenset({204, 304})
DETACH_WAIT_S = 1.0
"""How long a connection may take to finish an answer that nobody waits for before it is closed."""
STALE_S = 1.0
"""A kept connection that ends so soon after a request was sent had been closed before that came. What we were
held up in between does not count (`Awake`): only then we hear of it."""

Headers = dict[bytes, bytes]
"""A response's headers: names in lower case, the last of a repeated name."""


class ConnectFailed(UpstreamFailed):
    """No connection could be made, so nothing was sent and another try is safe."""


class ConnectTimedOut(ConnectFailed):
    """Nor was one refused: whoever asks there waits for nothing."""


class ConnectionStale(UpstreamFailed):
    """A kept connection was closed just as a request was sent on it: no byte of an answer came."""

    default_code = "connection_stale"


class Answer(Protocol):
    """Takes an upstream's answer as it arrives. Must not raise."""

    def head(self, status: int, headers: Headers) -> None:
        """The status line and headers; informational (1xx) heads are not shown."""

    def body(self, data: bytes) -> None:
        """A piece of the body, with the transfer encoding removed."""

    def done(self) -> None:
        """The answer is complete. For a body delimited by the end of the connection that is a guess."""

    def failed(self, error: ApiError) -> None:
        """The connection broke before the answer was complete, or the request may not be sent."""


class Connection(asyncio.Protocol):
    """One connection; it carries one exchange at a time."""

    __slots__ = (
        "_answer", "_finished", "_head_bytes", "_headers", "_keep", "_parser", "_paused", "_pool",
        "_sent_at", "_status", "idle_since", "transport",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.idle_since = self._sent_at = 0.0
        self._parser = cast("httptools.HttpResponseParser", None)
        """Has methods of ours: there is one only while there is a transport, or only the collector of cycles
        would free either."""
        self._answer: Answer | None = None
        self._headers: Headers = {}
        self._head_bytes = 0
        self._status = 0
        self._finished = True
        self._keep = True
        self._paused = False

    # -- what an exchange does

    def send(self, data: bytes | Pieces, answer: Answer) -> None:
        """Send a whole request; its answer goes to `answer`."""
        self._answer = answer
        self._finished = False
        self._head_bytes = self._status = 0
        self._sent_at = self._pool.awake.seconds
        self._pool.outbox.write(self.transport, data, self._unsent)

    # Each names its answer: by now the connection may be carrying somebody else's.

    def detach(self, answer: Answer) -> None:
        """Nobody waits for `answer` any more: keep the connection if it ends at once, else close it."""
        if self._answer is answer:
            self._answer = None
            asyncio.get_running_loop().call_later(DETACH_WAIT_S, self._close_unfinished)

    def cancel(self, answer: Answer, *, unsent: bool = False) -> None:
        """Stop the exchange by closing the connection, which tells the upstream to stop working. `unsent`:
        it was taken for `answer` and nothing was sent on it."""
        if self._answer is answer or unsent:
            self._answer = None
            self.transport.abort()

    def pause(self, answer: Answer) -> None:
        """Read no more until `resume`, because the client is slower than the upstream."""
        if self._answer is answer:
            self._paused = True
            self.transport.pause_reading()

    def resume(self, answer: Answer) -> None:
        """Read on."""
        if self._answer is answer:
            self._paused = False
            self.transport.resume_reading()

    def _unsent(self, error: ApiError) -> None:
        """The request may not be sent: nothing of it has left."""
        self.transport.abort()
        self._finished = True
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.failed(error)

    def _close_unfinished(self) -> None:
        if not self._finished and self._answer is None:
            self.transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket up."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        # What curl and browsers read too: folded headers, a length beside chunks (which say more), line ends
        # without a carriage return (of heads only), spaces after the size of a chunk.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the answer."""
        if self._finished:
            # Bytes that answer nothing: the connection cannot be trusted any more.
            self.transport.abort()
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("wants to speak another protocol, unasked")
            return
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadRefused):  # llhttp wraps what a callback raises
                self._fail(str(error.__context__))
                return
            if not self._finished:
                self._fail(f"sent something that is not HTTP: {error}")
                return
            self._keep = False
        if self._finished:
            self._end()
        elif self._head_bytes > HEAD_BYTES_MAX:  # of trailers too: the parser keeps one until it ends
            self._fail(f"sent more than {HEAD_BYTES_MAX} bytes of headers")
        elif len(data) >= TURN_BYTES:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Others have had their turn."""
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and leave the pool."""
        self._pool.closed(self)
        self._parser = cast("httptools.HttpResponseParser", None)
        if self._finished:
            return
        self._finished = True
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if exc is None and self._status >= 200 and not self._delimited():
            answer.done()
        elif self._just_sent and not (self._status or self._head_bytes):
            self._went_stale(answer)
        else:
            answer.failed(
                UpstreamFailed(self._pool.describe("closed the connection before its answer ended"))
            )

    @property
    def _just_sent(self) -> bool:
        """Whether this was kept, and the request sent on it so short a time ago that it crossed an end."""
        return bool(self.idle_since) and self._pool.awake.seconds < self._sent_at + STALE_S

    def _went_stale(self, answer: Answer) -> None:
        self._pool.forget_idle()  # they are older
        answer.failed(ConnectionStale(self._pool.describe("closed a kept connection as we sent")))

    def _fail(self, what: str) -> None:
        self._finished = True
        answer, self._answer = self._answer, None
        self.transport.abort()
        if answer is not None:
            answer.failed(UpstreamFailed(self._pool.describe(what)))

    # -- llhttp

    def on_message_begin(self) -> None:
        """Start a new head; an informational one may have come before."""
        if self._finished:
            # A second answer to one request: nobody could tell whose the next would be.
            self._keep = False
        self._headers = {}
        self._status = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what is read at once bounds them. A trailer says nothing to us."""
        if not self._status:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Pass a final head on."""
        if self._finished:
            return
        if self._head_bytes > HEAD_BYTES_MAX:  # with what came in the same read
            kept = self._headers
            if sum(map(len, kept)) + sum(map(len, kept.values())) > HEAD_BYTES_MAX:
                raise HeadRefused(f"sent more than {HEAD_BYTES_MAX} bytes of headers")
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._head_bytes = 0
        self._check_coding()
        if self._status == 408 and self._just_sent and not self._parser.should_keep_alive():
            # Said to who was idle for too long: it has read no request (RFC 9110, 15.5.9).
            self._finished = True
            answer, self._answer = self._answer, None
            self.transport.abort()
            if answer is not None:
                self._went_stale(answer)
        elif self._answer is not None:
            self._answer.head(self._status, self._headers)

    def _check_coding(self) -> None:
        """Raise HeadRefused where nobody could tell how the body is sent."""
        coding = self._headers.get(b"transfer-encoding")
        if coding is not None and self._status not in NO_BODY:
            if coding.strip().lower() not in {b"chunked", b"identity"}:
                raise HeadRefused(f"sent transfer-encoding {coding!r}, unasked")
            if b"content-length" in self._headers and not self._chunked:
                # The parser would wait for the connection's end, whatever the length.
                raise HeadRefused(f"sent a length beside transfer-encoding {coding!r}")

    def on_body(self, data: bytes) -> None:
        """Pass a piece on."""
        self._head_bytes = 0
        if self._answer is not None and not self._finished:
            self._answer.body(data)

    def on_message_complete(self) -> None:
        """Take note; whatever came with it is parsed first."""
        if self._status >= 200 and not self._finished:
            self._finished = True
            # Told both ways, others may see another end: what follows is not to be trusted (RFC 9112, 6.3).
            twice = b"transfer-encoding" in self._headers and b"content-length" in self._headers
            self._keep = not twice and self._parser.should_keep_alive()

    def _end(self) -> None:
        """Give the connection back, then tell whoever waits."""
        answer, self._answer = self._answer, None
        if self._paused:  # while its last piece was being read
            self._paused = False
            self.transport.resume_reading()
        if self.transport.get_write_buffer_size():
            # Answered before it was all sent: whoever came next would wait until somebody reads the rest.
            self.transport.abort()
        elif self._keep and not self.transport.is_closing():
            self._pool.give_back(self)
        else:
            self.transport.close()
        if answer is not None:
            answer.done()

    def _delimited(self) -> bool:
        """Whether the answer says where it ends, other than by the connection's end."""
        return self._status in NO_BODY or b"content-length" in self._headers or self._chunked

    @property
    def _chunked(self) -> bool:
        coding = self._headers.get(b"transfer-encoding", b"")
        return coding.lower().rpartition(b",")[2].strip() == b"chunked"


class HeadRefused(Exception):
    """Says why. Raised through llhttp to stop parsing; never leaves this module."""
