"""Requests on a timetable, whatever comes back."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections import deque
from typing import Any, cast

from benchmarks.load_closed import Answer
from benchmarks.stats import quantile


class Client(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, load: Open) -> None:
        self.load = load
        self.transport: asyncio.Transport
        self.sent_at = 0.0
        self.answer = Answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Gone, which is an error unless the load is over."""
        self.load.lost(self)

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or most often all of it."""
        status = self.answer.feed(data)
        if status:
            self.load.answered(self, ok=status == 200)


class Timetable:
    """Ticks at an exact rate. The event loop's own timers have whole milliseconds; the kernel's do better."""

    def __init__(self, rate: float) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        self.interval = 1 / rate
        self.start = time.monotonic() + 0.05
        spec = (ctypes.c_long * 4)(
            *divmod(int(self.interval * 1e9), 10**9), *divmod(int(self.start * 1e9), 10**9)
        )
        if self.fd < 0 or self._libc.timerfd_settime(self.fd, 1, spec, None):  # 1: absolute time
            raise OSError(ctypes.get_errno(), "timerfd")
        self.ticks = 0

    def due(self) -> list[float]:
        """The times that have come since the last call."""
        try:
            count = int.from_bytes(os.read(self.fd, 8), "little")
        except BlockingIOError:
            return []
        times = [self.start + (self.ticks + step) * self.interval for step in range(count)]
        self.ticks += count
        return times


class Open:
    """Requests on a timetable; they queue when every connection is busy."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.idle: list[Client] = []
        self.queue: deque[float] = deque()
        self.latencies: list[float] = []
        self.counting = False
        self.errors = 0
        self.over = False

    def _tick(self, times: Timetable) -> None:
        for at in times.due():
            if self.idle:
                self._send(self.idle.pop(), at)
            else:
                self.queue.append(at)

    def _send(self, client: Client, at: float) -> None:
        client.sent_at = at
        client.transport.write(self.message)

    def answered(self, client: Client, *, ok: bool) -> None:
        """Count from the timetable, and serve the queue."""
        if self.counting:
            self.latencies.append(time.monotonic() - client.sent_at)
            self.errors += not ok
        if self.queue:
            self._send(client, self.queue.popleft())
        else:
            self.idle.append(client)

    def lost(self, client: Client) -> None:
        """A connection that breaks is an error, and is not replaced."""
        self.errors += not self.over
        if client in self.idle:
            self.idle.remove(client)

    async def run(
        self, host: str, port: int, *, connections: int, rate: float, seconds: float, warm_s: float
    ) -> dict[str, Any]:
        """Load for so long after warming up."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Client(self), host, port) for _ in range(connections)]
        self.idle = [client for _, client in made]
        times = Timetable(rate)
        loop.add_reader(times.fd, self._tick, times)
        await asyncio.sleep(warm_s)
        self.counting = True
        await asyncio.sleep(seconds)
        loop.remove_reader(times.fd)
        waiting = time.monotonic()
        late = [waiting - at for at in self.queue]  # never sent: as late as they are by now
        self.counting = False
        self.over = True
        for transport, _ in made:
            transport.close()
        ordered = sorted(self.latencies + late)
        return {
            "rate": rate,
            "answered_per_s": len(self.latencies) / seconds,
            "unsent": len(late),
            "errors": self.errors,
            "p50_ms": quantile(ordered, 0.5) * 1e3,
            "p90_ms": quantile(ordered, 0.9) * 1e3,
            "p99_ms": quantile(ordered, 0.99) * 1e3,
            "max_ms": ordered[-1] * 1e3 if ordered else float("nan"),
        }
