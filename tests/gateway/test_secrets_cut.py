"""Secrets in the middle of which something was cut off, or gone on with: no half of one is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Retry, Target
from airboss.providers.assembly import OUTPUT_CHARS_MAX
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream

PROVIDER_KEY = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"
OWN_KEY = "ab_Zx81kQw92LmPq07VbN34TyReUi56OpAs78DfGh90JkL"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def backup() -> Iterator[SaidUpstream]:
    """Who goes on."""
    with said_upstream() as running:
        yield running


@pytest.fixture
def gateway(
    upstream: SaidUpstream, backup: SaidUpstream, tmp_path: Path, own_root: Path
) -> Iterator[Gateway]:
    """A worker of two upstreams, neither of which has failed, and of one whose answers are passed on."""
    (tmp_path / "key").write_text(PROVIDER_KEY)
    key = f"file:{tmp_path / 'key'}"
    other = Target(
        provider="backup",
        kind="openai-compatible",
        base_urls=(backup.url,),
        upstream_model="big",
        price=PRICE,
        continuation="on",
    )
    plans = (
        deployment(upstream.url, api_key_ref=key, fallbacks=(other,), retry=Retry(attempts=1)),
        deployment(upstream.url, name="pictures", aliases=(), kind="openai", api_key_ref=key),
    )
    with Gateway(own_root, *plans) as running:
        yield running


def said(text: str) -> bytes:
    """An event of a chat."""
    event = {"id": "u", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: %s\n\n" % json.dumps(event).encode()


def kept(gateway: Gateway, **asked: Any) -> str:
    """The text of the record of a stream."""
    answer = gateway.chat(stream=True, **asked)
    text = gateway.closed(answer.headers["x-request-id"])["response"]["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("secret", [PROVIDER_KEY, OWN_KEY])
@pytest.mark.parametrize("size", [8, 15, 26])
def test_another_goes_on_with_half_a_key(
    gateway: Gateway, upstream: SaidUpstream, backup: SaidUpstream, secret: str, size: int
) -> None:
    """Be it with other words, or with the rest of it; of less than a half all stays."""
    try:
        for begun, more, whole in (
            (secret[:size], ", so.", "It is [REDACTED], so."),
            (secret[:size], secret[size:] + ", so.", "It is [REDACTED], so."),
            (secret[:5], ", so.", f"It is {secret[:5]}, so."),
        ):
            upstream.raw = HEAD % b"text/event-stream" + said(f"It is {begun}")
            backup.stream([{"content": more}])
            assert kept(gateway) == whole
    finally:
        upstream.raw = None


def test_a_text_longer_than_is_kept(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What is kept of it ends with a piece, which may have half of a key."""
    pieces = ["x" * (OUTPUT_CHARS_MAX // 4)] * 4
    pieces[-1] = pieces[-1][:-10] + PROVIDER_KEY[:12]
    upstream.stream([{"content": each} for each in (*pieces, PROVIDER_KEY[12:], " so")])
    assert kept(gateway).endswith("xxx[REDACTED]")


@pytest.mark.parametrize("size", range(70, 100, 5))
def test_a_long_content_type(gateway: Gateway, upstream: SaidUpstream, size: int) -> None:
    """It is told whole or not at all."""
    upstream.raw = HEAD % b"image/%s; x=%s" % (b"x" * (size - 9), PROVIDER_KEY.encode()) + b"PNG"
    try:
        with gateway.client() as client:
            answer = client.post("/v1/images/generations", json={"model": "pictures", "prompt": "a"})
    finally:
        upstream.raw = None
    told = json.dumps(gateway.closed(answer.headers["x-request-id"]))
    assert "content_type" in told
    assert not [at for at in range(25) if PROVIDER_KEY[at : at + 8] in told]
