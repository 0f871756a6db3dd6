"""What a client may make a worker keep before it has shown a good key, or while it waits its turn."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from airboss.testing import FakeProvider
from tests.gateway.edge_wire import AUTH, get, post
from tests.support.gateway import Gateway, deployment
from tests.support.wire_http import Wire, check_error

MIB = 1 << 20
LONG = b" " * (8 * MIB)


def _resident(gateway: Gateway) -> int:
    """The worker's memory of its own, in bytes."""
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        (b"/v1/chat/completions", b"", 401),
        (b"/v1/messages", b"x-api-key: ab_nope\r\n", 401),
        (b"/v1/nothing", b"authorization: Bearer nope\r\n", 401),
        (b"/healthz", AUTH, 404),
        (b"/", b"", 404),
    ],
)
def test_a_long_body_without_a_key_is_refused_before_its_end(
    gateway: Gateway, path: bytes, key: bytes, status: int, chunked: bool
) -> None:
    """A megabyte of thirty is enough for the answer: the rest need not come, and is not kept."""
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (30 * MIB)
    sent = b"%x\r\n%s" % (30 * MIB, b" " * MIB) if chunked else b" " * MIB
    with Wire(gateway.port) as wire:
        wire.send(b"POST %s HTTP/1.1\r\nhost: x\r\n%s%s\r\n\r\n%s" % (path, key, framing, sent))
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.closes) == (status, True)
        check_error(answer, anthropic=path == b"/v1/messages")


def test_strangers_do_not_fill_the_memory(gateway: Gateway) -> None:
    """A hundred strangers who send 8 MiB each, and leave the last byte out, cost a few megabytes."""
    with Wire(gateway.port) as wire:
        wire.send(post())
        assert wire.answer() is not None
    before = _resident(gateway)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (len(LONG) + 1)
    with contextlib.ExitStack() as open_ones:
        for _ in range(100):
            stranger = open_ones.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 2.0))
            with contextlib.suppress(OSError):
                stranger.sendall(head + LONG)
        with Wire(gateway.port) as wire:
            wire.send(post())
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200
        assert _resident(gateway) - before < 64 * MIB


def test_who_waits_behind_an_answer_waits_with_one_long_body(own_root: Path, provider: FakeProvider) -> None:
    """Of requests sent at once, those behind the one that is served are read a body ahead, not sixteen."""
    provider.script("ok;words=40;tokens_per_s=10")
    with Gateway(own_root, deployment(provider.url)) as gateway:
        before = _resident(gateway)
        with Wire(gateway.port) as wire:
            wire.socket.settimeout(1.0)
            wire.send(post(post().partition(b"\r\n\r\n")[2][:-1] + b',"stream":true}'))
            with contextlib.suppress(TimeoutError):
                for _ in range(12):
                    wire.send(post(LONG, path=b"/v1/feedback"))
            assert _resident(gateway) - before < 40 * MIB
            wire.socket.settimeout(60)
            first = wire.answer()
            assert first is not None
            assert first.status == 200


def test_an_answer_before_a_refused_body_is_whole(own_root: Path, provider: FakeProvider) -> None:
    """What a stranger goes on sending behind a request cuts nothing off the answer to that."""
    provider.script("ok;words=60000")
    stranger = b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(LONG)
    with Gateway(own_root, deployment(provider.url)) as gateway, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(60)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(post() + stranger + LONG[:MIB])
        got = client.recv(1)
        with contextlib.suppress(OSError):
            for _ in range(4):
                client.sendall(LONG[:MIB])
        while more := client.recv(1 << 16):
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"\r\nconnection: close" in head
        assert b"\r\ncontent-length: %d" % len(body) in head
        assert len(body) > 256 * 1024


def test_a_long_body_with_a_key_is_read(gateway: Gateway) -> None:
    """Whoever has a key may send what the limit allows, in order behind another."""
    with Wire(gateway.port) as wire:
        for data in (post(LONG), get(), post(LONG)):
            wire.send(data)
        answers = [wire.answer() for _ in range(3)]
        assert [each.status for each in answers if each is not None] == [400, 200, 400]
