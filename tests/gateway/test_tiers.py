"""What calls cost whose answers name a tier of service."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan, Price
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.compatible import read_reply
from airboss.providers.dialect import Reader
from airboss.providers.gemini_answer import GeminiReader
from tests.support.gateway import Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream

USUAL = Price(
    input_usd_per_mtok=Decimal(10),
    output_usd_per_mtok=Decimal(100),
    tiers={
        "flex": Price(input_usd_per_mtok=Decimal(5), output_usd_per_mtok=Decimal(50)),
        "fast": Price(input_usd_per_mtok=Decimal(60), output_usd_per_mtok=Decimal(600)),
    },
)
COSTS = {"": "0.00023", "flex": "0.000115", "fast": "0.00138", "scale": "0.00023"}
"""Of three tokens in and two out."""


def plans(url: str, secret: str) -> list[DeploymentPlan]:
    """One as of OpenAI and one as of Anthropic."""
    priced: dict[str, Any] = {"aliases": (), "price": USUAL, "priced_by": "config", "api_key_ref": secret}
    return [deployment(url, name=kind, kind=kind, **priced) for kind in ("openai", "anthropic")]


worker, gateway = said_gateway(plans)


def chat(tier: str, *, stream: bool) -> list[dict[str, Any]]:
    """What OpenAI says: an answer, or the events of one."""
    named: dict[str, Any] = {"id": "u", "model": "up", "service_tier": tier}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if not stream:
        said = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        return [{**named, "object": "chat.completion", "choices": [said], "usage": usage}]
    delta = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
    kind = {"object": "chat.completion.chunk"}
    return [{**named, **kind, "choices": [delta]}, {**named, **kind, "choices": [], "usage": usage}]


def responses(tier: str, *, stream: bool) -> list[dict[str, Any]]:
    """The same in Responses; asked for, a tier may be another at the end."""
    part: dict[str, Any] = {"type": "output_text", "text": "hi", "annotations": []}
    item: dict[str, Any] = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "model": "up",
        "status": "completed",
        "output": [item],
    }
    response |= {"service_tier": tier, "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}
    begun: dict[str, Any] = response | {
        "status": "in_progress",
        "output": [],
        "usage": None,
        "service_tier": "flex",
    }
    text = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "hi"}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}, text]
    return [*events, {"type": "response.completed", "response": response}] if stream else [response]


def messages(tier: str, *, stream: bool) -> list[dict[str, Any]]:
    """What Anthropic says; its fast mode is a speed, beside the tier."""
    named = {"service_tier": "standard", "speed": "fast"} if tier == "fast" else {"service_tier": tier}
    usage = {"input_tokens": 3, "output_tokens": 2, **named}
    block = {"type": "text", "text": "hi"}
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [block],
    }
    message |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    if not stream:
        return [message]
    begun: dict[str, Any] = message | {
        "content": [],
        "stop_reason": None,
        "usage": usage | {"output_tokens": 1},
    }
    delta = {"type": "text_delta", "text": "hi"}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]


SAYS = {
    "openai chat": chat,
    "openai responses": responses,
    "anthropic chat": messages,
    "anthropic messages": messages,
}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "responses": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
}
PATHS = {"chat": "chat/completions", "responses": "responses", "messages": "messages"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "case",
    [
        ("flex", "flex", "config for flex"),
        ("fast", "fast", "config for fast"),
        ("scale", "scale", "config, not for scale"),
        ("default", "", "config"),
        ("standard", "", "config"),
        ("Odd, and no name", "", "config"),
    ],
)
@pytest.mark.parametrize("way", SAYS)
def test_an_answer_costs_what_its_tier_does(
    gateway: Gateway, upstream: SaidUpstream, *, way: str, case: tuple[str, str, str], stream: bool
) -> None:
    """Whole or streamed, in whichever dialect; a tier without a price costs the usual, and that is told."""
    (tier, told, by), (kind, dialect) = case, way.split()
    said = SAYS[way](tier, stream=stream)
    if stream:
        upstream.events = [json.dumps(each) for each in said]
    else:
        upstream.body = said[0]
    body = {"model": kind, "stream": stream, **ASKED[dialect]}
    with gateway.client() as client:
        answer = client.post(f"/v1/{PATHS[dialect]}", json=body)
    assert answer.status_code == 200, answer.text
    end = gateway.closed(answer.headers["x-request-id"])
    (attempt,) = end["attempts"]
    assert (end["input_tokens"], end["output_tokens"]) == (3, 2)
    assert (Decimal(str(end["cost_usd"])), attempt["priced_by"]) == (Decimal(COSTS[told]), by)


GEMINI = {"promptTokenCount": 3, "candidatesTokenCount": 2}
CONVERSE = {"inputTokens": 3, "outputTokens": 2}
NAMED: list[tuple[dict[str, Any], str]] = [
    ({"serviceTier": "flex"}, "flex"),
    ({"serviceTier": "STANDARD"}, ""),
    ({"serviceTier": "unspecified"}, ""),
    ({"trafficType": "ON_DEMAND"}, ""),
    ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
    ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
    ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, ""),
    ({"trafficType": 7}, ""),
    ({}, ""),
]


def tiers(reader: Callable[[], Reader], whole: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """The tier that is read of an answer, whole and streamed; "" for the usual one."""
    once, streamed = reader(), reader()
    said = [once.whole(json.dumps(whole).encode())]
    said += [each for event in events for each in streamed.event(json.dumps(event).encode())]
    said += streamed.end()
    used = [read_reply(each).usage for each in said if each != b"[DONE]"]
    return [each.service_tier or "" for each in used if each is not None]


@pytest.mark.parametrize(("named", "tier"), NAMED)
def test_geminis_tiers(named: dict[str, Any], tier: str) -> None:
    """Gemini names a tier, and Vertex a kind of traffic, in what was used."""
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    said: dict[str, Any] = {"candidates": [candidate], "usageMetadata": GEMINI | named}
    assert tiers(lambda: GeminiReader(0, model="g"), said, [said]) == [tier, tier]


@pytest.mark.parametrize(
    ("named", "tier"),
    [
        ({"type": "priority"}, "priority"),
        ({"type": "reserved"}, "reserved"),
        ({"type": "default"}, ""),
        (7, ""),
        (None, ""),
    ],
)
def test_bedrocks_tiers(named: Any, tier: str) -> None:
    """Bedrock says the tier beside the usage."""
    told = {"usage": CONVERSE, "serviceTier": named}
    whole = {"output": {"message": {"content": [{"text": "hi"}]}}, "stopReason": "end_turn", **told}
    events: list[dict[str, Any]] = [{"messageStart": {}}, {"contentBlockDelta": {"delta": {"text": "hi"}}}]
    events += [{"contentBlockStop": {}}, {"messageStop": {"stopReason": "end_turn"}}, {"metadata": told}]
    made = tiers(lambda: BedrockReader(0, id="i", model="m", answer_tool=None), whole, events)
    assert made == [tier, tier]
