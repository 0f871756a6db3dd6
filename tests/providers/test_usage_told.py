"""Whatever a provider of any dialect says of usage, each token counts once or the count is ours."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.dialects.chat_said import read_said
from airboss.dialects.messages_answer import usage_of as messages_usage
from airboss.dialects.messages_passing import PassingReader
from airboss.dialects.responses_output import usage_of as responses_usage
from airboss.dialects.responses_passing import PassingReader as HearingReader
from airboss.domain.plan import Price, Target
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.assembly import Assembly
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.compatible import read_reply
from airboss.providers.dialect import DONE, Reader
from airboss.providers.gemini_answer import GeminiReader
from airboss.providers.pricing import cost_usd
from airboss.providers.usage import TOKENS_MAX, Usage
from tests.gateway import samples
from tests.gateway.test_translations_fuzz import EVENTS, WHOLE

Json = dict[str, Any]
Made = tuple[Callable[[], Reader], Json, list[Json], str]
ROUNDS = 300
PRICE = Price(
    input_usd_per_mtok=Decimal(3),
    output_usd_per_mtok=Decimal(15),
    cached_input_usd_per_mtok=Decimal("0.3"),
    cache_write_usd_per_mtok=Decimal("3.75"),
)
TARGET = Target(provider="p", kind="openai", base_urls=("http://x",), upstream_model="m", price=PRICE)
ODD = ["0", "1", "7", "40", "1000000000", "1000000001", "9223372036854775808", "1" + "0" * 40, "-1", "-5000"]
ODD += ["-1e30", "1.5", "12.0", "1e400", '"7"', '"-7"', '""', "null", "true", "[]", "[3]", "{}", '{"x":null}']
"""Counts as they are written."""
NESTED = ["input_tokens_details", "output_tokens_details", "prompt_tokens_details"]
NESTED += ["completion_tokens_details", "cache_creation"]


class Plain(Reader):
    """Of OpenAI's own dialect, in which nothing is translated."""

    def whole(self, body: bytes) -> bytes:
        """As it is."""
        return body

    def event(self, data: bytes) -> list[bytes]:
        """As it is."""
        return [data]

    def end(self) -> list[bytes]:
        """Nothing more."""
        return []


DIALECTS: dict[str, Made] = {
    "anthropic": (
        lambda: AnthropicReader(0, answer_tool=None),
        samples.MESSAGE,
        samples.MESSAGE_EVENTS,
        "usage",
    ),
    "passing": (lambda: PassingReader(0), samples.MESSAGE, samples.MESSAGE_EVENTS, "usage"),
    "responses": (lambda: HearingReader(0), WHOLE[0], EVENTS, "usage"),
    "gemini": (lambda: GeminiReader(0, model="g"), samples.GEMINI, [samples.GEMINI] * 2, "usageMetadata"),
    "bedrock": (
        lambda: BedrockReader(0, id="i", model="m", answer_tool=None),
        samples.CONVERSE,
        samples.CONVERSE_EVENTS,
        "usage",
    ),
    "chat": (Plain, samples.ANSWER, samples.CHUNKS, "usage"),
}


def oddly(rng: random.Random, value: Json, name: str) -> bytes:
    """The value as JSON, each count of its usages perhaps another, and the usage itself perhaps no object."""
    marks: list[str] = []

    def mark() -> str:
        marks.append(rng.choice(ODD) if rng.random() < 0.5 else str(rng.randint(0, 50)))
        return f"<{len(marks) - 1}>"

    def walk(at: Any, *, counts: bool) -> Any:
        if isinstance(at, list):
            return [walk(each, counts=False) for each in at]
        if not isinstance(at, dict):
            return mark() if counts and rng.random() < 0.6 else at
        made = {n: walk(each, counts=counts or n == name) for n, each in at.items()}
        if counts:
            made |= {n: mark() for n in NESTED if rng.random() < 0.05}
        return mark() if counts and rng.random() < 0.02 else made

    text = json.dumps(walk(copy.deepcopy(value), counts=False))
    for number, written in enumerate(marks):
        text = text.replace(f'"<{number}>"', written)
    return text.encode()


def check(usage: Usage | None) -> None:
    """Parts that are never negative, never overlap and come to the whole; a cost that is theirs."""
    if usage is None:
        return
    used = usage.buckets()
    parts = msgspec.structs.astuple(used)
    assert all(isinstance(part, int) and 0 <= part <= TOKENS_MAX for part in parts), used
    assert used.cache_write_1h <= used.cache_write
    assert usage.prompt_tokens in {None, used.input}
    assert used.written >= (usage.completion_tokens or 0)
    cost = cost_usd(TARGET, used)
    assert cost is not None
    assert 0 <= cost < Decimal(10**8)


def check_said(chat: bytes) -> None:
    """What a client of another dialect is told, in numbers that can be true."""
    said = read_said(chat).counts
    if said is None:
        return
    assert all(count >= 0 for count in msgspec.structs.astuple(said)), said
    told = messages_usage(said)
    assert (
        told["input_tokens"] + told["cache_read_input_tokens"] + told["cache_creation_input_tokens"]
        == said.input
    )
    told = responses_usage(said)
    assert sum(told["input_tokens_details"].values()) <= told["input_tokens"]
    assert told["output_tokens_details"]["reasoning_tokens"] <= told["output_tokens"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_token_counts_once(dialect: str) -> None:
    """An answer is read for all that is odd in its usage, whole or streamed."""
    make, whole, events, name = DIALECTS[dialect]
    rng = random.Random(f"usage {dialect}")
    told = 0
    for _ in range(ROUNDS):
        chat = make().whole(oddly(rng, whole, name))
        reply = read_reply(chat)
        assert reply.choices
        check(reply.usage)
        check_said(chat)
        told += reply.usage is not None
        reader, assembly = make(), Assembly("chat")
        pieces = [piece for event in events for piece in reader.event(oddly(rng, event, name))]
        for piece in [*pieces, *reader.end()]:
            if piece != DONE:
                assembly.add(read_reply(piece))
        check(assembly.usage)
        assert assembly.response() is not None
    assert told > ROUNDS / 10


@pytest.mark.parametrize("dialect", ["anthropic", "passing"])
@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": None}, {"output_tokens": -1}])
def test_what_is_said_at_the_start_of_a_message_is_not_what_it_used(dialect: str, usage: Json | None) -> None:
    """Some servers say no more: then the output is counted here, and not taken for one token."""
    make, _, events, _ = DIALECTS[dialect]
    reader, said = make(), list[bytes]()
    for event in copy.deepcopy(events):
        if event["type"] == "message_delta":
            event["usage"] = usage
        said += reader.event(json.dumps(event).encode())
    assert not any(read_reply(piece).usage for piece in said if piece != DONE)
    told = reader.told()
    assert told is not None
    assert told["prompt_tokens"] > 0


@pytest.mark.parametrize("input_tokens", [None, -1, "7", []])
def test_a_response_without_its_input_tells_no_usage(input_tokens: Any) -> None:
    """It is counted here, and not taken for none."""
    whole = copy.deepcopy(WHOLE[0])
    whole["usage"]["input_tokens"] = input_tokens
    reader = HearingReader(0)
    reply = read_reply(reader.whole(json.dumps(whole).encode()))
    assert reply.choices
    assert reply.usage is None
