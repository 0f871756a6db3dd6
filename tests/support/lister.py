"""A provider of OpenAI's dialect whose list of models can be changed while it runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Lister(ThreadingHTTPServer):
    """Lists `names`, or answers its list with `status` and `body`; answers every chat with the model's name.
    `asked` has the key of each question for the list, `headers` all of them; an answer waits for `gate`."""

    daemon_threads = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.status = 200
        self.body: bytes | None = None
        self.asked: list[str | None] = []
        self.headers: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Lister

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The list."""
        self.server.asked.append(self.headers.get("authorization"))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.gate.wait(20)
        said = {"object": "list", "data": [{"id": each, "object": "model"} for each in self.server.names]}
        body = self.server.body if self.server.body is not None else json.dumps(said).encode()
        self._answer(self.server.status, body)

    def do_POST(self) -> None:
        """An answer."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {"role": "assistant", "content": f"I am {asked['model']}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
        said = {"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"]}
        self._answer(200, json.dumps({**said, "choices": [choice], "usage": usage}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def listing(*names: str) -> Iterator[Lister]:
    """One, running."""
    lister = Lister(names)
    thread = threading.Thread(target=lister.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield lister
    finally:
        lister.shutdown()
        thread.join()
        lister.server_close()
