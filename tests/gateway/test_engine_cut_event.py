"""A local engine whose time is over while half of an event has come."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from airboss.domain.plan import Timeouts
from airboss.governance.policies import policy_of
from tests.support.gateway import Gateway, deployment

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PROGRESS = {"choices": [], "prompt_progress": {"total": 7, "cache": 0, "processed": 7, "time_ms": 1}}
EVENTS = [
    PROGRESS,
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Once "}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "upon "}, "finish_reason": None}]},
]
HALVES = [
    b'data: {"choices":[{"index":0,"delta":{"cont',
    b'data: {"choices":[{"index":0,"delta":{"content":"a time"},"finish_reason":null}]}\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"\xc3',
    b": a comme",
    b"\r",
]


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


@pytest.mark.parametrize(
    "half", HALVES, ids=["members", "one line end", "half a letter", "comment", "return"]
)
def test_what_was_said_is_the_answer(half: bytes, own_root: Path) -> None:
    """It ends by its length, and what had not come whole is not part of it."""
    times = Timeouts(total_s=4.0, first_token_s=4.0, idle_s=4.0)
    with engine(half) as url:
        plans = [
            deployment(url, name=name, aliases=(), kind="local", timeout=times, policy=policy)
            for name, policy in (("plain", None), ("masks", policy_of("mask", None)))
        ]
        with Gateway(own_root, *plans) as gateway, ThreadPoolExecutor() as clients:
            asked = {
                (plan.name, stream): clients.submit(gateway.chat, model=plan.name, stream=stream)
                for plan in plans
                for stream in (False, True)
            }  # at once: each takes all of its time
            for (_, stream), call in asked.items():
                answer = call.result()
                assert answer.status_code == 200, answer.text
                end = gateway.closed(answer.headers["x-request-id"])
                assert (end["status"], end["finish_reason"]) == ("ok", "length"), answer.text
                used = (end["input_tokens"], end["output_tokens"], end["usage_estimated"])
                assert used == (7, 2, False)
                assert end["response"]["choices"][0]["message"]["content"] == "Once upon "
                if stream:
                    assert answer.text.endswith("data: [DONE]\n\n")
