"""A web server that hands out files, and misbehaves as it is told."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import ClassVar, NamedTuple


class Served(NamedTuple):
    """One answer: what was asked, and how many bytes of the body went out."""

    path: str
    range: str | None
    status: int
    sent: int


class Shop:
    """What the server has and how it behaves; `served` tells what it did, one entry a request that ended."""

    def __init__(self) -> None:
        self.files: dict[str, list[bytes]] = {}
        """Bodies by path. Each request takes the next, and the last stays."""
        self.types: dict[str, str] = {}
        self.cuts: list[int] = []
        """Bytes after which the connection is cut, for the next requests."""
        self.statuses: list[int] = []
        """Statuses to answer the next requests with, without a body."""
        self.ranges = True
        self.redirects: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.served: list[Served] = []
        self.base = ""
        self.half = Event()
        """Set when half of a body is out while `hold` is there."""
        self.hold: Event | None = None
        self.holds = "/"
        """How the paths begin whose bodies are held."""
        self.lock = Lock()

    def sent(self, path: str) -> int:
        """Bytes of that body that went out in all."""
        return sum(s.sent for s in self.served if s.path == path)


class _Handler(BaseHTTPRequestHandler):
    shop: ClassVar[Shop]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer as the shop is told to."""
        shop, path = self.shop, self.path.partition("?")[0]
        asked = self.headers.get("range")
        with shop.lock:
            shop.headers.append(dict(self.headers))
            cut = shop.cuts.pop(0) if shop.cuts else None
            status = shop.statuses.pop(0) if shop.statuses else 0
            bodies = shop.files.get(path, [])
            body = bodies.pop(0) if len(bodies) > 1 else bodies[0] if bodies else None
        if path in shop.redirects:
            self._end(path, asked, 302, {"location": shop.redirects[path]})
        elif status or body is None:
            self._end(path, asked, status or 404, {})
        else:
            self._body(path, asked, body, cut)

    def _end(self, path: str, asked: str | None, status: int, headers: dict[str, str]) -> None:
        self.shop.served.append(Served(path, asked, status, 0))
        self.send_response(status)
        for name, value in (headers | {"content-length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, path: str, asked: str | None, body: bytes, cut: int | None) -> None:
        start, status, extra = 0, 200, {}
        if asked is not None and self.shop.ranges:
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match is not None, asked
            start = int(match[1])
            if start >= len(body):
                self._end(path, asked, 416, {"content-range": f"bytes */{len(body)}"})
                return
            status, extra = 206, {"content-range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self.send_response(status)
        self.send_header("content-type", self.shop.types.get(path, "application/octet-stream"))
        self.send_header("content-length", str(len(body) - start))
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()
        out = body[start:] if cut is None else body[start:][:cut]
        if self.shop.hold is not None and path.startswith(self.shop.holds):
            self.wfile.write(out[: len(out) // 2])
            self.shop.half.set()
            self.shop.hold.wait(60)
            out_rest = out[len(out) // 2 :]
        else:
            out_rest = out
        # Counted before the last byte is out: whoever has that byte may look at once.
        self.shop.served.append(Served(path, asked, status, len(out)))
        try:
            self.wfile.write(out_rest)
            if cut is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
        except OSError:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop at `base`, until the end of the block."""
    shop = Shop()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"shop": shop}))
    shop.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield shop
    finally:
        if shop.hold is not None:
            shop.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
