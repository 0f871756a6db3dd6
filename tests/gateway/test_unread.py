"""Clients that send requests and read no answers."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.gateway.edge_wire import get, post
from tests.gateway.test_strangers import _resident
from tests.support.gateway import Gateway
from tests.support.wait import until
from tests.support.wire_http import Wire

MIB = 1 << 20
MANY = 200_000


@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/nope"])
def test_who_reads_no_answer_is_answered_no_more(gateway: Gateway, path: bytes) -> None:
    """Requests wait once a client has fallen behind, so that answers do not fill the memory; they are
    answered, in order, when it reads on."""
    request_ = get(target=path)
    before = _resident(gateway)
    with Wire(gateway.port) as wire:
        wire.socket.setblocking(False)
        sent, last, held = 0, time.monotonic(), 0

        def still() -> bool:
            """Whether a second has brought nothing new: no request was taken, no memory."""
            nonlocal sent, last, held
            now = _resident(gateway)
            with contextlib.suppress(BlockingIOError):
                while sent < MANY * len(request_):
                    sent += wire.socket.send((request_ * 500)[sent % len(request_) :])
                    last = time.monotonic()
            if now != held:
                held, last = now, time.monotonic()
            return time.monotonic() - last > 1.0

        until(still, timeout_s=60.0, every_s=0.05)
        assert _resident(gateway) - before < 32 * MIB
        with Wire(gateway.port) as other:
            other.send(post())
            answer = other.answer()
            assert answer is not None
            assert answer.status == 200
        wire.socket.settimeout(10.0)
        answered, end = 0, b""
        while answered < sent // len(request_):
            piece = wire.socket.recv(1 << 20)
            assert piece, f"closed after {answered} answers"
            answered += (end + piece).count(b"HTTP/1.1 ")
            end = piece[-8:]
