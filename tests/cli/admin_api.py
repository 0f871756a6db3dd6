"""A real HTTP server that answers as the admin API would, from a table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "ab_admin"


STATUS = ("GET", "/api/v1/status")
CAUGHT_UP = {"journal": {"unmoved_bytes": 0, "oldest_unmoved_at": None, "lag_s": 0.0, "store_up": True}}
"""All that was recorded is in the record store."""


class AdminApi:
    """Answers by method and path; `asked` holds what came, in order, but how far the record store is: verbs
    ask for that before they ask for records."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {STATUS: CAUGHT_UP}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.url = ""

    def answer(self, method: str, target: str, key: str | None, body: bytes) -> tuple[int, Any]:
        """Status and JSON value."""
        parts = urlsplit(target)
        params = dict(parse_qsl(parts.query))
        if (method, parts.path) != STATUS:
            self.asked.append((method, parts.path, params, json.loads(body) if body else None))
        if key != f"Bearer {KEY}":
            return 401, {"error": {"message": "who are you?"}}
        found = self.answers.get((method, parts.path))
        if found is None:
            return 404, {"error": {"message": f"no {parts.path} here"}}
        value = found(params) if callable(found) else found
        return value if isinstance(value, tuple) else (200, value)


@contextmanager
def serving() -> Iterator[AdminApi]:
    """The server, until the end of the block."""
    api = AdminApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            key = self.headers.get("authorization")
            status, value = api.answer(self.command, self.path, key, self.rfile.read(length))
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - named by the library

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def record(number: int, **fields: Any) -> dict[str, Any]:
    """A record as the admin API gives it."""
    return {
        "id": f"0190b1c0-0000-7000-8000-{number:012}",
        "started_at": "2026-11-23T14:30:00+00:00",
        "deployment": "assistant",
        "release": "f00dfeedf00dfeed",
        "arm": "stable",
        "plan": 1,
        "model": "tiny",
        "provider": "here",
        "key": "default",
        "user": None,
        "session": None,
        "operation": "chat",
        "stream": False,
        "status": "ok",
        "error_type": None,
        "finish_reason": "stop",
        "input_tokens": 11,
        "output_tokens": 22,
        "cached_input_tokens": None,
        "reasoning_tokens": None,
        "usage_estimated": False,
        "cost_usd": 0.000123,
        "latency_ms": 345.6,
        "ttft_ms": 78.9,
        "overhead_ms": 1.0,
        "output_chars": 99,
        "attempts": [{"provider": "here", "model": "tiny", "url": "http://x/v1", "status_code": 200}],
        "cache": None,
        "policy": [],
        "tags": {},
        "scores": {},
        "trace_id": None,
        "request": None,
        "response": None,
        **fields,
    }
