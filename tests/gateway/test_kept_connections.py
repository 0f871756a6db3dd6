"""A kept connection that its upstream closes just as a request is sent on it costs nobody anything."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.plan import Retry
from tests.support.gateway import PRICE, Gateway, deployment

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
ANSWER = json.dumps({"id": "c", "choices": [CHOICE], "usage": USAGE}).encode()


class Upstream(socketserver.ThreadingTCPServer):
    """Answers the first request of each connection, and closes it at the next without a word; `fresh_too`:
    also at the first. `asked` counts requests."""

    daemon_threads = True
    asked = 0
    fresh_too = False


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: Upstream

    def handle(self) -> None:
        """Answer once."""
        for number in range(2):
            length = 0
            while (line := self.rfile.readline().lower()) not in {b"", b"\r\n"}:
                length = int(line[15:]) if line.startswith(b"content-length:") else length
            if not self.rfile.read(length):
                return
            self.server.asked += 1
            if number or self.server.fresh_too:
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Such a server."""
    with Upstream(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker that may ask once."""
    url = f"http://127.0.0.1:{upstream.server_address[1]}/v1"
    made: dict[str, Any] = {"price": PRICE, "retry": Retry(attempts=1)}
    with Gateway(tmp_path_factory.mktemp("kept") / "g", deployment(url, **made)) as running:
        yield running


def test_it_is_sent_again_on_a_new_one(gateway: Gateway, upstream: Upstream) -> None:
    """The call is answered, by its one attempt: nobody has read it before."""
    for asked in (1, 3, 5):
        response = gateway.chat()
        assert response.status_code == 200, response.text
        assert upstream.asked == asked
        (attempt,) = gateway.closed(response.headers["x-request-id"])["attempts"]
        assert (attempt["why"], attempt["error_type"]) == ("first", None)
        assert attempt["usage"]["input_tokens"] == 3


def test_a_new_one_that_is_closed_is_a_failure(gateway: Gateway, upstream: Upstream) -> None:
    """It is sent once more and not again, and what fails on a new connection has failed."""
    assert gateway.chat().status_code == 200
    upstream.fresh_too = True
    assert gateway.chat().status_code == 502
    assert upstream.asked == 3
    assert gateway.chat().status_code == 502
    assert upstream.asked == 4
