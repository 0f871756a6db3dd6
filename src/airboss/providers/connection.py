"""HTTP/1.1 to upstreams: pooled, keep-alive connections that call back, on asyncio protocols and llhttp.

Our own, because it is the data path: a kept client library costs several times more per request than all
the rest of the gateway. An `Answer` is called back in order: `head` once, `body` any number of times, then
exactly one of `done` and `failed`. After `Connection.cancel` nothing is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections import deque
from collections.abc import Set as AbstractSet
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from airboss.domain.errors import ApiError, ConfigError, Unavailable, UpstreamFailed
from airboss.providers.outbox import Outbox, Pieces
from airboss.providers.patience import Awake, within

CONNECT_TIMEOUT_S = 10.0
"""The longest that a connection may take to be made."""
RESOLVE_S = 1.0
"""How long a name that was just looked up may take once more."""
IDLE_KEEP_S = 55.0
"""A kept connection is not used after this long idle: most servers close theirs after 60 s or more."""
CONNECTIONS_MAX = 4096
"""Connections to one origin, in use and idle."""
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Why no connection is made that says nothing of whom it would be to."""
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


class Origin(msgspec.Struct, frozen=True):
    """Where connections go; `base_path` comes before every path and has no slash at its end. `host_header` is
    the value of `host`, the port left out where it is the default."""

    host: str
    port: int
    tls: bool
    base_path: str
    host_header: str

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read `http(s)://host[:port][/base]`. Raises ConfigError."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"base_url {url!r} is not an http or https URL; write https://host/v1")
        tls = parts.scheme == "https"
        usual = 443 if tls else 80
        port = parts.port or usual
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host_header = name if port == usual else f"{name}:{port}"
        return cls(parts.hostname, port, tls, parts.path.rstrip("/"), host_header)


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
        elif (
            self.idle_since
            and not (self._status or self._head_bytes)
            and self._pool.awake.seconds < self._sent_at + STALE_S
        ):
            self._pool.forget_idle()  # they are older
            answer.failed(ConnectionStale(self._pool.describe("closed a kept connection as we sent")))
        else:
            answer.failed(
                UpstreamFailed(self._pool.describe("closed the connection before its answer ended"))
            )

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
        if self._status >= 200:
            self._head_bytes = 0
            coding = self._headers.get(b"transfer-encoding")
            if coding is not None and self._status not in NO_BODY:
                if coding.strip().lower() not in {b"chunked", b"identity"}:
                    raise HeadRefused(f"sent transfer-encoding {coding!r}, unasked")
                if b"content-length" in self._headers and not self._chunked:
                    # The parser would wait for the connection's end, whatever the length.
                    raise HeadRefused(f"sent a length beside transfer-encoding {coding!r}")
        if self._status >= 200 and self._answer is not None:
            self._answer.head(self._status, self._headers)

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


class Pool:
    """Connections to one origin, the most recently used first, so that spare ones grow old and go.

    `keep` False is for a local engine, and keeps none: llama.cpp closes its connection within milliseconds of
    a stream's end, though it promises otherwise, and a request sent into that is lost. A new one takes 50 µs.
    """

    def __init__(
        self, origin: Origin, *, name: str, tls: ssl.SSLContext | None, outbox: Outbox, keep: bool = True
    ) -> None:
        self.origin = origin
        self.outbox = outbox
        self.awake = Awake()
        self._name = name
        self._tls = tls
        self._keep = keep
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._connecting = 0

    def describe(self, what: str) -> str:
        """`what`, said of this upstream."""
        return f"provider {self._name!r} at {self.origin.host}:{self.origin.port} {what}"

    @property
    def in_use(self) -> int:
        """Connections that carry an exchange or are being made."""
        return len(self._open) - len(self._idle) + self._connecting

    def idle(self) -> Connection | None:
        """A kept connection, or None."""
        oldest = time.monotonic() - IDLE_KEEP_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                return connection
            connection.transport.abort()
        return None

    async def connect(self, timeout_s: float) -> Connection:
        """A new connection. Raises ConnectFailed, and Unavailable at CONNECTIONS_MAX or where this process or
        machine has no room for one more."""
        if len(self._open) + self._connecting >= CONNECTIONS_MAX:
            raise self._too_many(f"has {CONNECTIONS_MAX} connections of ours open")
        loop = asyncio.get_running_loop()
        self._connecting += 1
        try:
            async with within(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    self.origin.host,
                    self.origin.port,
                    ssl=self._tls if self.origin.tls else None,
                    server_hostname=self.origin.host if self.origin.tls else None,
                )
                return connection
        except TimeoutError:
            failed: ApiError = ConnectFailed(
                self.describe(f"did not accept a connection in {timeout_s:.1f} s")
            )
        except (OSError, ssl.SSLError) as error:
            failed = await self._refused(error)
        except UnicodeError:  # two dots side by side, or a part of over 63 characters
            failed = ConnectFailed(self.describe("cannot be reached: this can be no name of a host"))
        finally:
            self._connecting -= 1
        raise failed  # here, as what is raised above would know the frames of the call by its context

    async def _refused(self, error: OSError) -> ConnectFailed | Unavailable:
        """What is said of a connection that failed so."""
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in NO_ROOM and not (error.errno == errno.EADDRNOTAVAIL and await self._out_of_reach()):
            return self._too_many(f"cannot be reached: {reason}")
        return ConnectFailed(self.describe(f"cannot be reached: {reason}"))

    async def _out_of_reach(self) -> bool:
        """Whether no address of this machine can send there, as without IPv6 to who has no other: that says
        the same as that all ports are taken, of which datagrams have their own."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await loop.getaddrinfo(self.origin.host, self.origin.port)
        except OSError:
            return True
        for family, *_, address in found:
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # sends nothing
                return False
        return True

    def _too_many(self, what: str) -> Unavailable:
        said = self.describe(f"{what}; try again shortly")
        return Unavailable(said, code="too_many_connections", retry_after_s=1.0)

    def opened(self, connection: Connection) -> None:
        """Count a new connection."""
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer is complete, or close it."""
        if not self._keep:
            connection.transport.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def forget_idle(self) -> None:
        """Close what is kept: an upstream that has closed the newest has closed the others too, or will."""
        while self._idle:
            self._idle.pop().transport.abort()

    def close_all(self) -> None:
        """Close every connection, in use or not."""
        for connection in tuple(self._open):
            connection.transport.abort()


class Pools:
    """One pool an origin, made when first used. TLS verifies certificates against the system's roots."""

    def __init__(self, outbox: Outbox) -> None:
        self._pools: dict[tuple[str, Origin], Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._outbox = outbox
        self.awake = Awake()
        """Counted by whoever keeps the deadlines of what is sent."""

    def get(self, name: str, origin: Origin, *, keep: bool = True) -> Pool:
        """The pool of provider `name` at `origin`; `keep` is told to a new one."""
        pool = self._pools.get((name, origin))
        if pool is None:
            if origin.tls and self._tls is None:
                self._tls = ssl.create_default_context()
            pool = self._pools[name, origin] = Pool(
                origin, name=name, tls=self._tls, outbox=self._outbox, keep=keep
            )
            pool.awake = self.awake
        return pool

    def keep(self, wanted: AbstractSet[Pool]) -> None:
        """Forget other pools, but for those that are in use, and close what they kept."""
        for key, pool in tuple(self._pools.items()):
            if pool not in wanted and not pool.in_use:
                pool.close_all()
                del self._pools[key]

    def close_all(self) -> None:
        """Close every connection of every pool."""
        for pool in self._pools.values():
            pool.close_all()
