"""What the fake provider has seen, for tests to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

LAST_MAX = 100
BODY_KEPT_BYTES = 256 * 1024

State = Literal["in_flight", "answered", "broken", "cancelled"]
"""How a request stands: being answered, answered to the end, broken by its fault, left by its client."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came over the wire. Header names are in lower case, in order, repeats kept.

    `body` is at most its first 256 KiB, `body_bytes` its whole length. `ended_after_s` is None in flight.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: str
    body_bytes: int
    fault: str
    state: State
    ended_after_s: float | None

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start or the last reset; `open_connections` and `in_flight` are of now.
    `last` has the newest requests, at most 100, oldest first. Calls of `/_fake/…` are not counted."""

    requests: int
    in_flight: int
    answered: int
    broken: int
    cancelled: int
    connections: int
    open_connections: int
    last: tuple[Seen, ...]


class Exchange:
    """One request being answered. Mutable, and slim: benchmarks make tens of thousands of them a second."""

    __slots__ = (
        "body", "body_bytes", "connection", "ended_at", "fault", "headers", "method", "number", "path",
        "started_at", "state",
    )  # fmt: skip

    def __init__(self, number: int, connection: int, started_at: float) -> None:
        self.number = number
        self.connection = connection
        self.started_at = started_at
        self.method = b""
        self.path = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.body_bytes = 0
        self.fault = "ok"
        self.state: State = "in_flight"
        self.ended_at: float | None = None

    def keep(self, body: bytes) -> None:
        """Keep the body, or the head of a long one."""
        self.body_bytes = len(body)
        self.body = body if self.body_bytes <= BODY_KEPT_BYTES else body[:BODY_KEPT_BYTES]

    def seen(self) -> Seen:
        """A copy that can be sent."""
        headers = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self.headers)
        ended = None if self.ended_at is None else self.ended_at - self.started_at
        return Seen(
            number=self.number,
            connection=self.connection,
            method=self.method.decode("latin-1"),
            path=self.path.decode("latin-1"),
            headers=tuple(headers),
            body=self.body.decode("utf-8", "replace"),
            body_bytes=self.body_bytes,
            fault=self.fault,
            state=self.state,
            ended_after_s=ended,
        )


class Tally:
    """Counts exchanges and keeps the last of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.open_connections = 0
        self.reset()

    def reset(self) -> None:
        """Begin at zero; what is in flight is forgotten and not counted when it ends."""
        self.connections = 0
        self._requests = 0
        self._ended: dict[State, int] = {"answered": 0, "broken": 0, "cancelled": 0}
        self._in_flight: set[Exchange] = set()
        self._last: deque[Exchange] = deque(maxlen=LAST_MAX)

    def begin(self, connection: int) -> Exchange:
        """Count a request."""
        self._requests += 1
        exchange = Exchange(self._requests, connection, self._clock())
        self._in_flight.add(exchange)
        self._last.append(exchange)
        return exchange

    def end(self, exchange: Exchange, state: State) -> None:
        """Count how it ended; a second end of the same exchange changes nothing."""
        if exchange.state != "in_flight":
            return
        exchange.state = state
        exchange.ended_at = self._clock()
        if exchange in self._in_flight:
            self._in_flight.remove(exchange)
            self._ended[state] += 1

    def stats(self) -> Stats:
        """Everything, copied."""
        return Stats(
            requests=self._requests,
            in_flight=len(self._in_flight),
            answered=self._ended["answered"],
            broken=self._ended["broken"],
            cancelled=self._ended["cancelled"],
            connections=self.connections,
            open_connections=self.open_connections,
            last=tuple(exchange.seen() for exchange in self._last),
        )
