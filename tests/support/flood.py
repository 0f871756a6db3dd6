"""Calls on a timetable, whatever comes back: thousands of them from one thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import msgspec

TICK_S = 0.002


class Flooded(msgspec.Struct):
    """How calls ended: by status (0: no answer), and how long each took from when it was due, in seconds."""

    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    latencies_s: list[float] = []
    bodies: dict[int, bytes] = {}
    """One body of each status."""

    def quantile_s(self, share: float) -> float:
        """The latency that this share of the calls was answered within."""
        return sorted(self.latencies_s)[min(len(self.latencies_s) - 1, int(share * len(self.latencies_s)))]


class _Line(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, due: float) -> None:
        self.due = due
        self._body.clear()
        self.transport.write(self._flood.message)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._flood.ended(self, self._parser.get_status_code(), b"".join(self._body))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._flood.lost(self)


class Flood:
    """Calls of one key, by default chat calls that the fake provider answers at once."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        path: str = "/chat/completions",
        content: str = "hi",
        connections: int = 32,
        **members: Any,
    ) -> None:
        url = urlsplit(base_url)
        self._at = (url.hostname or "", url.port or 80)
        said = {"model": "support", "messages": [{"role": "user", "content": content}], **members}
        body = json.dumps(said).encode() if path.startswith("/chat") else b""
        self.message = (
            f"{'POST' if body else 'GET'} {url.path + path if body else path} HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._connections = connections
        self._idle: deque[_Line] = deque()
        self._waiting: deque[float] = deque()
        self._open: set[_Line] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._left = 0
        self._over: asyncio.Future[None]
        self.found = Flooded(Counter(), [], {})

    def run(self, *, rate: float, seconds: float) -> Flooded:
        """So many calls a second for so long; ends when all are answered."""
        return asyncio.run(self.calls(rate=rate, seconds=seconds))

    async def calls(self, *, rate: float, seconds: float) -> Flooded:
        """As `run`, beside other floods."""
        loop = asyncio.get_running_loop()
        self._left = total = int(rate * seconds)
        self._over = loop.create_future()
        start, sent = time.monotonic(), 0

        def tick() -> None:
            nonlocal sent
            while sent < total and start + sent / rate <= time.monotonic():
                self._call(start + sent / rate)
                sent += 1
            if sent < total:
                loop.call_later(TICK_S, tick)

        tick()
        async with asyncio.timeout(seconds + 60):
            await self._over
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for line in tuple(self._open):
            line.transport.abort()
        await asyncio.sleep(0)  # they close; else a later test is told that they never were
        return self.found

    def _call(self, due: float) -> None:
        if self._idle:
            self._idle.popleft().send(due)
            return
        self._waiting.append(due)
        if len(self._open) + len(self._connecting) < self._connections:
            task = asyncio.ensure_future(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        _, line = await asyncio.get_running_loop().create_connection(lambda: _Line(self), *self._at)
        self._open.add(line)
        self._next(line)

    def _next(self, line: _Line) -> None:
        if self._waiting:
            line.send(self._waiting.popleft())
        else:
            self._idle.append(line)

    def _count(self, status: int) -> None:
        self.found.statuses[status] += 1
        self._left -= 1
        if not self._left and not self._over.done():
            self._over.set_result(None)

    def ended(self, line: _Line, status: int, body: bytes) -> None:
        """A call was answered."""
        due, line.due = line.due, None
        assert due is not None
        self._count(status)
        self.found.latencies_s.append(time.monotonic() - due)
        self.found.bodies.setdefault(status, body)
        self._next(line)

    def lost(self, line: _Line) -> None:
        """A connection is gone, with the call on it."""
        self._open.discard(line)
        if line in self._idle:
            self._idle.remove(line)
        if line.due is not None:
            line.due = None
            self._count(0)
            if self._waiting:
                self._call(self._waiting.popleft())
