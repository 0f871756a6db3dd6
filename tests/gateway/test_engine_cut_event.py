"""A local engine whose time is over while half of an event has come."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx2
import pytest

from airboss.domain.plan import Timeouts
from airboss.governance.policies import policy_of
from tests.support.gateway import Gateway, deployment, together

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PROGRESS = {"choices": [], "prompt_progress": {"total": 7, "cache": 0, "processed": 7, "time_ms": 1}}
EVENTS = [
    PROGRESS,
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Once "}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "upon "}, "finish_reason": None}]},
]
HALVES = {
    "members": b'data: {"choices":[{"index":0,"delta":{"cont',
    "one line end": b'data: {"choices":[{"index":0,"delta":{"content":"a time"},"finish_reason":null}]}\n',
    "half a letter": b'data: {"choices":[{"index":0,"delta":{"content":"\xc3',
    "comment": b": a comme",
    "return": b"\r",
}
POLICIES = {"plain": None, "masks": policy_of("mask", None)}


@contextmanager
def engine(half: bytes) -> Iterator[str]:
    """An engine that says so much and no more, until its client leaves."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            events = b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in EVENTS)
            self.wfile.write(HEAD + events + half)
            self.wfile.flush()
            while self.connection.recv(65536):
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with an engine for each half, with a policy and without."""
    times = Timeouts(total_s=4.0, first_token_s=4.0, idle_s=4.0)
    with ExitStack() as engines:
        urls = {name: engines.enter_context(engine(half)) for name, half in HALVES.items()}
        plans = [
            deployment(
                url, name=f"{policy} {name}", aliases=(), kind="local", timeout=times, policy=POLICIES[policy]
            )
            for name, url in urls.items()
            for policy in POLICIES
        ]
        with Gateway(tmp_path_factory.mktemp("cut"), *plans) as running:
            yield running


@pytest.fixture(scope="module")
def answers(gateway: Gateway) -> dict[tuple[str, str, bool], httpx2.Response]:
    """The answers by half, policy, and whether they are streams: at once, as each takes all of its time."""
    return together(
        {
            (name, policy, stream): partial(gateway.chat, model=f"{policy} {name}", stream=stream)
            for name in HALVES
            for policy in POLICIES
            for stream in (False, True)
        }
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("half", HALVES)
def test_what_was_said_is_the_answer(
    gateway: Gateway,
    answers: dict[tuple[str, str, bool], httpx2.Response],
    half: str,
    policy: str,
    stream: bool,
) -> None:
    """It ends by its length, and what had not come whole is not part of it."""
    answer = answers[half, policy, stream]
    assert answer.status_code == 200, answer.text
    end = gateway.closed(answer.headers["x-request-id"])
    assert (end["status"], end["finish_reason"]) == ("ok", "length"), answer.text
    assert (end["input_tokens"], end["output_tokens"], end["usage_estimated"]) == (7, 2, False)
    assert end["response"]["choices"][0]["message"]["content"] == "Once upon "
    if stream:
        assert answer.text.endswith("data: [DONE]\n\n")
