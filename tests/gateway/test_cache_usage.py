"""What an answer from the cache says that it took: as if it had been brought at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.domain.plan import Caching, Hedge
from airboss.testing import FakeProvider
from tests.gateway.test_cache import kept, state
from tests.support.gateway import Gateway, deployment
from tests.support.wait import until


@pytest.fixture
def gateway(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker whose deployment keeps answers, and whose model goes on with one that broke off."""
    hedge = Hedge(quantile=0.5, extra=1.0)
    with Gateway(
        own_root, deployment(provider.url, cache=Caching(), continuation="on", hedge=hedge)
    ) as running:
        yield running


@pytest.mark.parametrize(
    "streams", [{}, {"stream_options": {"include_usage": True}}], ids=["unasked", "asked"]
)
def test_an_answer_that_was_gone_on_with(
    gateway: Gateway, provider: FakeProvider, streams: dict[str, object]
) -> None:
    """The first prompt and all of the output, though its record has what every attempt took."""
    whole = gateway.chat("hello there").json()["usage"]
    provider.script("cut-reset;after=5")
    brought = gateway.chat("hello there", stream=True, seed=1, **streams)
    assert brought.text.endswith("data: [DONE]\n\n")
    until(lambda: kept(gateway) == 2)
    given = gateway.chat("hello there", seed=1)
    assert (state(given), given.json()["usage"]) == ("hit", whole)
    closed = gateway.closed(brought.headers["x-request-id"])
    assert [each["why"] for each in closed["attempts"]] == ["first", "continuation"]
    assert closed["input_tokens"] > whole["prompt_tokens"]


def test_what_the_provider_did_not_tell(gateway: Gateway, provider: FakeProvider) -> None:
    """It is counted, the prompt once."""
    provider.script("no-usage", "cut-reset;after=5", "no-usage")
    for seed in (1, 2):
        gateway.chat("hello there", stream=True, seed=seed)
    until(lambda: kept(gateway) == 2)
    plain, gone_on = (gateway.chat("hello there", seed=seed).json()["usage"] for seed in (1, 2))
    assert gone_on["prompt_tokens"] == plain["prompt_tokens"] > 0
    assert abs(gone_on["completion_tokens"] - plain["completion_tokens"]) < 4


def test_an_attempt_that_lost_the_race(gateway: Gateway, provider: FakeProvider) -> None:
    """It is the call's to pay, and no part of the answer."""
    for seed in range(25):
        gateway.chat("hello there", stream=True, seed=seed)
    whole = gateway.chat("hello there").json()["usage"]
    provider.script("ok;first_token_s=3")
    brought = gateway.chat("hello there", stream=True, seed=99)
    closed = gateway.closed(brought.headers["x-request-id"])
    assert [each["why"] for each in closed["attempts"]] == ["first", "hedge"]
    assert closed["input_tokens"] > whole["prompt_tokens"]
    until(lambda: kept(gateway) == 27)
    given = gateway.chat("hello there", seed=99)
    assert (state(given), given.json()["usage"]) == ("hit", whole)
