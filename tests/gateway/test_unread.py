"""Clients that send requests and read no answers."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from airboss.gateway.client_bounds import PIPELINE_MAX, STRANGER_UNREAD_S
from tests.gateway.edge_wire import get, post
from tests.gateway.test_strangers import _resident
from tests.support.gateway import Gateway
from tests.support.wait import until
from tests.support.wire_http import Answer, Wire

MIB = 1 << 20
STRANGERS = 20
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
        wire.socket.settimeout(60)
        answered, end = 0, b""
        while answered < sent // len(request_):
            piece = wire.socket.recv(1 << 20)
            assert piece, f"closed after {answered} answers"
            answered += (end + piece).count(b"HTTP/1.1 ")
            end = piece[-8:]


@pytest.mark.parametrize("path", [b"/v1/models", b"/healthz"])
def test_strangers_who_read_no_answer(gateway: Gateway, path: bytes) -> None:
    """Without a key who sends all that goes costs tens of kilobytes, and is left in seconds."""
    request_ = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path
    before = _resident(gateway)
    with contextlib.ExitStack() as open_ones:
        left: dict[socket.socket, int] = {}
        for _ in range(STRANGERS):
            stranger = open_ones.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 2.0))
            stranger.setblocking(False)
            left[stranger] = 0
        most, began = 0, time.monotonic()

        def gone() -> bool:
            """Whether every stranger has been left; all others send on."""
            nonlocal most
            for stranger in tuple(left):
                try:
                    for _ in range(16):
                        left[stranger] += stranger.send((request_ * 2_000)[left[stranger] % len(request_) :])
                except BlockingIOError:
                    pass
                except OSError:
                    del left[stranger]
            most = max(most, _resident(gateway))
            return not left

        until(gone, timeout_s=60.0, every_s=0.05)
        assert time.monotonic() - began < 3 * STRANGER_UNREAD_S
        assert (most - before) / STRANGERS < 150_000
        with Wire(gateway.port) as other:
            other.send(post())
            answer = other.answer()
            assert answer is not None
            assert answer.status == 200


def test_a_stranger_is_answered_what_fits(gateway: Gateway) -> None:
    """Who sends hundreds of requests at once without a key has answers to the first, of which the last says
    that it closes."""
    with Wire(gateway.port) as wire:
        wire.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
        answers: list[Answer] = []
        while not (answers and answers[-1].closes):
            answer = wire.answer()
            assert answer is not None
            answers.append(answer)
        assert PIPELINE_MAX <= len(answers) < 2 * PIPELINE_MAX
        assert {each.status for each in answers} == {401}
