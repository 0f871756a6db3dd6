"""What a client is told that an answer took which was gone on with, and what goes on is held to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.gateway.test_continuation import chunks
from tests.support.gateway import Gateway, deployment

STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker with models that go on."""
    claude = deployment(
        provider.url, name="claude", aliases=(), kind="anthropic", upstream_model="claude", continuation="on"
    )
    with Gateway(own_root, claude, deployment(provider.url, continuation="on")) as running:
        yield running


@pytest.mark.parametrize("times", [1, 2])
def test_the_prompt_is_the_first_one(gateway: Gateway, provider: FakeProvider, times: int) -> None:
    """As Claude told it when it began, not guessed from what came after, however often that broke off."""
    whole = chunks(gateway.chat("tell me of it", model="claude", **STREAM))[-1]["usage"]
    provider.script(*["cut-reset;after=5"] * times)
    gone_on = chunks(gateway.chat("tell me of it", model="claude", **STREAM))[-1]["usage"]
    assert gone_on["prompt_tokens"] == whole["prompt_tokens"] > 0
    assert gone_on["total_tokens"] == gone_on["prompt_tokens"] + gone_on["completion_tokens"]


def test_what_it_has_of_a_cache_is_a_part_of_that(gateway: Gateway, provider: FakeProvider) -> None:
    """Of a prompt with the beginning of the answer in it more may have been cached than the first one has."""
    provider.script("cut-reset;after=5", "ok;cached_tokens=9")
    usage = chunks(gateway.chat("tell me of it", **STREAM))[-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] == 4


def test_what_was_said_counts_for_the_least_of_it(gateway: Gateway, provider: FakeProvider) -> None:
    """The `min_tokens` that vLLM knows is lowered by it, as are the bounds."""
    provider.script("cut-reset;after=5")
    chunks(gateway.chat("tell me of it", max_tokens=50, min_tokens=12, **STREAM))
    asked = json.loads(provider.last().body)
    assert (asked["max_tokens"], asked["min_tokens"]) == (45, 7)
