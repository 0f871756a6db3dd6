"""Compressed bodies are read as curl and browsers read them, however they are cut."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import httpx2
import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.domain.plan import Retry
from airboss.domain.release import ProviderKind
from airboss.gateway.inflate import Inflate, unpacks
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import said_upstream
from tests.support.wait import until

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
def test_what_is_cut_is_not_whole(form: str) -> None:
    """All of it is, and so is what is nobody's after it, and nothing at all."""
    body, deflate = BODIES[form]
    for size in (1, len(body) // 2, len(body)):
        unpacked = Inflate(deflate=deflate)
        assert unpacked.whole
        unpacked.feed(body[:size], len(TEXT))
        assert unpacked.whole == (size == len(body))


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
    """Of two members, and of raw deflate, and what is packed by nothing; a bomb of many members does not."""
    said = EVENTS if streams else ANSWER
    raw = zlib.compressobj(wbits=-15)
    bodies = (
        (b"gzip", gzip.compress(said[:20]) + gzip.compress(said[20:]), 200),
        (b"deflate", raw.compress(said) + raw.flush(), 200),
        (b"", said, 200),
        (b"gzip", gzip.compress(b" " * (16 << 20)) * 5, 502),
    )
    with said_upstream() as upstream, Gateway(tmp_path / "g", deployment(upstream.url)) as gateway:
        for coding, body, status in bodies:
            lines = b"connection: close\r\ncontent-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (
                coding,
                len(body),
            )
            upstream.raw = b"HTTP/1.1 200 OK\r\n" + lines + body
            response = gateway.chat(stream=streams)
            assert response.status_code == status, response.text
            assert status != 200 or "One two." in response.text


@pytest.mark.parametrize("silent", [b"\n\n", b":\n\n", b"data:\n\n", b"\r\r"])
@pytest.mark.parametrize("kind", ["openai-compatible", "anthropic"])
def test_a_bomb_of_nothing_is_bounded(tmp_path: Path, kind: ProviderKind, silent: bytes) -> None:
    """Sixty megabytes of events that say nothing come of sixty kilobytes, and cost neither time nor room."""
    said = EVENTS.partition(b"data: [")[0].replace(b',"finish_reason":"stop"', b"")
    packed = {b"": 502, said: 200} if kind == "openai-compatible" else {b"": 502}
    with said_upstream() as upstream:
        plan = deployment(upstream.url, kind=kind, retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway:
            for before, status in packed.items():
                body = gzip.compress(before + silent * ((60 << 20) // len(silent)))
                lines = b"connection: close\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
                upstream.raw = b"HTTP/1.1 200 OK\r\n" + lines % len(body) + body
                response = gateway.chat(stream=True)
                assert response.status_code == status, response.text
                assert "one after another" in response.text
            told = Path(f"/proc/{gateway.process.pid}/status").read_text()
            assert int(told.partition("VmHWM:")[2].split()[0]) < 400_000


def test_cut_answers_never_look_whole(tmp_path: Path) -> None:
    """Though their HTTP ends in order: of sound nobody could tell. What has said its end is whole."""
    speech, chat = {"input": "x"}, {"messages": [{"role": "user", "content": "hi"}]}
    sound = ("/v1/audio/speech", b"audio/mpeg", bytes(range(256)) * 9, speech)
    long = ("/v1/audio/speech", b"audio/mpeg", random.Random(1).randbytes(300_000), speech)
    heard = ("/v1/audio/speech", b"text/event-stream", b'data: {"type":"speech.audio.done"}\n\n', speech)
    over = (*heard[:2], heard[2] + b"data: [DONE]\n\n", speech)
    whole = ("/v1/chat/completions", b"application/json", ANSWER, chat)
    stream = ("/v1/chat/completions", b"text/event-stream", EVENTS, chat | {"stream": True})
    # What is sent of each, and whether that is all of it. The last 8 bytes of gzip say nothing more.
    cases = [(each, share, share == 1) for each in (sound, long, heard, whole, stream) for share in (0.5, 1)]
    cases += [(over, -8, True), (stream, -8, True), (whole, -8, True), (sound, -8, False)]
    with said_upstream() as upstream:
        plan = deployment(upstream.url, kind="openai", retry=Retry(attempts=1), continuation="off")
        with Gateway(tmp_path / "g", plan) as gateway, gateway.client() as client:
            for (path, kind, said, asked), share, well in cases:
                packed = gzip.compress(said)
                sent = packed[:-8] if share < 0 else packed[: int(len(packed) * share)]
                lines = b"content-type: %s\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
                upstream.raw = b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + lines % (kind, len(sent)) + sent
                try:
                    response = client.post(path, json={"model": "gpt-4o"} | asked)
                    good = response.status_code == 200 and response.content.startswith(said[:9])
                    good &= "error" not in response.text
                except httpx2.TransportError:
                    good = False
                assert good == well, (kind, said[:30], share)
            until(lambda: len(gateway.frames()[1]) == len(cases))
            ends = gateway.frames()[1].values()
            assert sum(each["status"] == "ok" for each in ends) == sum(well for *_, well in cases)
            assert {each["error_type"] for each in ends} == {None, "stream_cut", "upstream_error"}


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
