"""A client that ends its sending side behind its requests, as netcat does, has the answers that come soon."""

from __future__ import annotations

import json
import socket

import pytest

from tests.gateway.edge_wire import CHUNKED, LENGTH, chunks, framed, get, post
from tests.support.gateway import Gateway
from tests.support.wait import until
from tests.support.wire_http import Answer, Wire, check_error

SLOW = json.dumps(
    {"model": "gpt-4o", "messages": [{"role": "user", "content": 'fake:{"delay_s": 300}'}]}
).encode()
STREAM = json.dumps(
    {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": 'fake:{"words": 9}'}]}
).encode()
CASES = {
    "get": (get(), [200]),
    "health": (get(target=b"/healthz"), [200]),
    "whole": (post(), [200]),
    "chunked": (framed(CHUNKED, chunks(post(b"{}"))), [400]),
    "stream": (post(STREAM), [200]),
    "not JSON": (post(b"{no"), [400]),
    "no such model": (post(b'{"model": "zz", "messages": [{"role": "user", "content": "hi"}]}'), [404]),
    "stranger": (post(head=b""), [401]),
    "not HTTP": (b"\x00garbage\r\n\r\n", [400]),
    "several": (get() + post() + get(target=b"/none"), [200, 200, 404]),
    "half a line": (b"GET /v1/mod", [400]),
    "half a head": (b"GET /v1/models HTTP/1.1\r\nhost: x\r\n", [400]),
    "half a body": (post()[:-3], [400]),
    "half a chunk": (framed(CHUNKED, chunks(b"{}", end=b"")), [400]),
    "no body": (framed(LENGTH), [400]),
}


def answers(port: int, data: bytes) -> list[Answer]:
    """All that comes to who sends this and then no more, until the server closes."""
    with Wire(port) as wire:
        wire.send(data)
        wire.socket.shutdown(socket.SHUT_WR)
        found = list(iter(wire.answer, None))
        assert wire.closed
        return found


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_was_sent_is_answered(gateway: Gateway, case: str) -> None:
    """Whole requests as always, and half of one is refused; behind the last answer the connection ends."""
    data, expected = CASES[case]
    found: list[Answer] = []

    def answered() -> bool:
        # A machine that stands still for half a second is too late.
        found[:] = answers(gateway.port, data)
        return [each.status for each in found] == expected

    until(answered)
    for answer in found:
        if answer.status >= 400:
            check_error(answer)


def test_who_waits_longer_has_gone(gateway: Gateway) -> None:
    """What is worked on for a client that sends no more, and may have gone, ends."""

    def cancelled() -> int:
        return [each["status"] for each in gateway.frames()[1].values()].count("cancelled")

    before = cancelled()
    assert answers(gateway.port, post(SLOW)) == []
    until(lambda: cancelled() == before + 1)
