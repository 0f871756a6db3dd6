"""A request that offers to change to another protocol is answered in HTTP/1.1, its body read as any other."""

from __future__ import annotations

import json

import pytest

from tests.gateway.edge_wire import AUTH, CHAT, CHUNKED, LENGTH, chunks, framed, get, post
from tests.support.gateway import Gateway
from tests.support.wire_http import Wire

JAVA = (
    b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"upgrade: h2c\r\n"
)
"""What Java's own client sends with each request that is not encrypted."""
REQUESTS = {
    "length": post(head=AUTH + JAVA),
    "chunked": framed(JAVA + CHUNKED, chunks(CHAT[:9], CHAT[9:])),
    "large": post(CHAT.replace(b"hi", b"hi" * 200_000), head=AUTH + JAVA),
    "get": get(JAVA),
    "websocket": post(head=AUTH + b"connection: keep-alive, upgrade\r\nupgrade: websocket\r\n"),
}


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("case", sorted(REQUESTS))
def test_an_offer_is_passed_over(gateway: Gateway, case: str, piece: int) -> None:
    """However it is sent, the request is answered, and the connection stays."""
    request = REQUESTS[case]
    piece = max(piece, len(request) // 500)
    with Wire(gateway.port) as wire:
        for _ in range(3):
            for at in range(0, len(request), piece):
                wire.send(request[at : at + piece])
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200, answer
            assert "connection" not in answer.headers


def test_a_body_that_waits_behind_an_offer(gateway: Gateway) -> None:
    """Who asks whether to go on is told so once."""
    with Wire(gateway.port) as wire:
        for _ in range(3):
            wire.send(framed(JAVA + LENGTH + b"expect: 100-continue\r\n"))
            told = wire.answer()
            assert told is not None
            assert told.status == 100
            wire.send(CHAT)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200, answer


def test_offers_one_behind_the_other(gateway: Gateway) -> None:
    """Hundreds in one write are answered in their order, whatever they bring."""
    kinds = ("length", "get", "chunked")
    with Wire(gateway.port) as wire:
        wire.send(b"".join(REQUESTS[kind] for kind in kinds) * 150)
        for n in range(450):
            answer = wire.answer()
            assert answer is not None, n
            assert answer.status == 200, answer
            assert ("choices" in answer.json()) is (kinds[n % 3] != "get")


def test_what_an_offer_cannot_hide(gateway: Gateway) -> None:
    """A body behind an offer is bounded and framed as any other, and a CONNECT refused."""
    refused = {
        framed(JAVA + CHUNKED, b"zz\r\n"): 400,
        framed(JAVA + CHUNKED + LENGTH, CHAT): 400,
        framed(JAVA + b"content-length: 99999999999\r\n", CHAT): 413,
        framed(JAVA + LENGTH + b"content-type: a\r\ncontent-type: b\r\n", CHAT): 400,
        get(JAVA, method=b"CONNECT", target=b"example.com:443") + get(): 404,
        get(method=b"CONNECT", target=b"example.com:443") + get(): 404,
    }
    for request, status in refused.items():
        with Wire(gateway.port) as wire:
            wire.send(request)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == status, answer
            assert json.loads(answer.body)["error"]["message"]
            assert wire.answer() is None
