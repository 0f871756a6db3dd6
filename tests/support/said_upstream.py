"""An upstream that says exactly what a test tells it to, in the pieces that it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SaidUpstream:
    """`events` are the data of the stream's events, `body` a whole answer, as it is where it is bytes;
    `write_bytes` cuts what is sent; `raw` is sent in place of all that, head and all, and the connection ends
    with it. `seen` are the bodies of requests, `paths` and `headers` what they came
    with."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """As it was when it began: nothing to say, and nothing seen."""
        self.events: list[str] = []
        self.body: dict[str, Any] | bytes = {}
        self.write_bytes = 1 << 20
        self.raw: bytes | None = None
        self.done = True
        self.status = 200
        self.seen: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    def stream(self, deltas: list[dict[str, Any]], finish: str | None = "stop") -> None:
        """Say these deltas of choice 0, then why it ends."""
        choices: list[dict[str, Any]] = [{"index": 0, "delta": d, "finish_reason": None} for d in deltas]
        if finish is not None:
            choices.append({"index": 0, "delta": {}, "finish_reason": finish})
        self.events = [
            json.dumps({"id": "u", "object": "chat.completion.chunk", "model": "up", "choices": [choice]})
            for choice in choices
        ]
        usage = {"prompt_tokens": 3, "completion_tokens": len(deltas), "total_tokens": 3 + len(deltas)}
        self.events.append(json.dumps({"id": "u", "choices": [], "usage": usage}))

    def said(self) -> bytes:
        """The bytes of the answer."""
        if not self.events:
            return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        events = "".join(f"data: {event}\n\n" for event in self.events)
        return (events + ("data: [DONE]\n\n" if self.done else "")).encode()


@contextmanager
def said_upstream() -> Iterator[SaidUpstream]:
    """The upstream, until the end of the block."""
    upstream = SaidUpstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:  # named by the library
            upstream.paths.append(self.path)
            upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
            upstream.seen.append(self.rfile.read(int(self.headers["content-length"] or 0)))
            data = upstream.said() if upstream.raw is None else upstream.raw
            if upstream.raw is None:
                self.send_response(upstream.status)
                kind = "text/event-stream" if upstream.events else "application/json"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
            self.close_connection = self.close_connection or upstream.raw is not None
            try:
                for start in range(0, len(data), upstream.write_bytes):
                    self.wfile.write(data[start : start + upstream.write_bytes])
                    self.wfile.flush()
            except OSError:
                self.close_connection = True  # the gateway has left: it may

        def do_GET(self) -> None:  # as above
            self.do_POST()

        def do_DELETE(self) -> None:  # as above
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
