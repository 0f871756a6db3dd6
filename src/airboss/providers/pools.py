"""Connections to upstreams: made, kept for the next exchange, counted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections import deque
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

import msgspec

from airboss.domain.errors import ApiError, ConfigError, Unavailable
from airboss.providers.connection import ConnectFailed, Connection, ConnectTimedOut
from airboss.providers.outbox import Outbox
from airboss.providers.patience import Awake, within

CONNECT_TIMEOUT_S = 10.0
"""The longest that a connection may take to be made."""
CONNECT_ELSEWHERE_S = 3.0
"""The same where somebody else can be asked: time for a lost packet to be sent again, and TLS."""
RESOLVE_S = 1.0
"""How long a name that was just looked up may take once more."""
IDLE_KEEP_S = 55.0
"""A kept connection is not used after this long idle: most servers close theirs after 60 s or more."""
CONNECTIONS_MAX = 4096
"""Connections to one origin, in use and idle."""
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Why no connection is made that says nothing of whom it would be to."""


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
            failed: ApiError = ConnectTimedOut(
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
