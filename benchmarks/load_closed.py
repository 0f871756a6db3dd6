"""As many requests as a number of connections can have answered."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Any

import httptools
from benchmarks.stats import quantile

# Below malloc's threshold for mapping memory anew: with 256 KiB each read cost as much again.
READ_BYTES = 64 * 1024


class Answer:
    """Tells when an answer is whole.

    Once one has been parsed, another with the same length, status and last bytes is taken for whole without
    parsing it: the generator shares its core with the upstream and must cost little.
    """

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.size = 0
        self.tail = b""
        self.known_size, self.known_tail = 0, b""
        self.whole = False

    def feed(self, data: bytes) -> int:
        """Take bytes in; the status once the answer is whole, 0 until then."""
        same = not self.size and len(data) == self.known_size and data.endswith(self.known_tail)
        if same and data.startswith(b"HTTP/1.1 200"):
            return 200
        self.size += len(data)
        self.tail = data[-16:]
        self.whole = False
        self.parser.feed_data(data)
        if not self.whole:
            return 0
        status: int = self.parser.get_status_code()
        if status == 200 and len(self.tail) == 16:
            self.known_size, self.known_tail = self.size, self.tail
        self.size = 0
        return status

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.whole = True


class Unsent:
    """What sockets had no room for, and sends it when they have."""

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._rest: dict[int, memoryview] = {}

    def send(self, fd: int, message: bytes) -> None:
        """Send as much as there is room for."""
        sent = os.write(fd, message)
        if sent < len(message):
            self._rest[fd] = memoryview(message)[sent:]
            self._poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    def go_on(self, fd: int) -> None:
        """Send on."""
        rest = self._rest.pop(fd, memoryview(b""))
        rest = rest[os.write(fd, rest) :]
        if rest:
            self._rest[fd] = rest
        else:
            self._poll.modify(fd, select.EPOLLIN)


def closed(
    host: str, port: int, message: bytes, *, connections: int, seconds: float, warm_s: float
) -> dict[str, Any]:
    """A fixed number of connections, each always waiting for one answer.

    Bare epoll: twice as many requests for the same processor time as on an event loop.
    """
    poll = select.epoll()
    unsent = Unsent(poll)
    made = [socket.create_connection((host, port), timeout=10) for _ in range(connections)]
    answers = {one.fileno(): Answer() for one in made}
    sent = dict.fromkeys(answers, 0.0)
    for one in made:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        poll.register(one.fileno(), select.EPOLLIN)
        sent[one.fileno()] = time.perf_counter()
        unsent.send(one.fileno(), message)
    latencies: list[float] = []
    errors = answered = 0
    began = time.perf_counter() + warm_s
    now = time.perf_counter()
    while now < began + seconds and answers:
        for fd, event in poll.poll(0.5):
            if event & select.EPOLLOUT:
                unsent.go_on(fd)
            if not event & ~select.EPOLLOUT:
                continue
            data = os.read(fd, READ_BYTES)
            now = time.perf_counter()
            if not data:  # a connection that breaks is an error, and is not replaced
                errors += 1
                poll.unregister(fd)
                del answers[fd]
                continue
            status = answers[fd].feed(data)
            if not status:
                continue
            answered += 1
            if now >= began:
                latencies.append(now - sent[fd])
                errors += status != 200
            sent[fd] = now
            unsent.send(fd, message)
        now = time.perf_counter()
    took = now - began
    for one in made:
        one.close()
    ordered = sorted(latencies)
    return {
        "requests_per_s": len(ordered) / took,
        "requests": len(ordered),
        "requests_with_warming": answered,
        "errors": errors,
        "p50_ms": quantile(ordered, 0.5) * 1e3,
        "p99_ms": quantile(ordered, 0.99) * 1e3,
    }
