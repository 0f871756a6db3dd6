"""Anthropic's clients in front of Gemini, whose calls come signed and are wanted back so."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from airboss.dialects.messages_request import messages_as_chat
from airboss.dialects.plain import plain_chat
from airboss.domain.plan import DeploymentPlan
from airboss.domain.release import ProviderKind
from tests.support.gateway import Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import streamed

Json = dict[str, Any]
TOOLS = [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
HI = {"role": "user", "content": "hi"}
SIGNED = {"type": "thinking", "thinking": "", "signature": "airboss:google:c2ln"}


def plans(url: str, _secret: str) -> list[DeploymentPlan]:
    """Two of Gemini's models, Claude, and a server of OpenAI's dialect."""

    def plan(name: str, kind: ProviderKind, model: str) -> DeploymentPlan:
        return deployment(url, name=name, aliases=(), kind=kind, upstream_model=model)

    return [
        plan("gemini", "gemini", "gemini-3-pro"),
        plan("older", "gemini", "gemini-2.0-flash"),
        plan("claude", "anthropic", "claude-sonnet-4-5"),
        plan("other", "openai-compatible", "up"),
    ]


worker, gateway = said_gateway(plans)


def ask(gateway: Gateway, model: str, *messages: Json, **fields: Any) -> httpx2.Response:
    """Ask with a tool."""
    body = {"model": model, "max_tokens": 50, "messages": [HI, *messages], "tools": TOOLS, **fields}
    with gateway.client() as client:
        return client.post("/v1/messages", json=body)


def content_of(answer: httpx2.Response) -> list[Json]:
    """The blocks of an answer, put together as Anthropic's SDKs do where it is a stream."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        found: list[Json] = answer.json()["content"]
        return found
    blocks: list[Json] = []
    for name, event in streamed(answer):
        if name == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"])
        if name == "content_block_delta" and event["delta"]["type"] == "signature_delta":
            blocks[event["index"]]["signature"] += event["delta"]["signature"]
        if name == "content_block_delta" and event["delta"]["type"] == "text_delta":
            blocks[event["index"]]["text"] += event["delta"]["text"]
    return blocks


@pytest.mark.parametrize("stream", [False, True])
def test_signatures_of_calls_come_and_go_back(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """In a block of thoughts without words before the call; other models do not hear of it."""
    calls = [{"functionCall": {"name": "f", "args": {}, "id": f"c{number}"}} for number in (1, 2)]
    parts: list[Json] = [{"text": "Wait."}, {**calls[0], "thoughtSignature": "c2ln"}, calls[1]]
    upstream.body = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
        "responseId": "r",
    }
    upstream.events, upstream.done = ([json.dumps(upstream.body)] if stream else []), False
    content = content_of(ask(gateway, "gemini", stream=stream))
    assert [block["type"] for block in content] == ["text", "thinking", "tool_use", "tool_use"]
    assert content[1] == SIGNED
    results = [
        {"type": "tool_result", "tool_use_id": each["id"], "content": "1"}
        for each in content
        if each["type"] == "tool_use"
    ]
    turns = [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
    upstream.events = []
    ask(gateway, "gemini", *turns)
    sent = json.loads(upstream.seen[-1])["contents"]
    assert sent[1]["parts"] == parts
    assert [part["functionResponse"]["id"] for part in sent[2]["parts"]] == ["c1", "c2"]
    for model in ("claude", "other"):
        ask(gateway, model, *turns, thinking={"type": "adaptive"})
        assert b"c2ln" not in upstream.seen[-1], model
        assert b'"c1"' in upstream.seen[-1]


def test_googles_own_endpoint_of_openais_dialect_has_them_too() -> None:
    """It refuses calls without; other servers of the dialect would not know the member."""
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "1"}
    turns = [HI, {"role": "assistant", "content": [SIGNED, use]}, {"role": "user", "content": [result]}]
    asked = messages_as_chat(json.dumps({"model": "m", "max_tokens": 5, "messages": turns}).encode())
    for url, told in (
        ("https://generativelanguage.googleapis.com/v1beta/openai", True),
        ("https://example.com/v1", False),
    ):
        target = deployment(url, kind="openai-compatible", upstream_model="gemini-3-pro").target
        sent = json.loads(plain_chat(asked.body, target, rich=asked.rich))
        assert ("c2ln" in json.dumps(sent)) is told
        (call,) = sent["messages"][1]["tool_calls"]
        assert call.get("extra_content") == ({"google": {"thought_signature": "c2ln"}} if told else None)


def test_what_is_left_to_a_model_that_does_not_think_is_passed_over(
    gateway: Gateway, upstream: SaidUpstream
) -> None:
    """It refuses to be told of it, and clients leave it to the model unasked."""
    for model, told in (("gemini", True), ("older", False)):
        answer = ask(gateway, model, thinking={"type": "adaptive"})
        assert (b"thinkingConfig" in upstream.seen[-1]) is told
        assert (answer.headers.get("x-airboss-dropped") == "reasoning_effort") is not told
