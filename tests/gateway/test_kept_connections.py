"""Connections that are kept for the next call, and closed by the upstream just as that is sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry
from tests.support.gateway import PRICE, Gateway, deployment

WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
EVENTS = [
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "Yes."}, "finish_reason": "stop"}]},
    {"id": "c", "choices": [], "usage": WHOLE["usage"]},
]


class Closing:
    """Answers the first request on a connection, and of the second says no more than `last` before it closes
    the connection. With `fresh` False it does so with the first of all later connections."""

    def __init__(self, last: bytes = b"", *, fresh: bool = True) -> None:
        self._last, self._fresh = last, fresh
        self.seen: list[int] = []
        """For each request the number of its connection."""
        self._listen = socket.create_server(("127.0.0.1", 0))
        self.port = self._listen.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._made = 0

    def listen(self, backlog: int) -> None:
        """Have so many connections wait at most, and one more."""
        self._listen.listen(backlog)

    def serve(self) -> None:
        """Serve one connection after another, each in a thread, until `stop`."""
        with suppress(OSError):
            while True:
                taken, _ = self._listen.accept()
                self._made += 1
                threading.Thread(target=self._one, args=(taken, self._made), daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listen.shutdown(socket.SHUT_RDWR)
        self._listen.close()

    def _one(self, taken: socket.socket, number: int) -> None:
        with taken, taken.makefile("rwb") as file:
            for turn in range(2):
                asked = _read(file)
                if asked is None:
                    return
                self.seen.append(number)
                if turn or (number > 1 and not self._fresh):
                    file.write(self._last)
                    file.flush()
                    return
                file.write(_answer(asked))
                file.flush()


def _read(file: Any) -> dict[str, Any] | None:
    head, length = file.readline(), 0
    if not head:
        return None
    while (line := file.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    said: dict[str, Any] = json.loads(file.read(length) or b"{}")
    return said


def _answer(asked: dict[str, Any]) -> bytes:
    said, kind = json.dumps(WHOLE).encode(), b"application/json"
    if asked.get("stream"):
        said = b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in EVENTS) + b"data: [DONE]\n\n"
        kind = b"text/event-stream"
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(said), said)


@contextmanager
def closing(last: bytes = b"", *, fresh: bool = True) -> Iterator[Closing]:
    """Such an upstream, until the end of the block."""
    upstream = Closing(last, fresh=fresh)
    thread = threading.Thread(target=upstream.serve)
    thread.start()
    try:
        yield upstream
    finally:
        upstream.stop()
        thread.join()


IDLE = b"HTTP/1.1 408 Request Time-out\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
"""What some servers and load balancers say before they close a connection on which no request came."""
KEEPS = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"


def attempts(gateway: Gateway, response: httpx2.Response) -> list[tuple[str | None, str]]:
    """What came of each attempt, and why it was made."""
    end = gateway.closed(response.headers["x-request-id"])
    return [(each["error_type"], each["why"]) for each in end["attempts"]]


@pytest.mark.parametrize("last", [b"", IDLE % (0, b""), IDLE % (9, b"<h1>no..")], ids=["none", "408", "page"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_one_that_was_closed_as_we_sent(tmp_path: Path, stream: bool, last: bytes) -> None:
    """The call goes once more, to a connection that is new, though it may be tried once only; both stand in
    the record, the first without a cost, and speak against nobody. So it is with one that was idle for too
    long, and says so (RFC 9110, 15.5.9)."""
    with closing(last) as upstream:
        plan = deployment(upstream.url, price=PRICE, retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway:
            for _ in range(8):  # a breaker opens after five failures
                assert gateway.chat(stream=stream).status_code == 200
                response = gateway.chat(stream=stream)
                assert response.status_code == 200, response.text
                assert "Yes." in response.text
                assert attempts(gateway, response) == [("connection_stale", "first"), (None, "retry")]
                end = gateway.closed(response.headers["x-request-id"])
                assert (end["status"], end["input_tokens"], end["output_tokens"]) == ("ok", 3, 1)
                assert end["attempts"][0]["usage"] is None
        assert upstream.seen[:4] == [1, 1, 2, 2]


@pytest.mark.parametrize(("last", "fresh"), [(KEEPS, True), (IDLE % (0, b""), False)], ids=["keeps", "new"])
def test_one_that_has_given_the_request_up(tmp_path: Path, last: bytes, fresh: bool) -> None:
    """Who keeps the connection, or was asked on one that is new, had begun to read: that is a failure."""
    with closing(last, fresh=fresh) as upstream:
        plan = deployment(upstream.url, retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway:
            assert gateway.chat().status_code == 200
            response = gateway.chat()
            assert response.status_code == 502
            assert attempts(gateway, response)[-1] == ("upstream_error", "first" if fresh else "retry")
        assert upstream.seen == ([1, 1] if fresh else [1, 1, 2])


def test_more_than_once(tmp_path: Path) -> None:
    """What is closed under a call on a connection that is new is a failure like any other."""
    with closing(fresh=False) as upstream:
        plan = deployment(upstream.url, retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway:
            assert gateway.chat().status_code == 200
            response = gateway.chat()
            assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
            assert attempts(gateway, response) == [("connection_stale", "first"), ("upstream_error", "retry")]
        assert upstream.seen == [1, 1, 2]


def test_whoever_is_asked_afterwards_is_asked_anew(tmp_path: Path) -> None:
    """A call that was sent once more takes no kept connection again, a fallback's neither: what closed
    one, such as a restart of what stands before both, may have closed them all."""
    with closing(fresh=False) as upstream, closing() as backup:
        spare = deployment(backup.url, name="spare", aliases=(), provider="backup")
        plan = deployment(
            upstream.url, retry=Retry(attempts=1), continuation="off", fallbacks=(spare.target,)
        )
        with Gateway(tmp_path / "g", plan, spare) as gateway:
            assert gateway.chat().status_code == 200
            assert gateway.chat(model="spare").status_code == 200
            response = gateway.chat()
            assert response.headers["x-airboss-fallback"] == "backup/up"
            first, again, other = attempts(gateway, response)
            assert (first, again) == (("connection_stale", "first"), ("upstream_error", "retry"))
            assert other == (None, "fallback")
        assert (upstream.seen, backup.seen) == ([1, 1, 2], [1, 2])


@pytest.mark.parametrize("last", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["a byte", "informational"])
def test_one_that_had_begun_to_answer(tmp_path: Path, last: bytes) -> None:
    """Whoever has said anything has read the call: it is not sent again without being a retry."""
    with closing(last) as upstream:
        plan = deployment(upstream.url, retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway:
            assert gateway.chat().status_code == 200
            response = gateway.chat()
            assert response.status_code == 502
            assert attempts(gateway, response) == [("upstream_error", "first")]
        assert upstream.seen == [1, 1]


def test_what_asks_a_model_on_another_route(tmp_path: Path) -> None:
    """It makes nothing that stays, and goes once more."""
    with closing() as upstream:
        plan = deployment(upstream.url, kind="openai", retry=Retry(attempts=1))
        with Gateway(tmp_path / "g", plan) as gateway, gateway.client() as client:
            asked = {"model": "gpt-4o", "query": "a", "documents": ["b"]}
            assert client.post("/v1/rerank", json=asked).status_code == 200
            response = client.post("/v1/rerank", json=asked)
            assert response.status_code == 200, response.text
            assert attempts(gateway, response) == [("connection_stale", "first"), (None, "retry")]
        assert upstream.seen == [1, 1, 2]


def test_what_makes_something(tmp_path: Path) -> None:
    """It is sent once: nobody knows whether the provider has made it."""
    with closing() as upstream:
        plan = deployment(upstream.url, kind="openai", retry=Retry(attempts=3))
        with Gateway(tmp_path / "g", plan) as gateway, gateway.client() as client:
            asked = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions"}
            assert client.post("/v1/batches", json=asked).status_code == 200
            response = client.post("/v1/batches", json=asked)
            assert response.status_code == 502
            assert attempts(gateway, response) == [("connection_stale", "first")]
        assert upstream.seen == [1, 1]
