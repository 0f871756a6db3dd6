"""Compressed bodies are read as curl and browsers read them, however they are cut."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.gateway.inflate import Inflate, unpacks
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import said_upstream

TEXT = bytes(range(256)) * 300
RAW = zlib.compressobj(wbits=-15)
BODIES: dict[str, tuple[bytes, bool]] = {
    "gzip": (gzip.compress(TEXT), False),
    "gzip of several members": (b"".join(map(gzip.compress, (TEXT[:7], b"", TEXT[7:]))), False),
    "gzip and bytes after it": (gzip.compress(TEXT) + b"\0\0nothing", False),
    "zlib": (zlib.compress(TEXT), True),
    "zlib and bytes after it": (zlib.compress(TEXT) + b"\0\0nothing", True),
    "raw deflate": (RAW.compress(TEXT) + RAW.flush(), True),
    "gzip that says deflate": (gzip.compress(TEXT), True),
    "zlib that says gzip": (zlib.compress(TEXT), False),
}


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize("form", BODIES)
def test_every_form_is_read(form: str, size: int) -> None:
    """All of it and nothing else, in pieces of any size."""
    body, deflate = BODIES[form]
    unpacked = Inflate(deflate=deflate)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert b"".join(unpacked.feed(piece, len(TEXT)) for piece in pieces) == TEXT


@pytest.mark.parametrize("form", BODIES)
def test_a_bomb_is_bounded(form: str) -> None:
    """No more is unpacked than may be, in how many members it comes."""
    body, deflate = BODIES[form]
    with pytest.raises(UpstreamFailed, match="more than"):
        Inflate(deflate=deflate).feed(body, len(TEXT) - 1)


def test_what_is_not_compressed_is_refused() -> None:
    """As it is by curl, and not passed on as if it were."""
    with pytest.raises(UpstreamFailed, match="broken"):
        Inflate(deflate=False).feed(b'{"choices":', 1000)


ANSWER = b'{"choices":[{"index":0,"message":{"content":"One two."},"finish_reason":"stop"}]}'
EVENTS = b"data: %s\n\ndata: [DONE]\n\n" % ANSWER.replace(b"message", b"delta")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_compressed_answers_reach_the_client(tmp_path: Path, streams: bool) -> None:
    """Of two members, and of raw deflate; a bomb of many members does not."""
    said = EVENTS if streams else ANSWER
    raw = zlib.compressobj(wbits=-15)
    bodies = (
        (b"gzip", gzip.compress(said[:20]) + gzip.compress(said[20:]), 200),
        (b"deflate", raw.compress(said) + raw.flush(), 200),
        (b"gzip", gzip.compress(b" " * (16 << 20)) * 5, 502),
    )
    with said_upstream() as upstream, Gateway(tmp_path / "g", deployment(upstream.url)) as gateway:
        for coding, body, status in bodies:
            lines = b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (coding, len(body))
            upstream.raw = b"HTTP/1.1 200 OK\r\n" + lines + body
            response = gateway.chat(stream=streams)
            assert response.status_code == status, response.text
            assert status != 200 or "One two." in response.text


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"identity", False), (b"none", False), (b"utf-8", False), (b"", False), (b"identity, GZIP", True)],
)
def test_what_is_no_coding_says_nothing(encoding: bytes, packed: bool) -> None:
    """Clients read such bodies as they are."""
    assert (unpacks(encoding) is not None) == packed


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, br", b"gzip, gzip"])
def test_a_coding_that_is_not_read_is_told(encoding: bytes) -> None:
    """By its name."""
    with pytest.raises(UpstreamFailed, match="unasked"):
        unpacks(encoding)
