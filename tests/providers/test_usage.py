"""What a provider says of usage is counted once, whatever it says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.chat_said import read_said
from airboss.domain.plan import LongPrompt, Price, Target
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.pricing import Buckets, cost_usd
from airboss.providers.usage import Usage

tokens = st.integers(0, 10_000)
maybe = st.none() | tokens
usages = st.builds(
    lambda prompt, output, total, read, write, hour, thought: {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": total,
        "prompt_tokens_details": {
            "cached_tokens": read,
            "cache_write_tokens": write,
            "cache_write_1h_tokens": hour,
        },
        "completion_tokens_details": {"reasoning_tokens": thought},
    },
    tokens,
    maybe,
    maybe | st.text(max_size=3) | st.just(-1) | st.just(10**12),
    maybe,
    maybe,
    maybe,
    maybe,
)
rates = st.decimals(0, 1000, places=4)
RATES: dict[str, Any] = {
    "input_usd_per_mtok": Decimal(10),
    "output_usd_per_mtok": Decimal(100),
    "cached_input_usd_per_mtok": Decimal(1),
    "cache_write_usd_per_mtok": Decimal("12.5"),
    "cache_write_1h_usd_per_mtok": Decimal(20),
}


@pytest.mark.parametrize("name", ["cached_tokens", "prompt_cache_hit_tokens"])
@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_what_was_read_from_the_cache_by_other_names(name: str, details: dict[str, Any] | None) -> None:
    """Moonshot's and DeepSeek's; it is paid as such, and told to clients of other dialects."""
    usage = {"prompt_tokens": 9, "completion_tokens": 1, name: 4, "prompt_tokens_details": details}
    used = msgspec.convert(usage, Usage).buckets()
    assert (used.uncached, used.cache_read) == (5, 4)
    counts = read_said(json.dumps({"usage": usage}).encode()).counts
    assert counts is not None
    assert (counts.input, counts.cached) == (9, 4)


def test_what_bedrock_keeps_for_an_hour() -> None:
    """It tells so of what was written to the cache, and has another price for it."""
    usage: dict[str, Any] = {"inputTokens": 3, "outputTokens": 1, "cacheWriteInputTokens": 10}
    usage |= {"cacheDetails": [{"ttl": "5m", "inputTokens": 4}, {"ttl": "1h", "inputTokens": 6}]}
    content = [{"text": "hi"}]
    said = {"output": {"message": {"content": content}}, "stopReason": "end_turn", "usage": usage}
    read = BedrockReader(7, id="b", model="m", answer_tool=None)
    told = json.loads(read.whole(json.dumps(said).encode()))["usage"]
    used = msgspec.convert(told, Usage).buckets()
    assert (used.uncached, used.cache_write, used.cache_write_1h) == (3, 10, 6)


@given(usages)
def test_parts_come_to_the_whole(said: dict[str, Any]) -> None:
    """The five parts are never negative and never overlap: input is the prompt, and with what was produced
    it comes to the total where that can be true."""
    used = msgspec.convert(said, Usage).buckets()
    parts = (used.uncached, used.cache_read, used.cache_write, used.output, used.reasoning)
    assert all(part >= 0 for part in parts)
    assert used.uncached + used.cache_read + used.cache_write == used.input == said["prompt_tokens"]
    assert used.cache_write_1h <= used.cache_write
    told = said["completion_tokens"] or 0
    total = said["total_tokens"]
    believed = isinstance(total, int) and used.input + told < total <= 10**9
    assert used.output + used.reasoning == used.written == (total - used.input if believed else told)
    assert used.input + used.written == sum(parts)


def test_thoughts_beside_the_output_are_output() -> None:
    """XAI counts them in the total alone, and so does Gemini under OpenAI's dialect; they are billed."""
    said = Usage(prompt_tokens=10, completion_tokens=5, total_tokens=45)
    assert said.buckets() == Buckets(uncached=10, output=5, reasoning=30)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"completion_tokens": 5, "total_tokens": 45}, Buckets(uncached=40, output=5)),
        ({"prompt_tokens": 40, "total_tokens": 45}, Buckets(uncached=40, output=5)),
        ({"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 5}, Buckets(output=5)),
        ({"completion_tokens": 5, "total_tokens": 3}, Buckets(output=5)),
    ],
)
def test_what_is_not_said_is_the_rest_of_the_total(said: dict[str, Any], wanted: Buckets) -> None:
    """A prompt that is not told is none of the output, nor is an output that is not told a thought."""
    usage = msgspec.convert(said, Usage)
    assert (usage.whole, usage.buckets()) == (True, wanted)


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "total_tokens", "odd"])
def test_one_number_does_not_tell_all(name: str) -> None:
    """The rest has to be counted; a total alone is neither a prompt nor an output."""
    usage = msgspec.convert({name: 45}, Usage)
    assert not usage.whole
    assert usage.buckets().input + usage.buckets().written == (45 if name[0] in "pc" else 0)


@given(usages, st.sampled_from([None, 100, 5000]))
def test_cost_is_that_of_each_part(said: dict[str, Any], over: int | None) -> None:
    """A call costs what its parts cost, each at its own price, cached tokens never twice; a long prompt makes
    all of the call dearer."""
    used = msgspec.convert(said, Usage).buckets()
    dear = {name: 2 * rate for name, rate in RATES.items()}
    price = Price(**RATES, long_prompt=LongPrompt(over_tokens=over, **dear) if over is not None else None)
    target = Target(provider="p", kind="openai", base_urls=("http://x",), upstream_model="m", price=price)
    by_hand = (
        used.uncached * 10
        + used.cache_read
        + (used.cache_write - used.cache_write_1h) * Decimal("12.5")
        + used.cache_write_1h * 20
        + (used.output + used.reasoning) * 100
    ) / Decimal(10**6)
    if over is not None and said["prompt_tokens"] > over:
        by_hand *= 2
    assert cost_usd(target, used) == by_hand
    # A tier of service has a price of its own, whose long prompts it says itself.
    twice = Price(**dear)
    tiered = msgspec.structs.replace(target, price=msgspec.structs.replace(price, tiers={"fast": twice}))
    plain = msgspec.structs.replace(target, price=Price(**RATES))
    assert cost_usd(tiered, used, "fast") == 2 * (cost_usd(plain, used) or 0)
    assert cost_usd(tiered, used, "slow") == cost_usd(tiered, used) == by_hand
