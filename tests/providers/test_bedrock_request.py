"""Chat requests in the words of Bedrock's Converse, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.bedrock_request import converse_request
from airboss.providers.dialect import Unsaid

Json = dict[str, Any]
CLAUDE, OTHER = "us.anthropic.claude-sonnet-4-5-v1:0", "amazon.nova-pro-v1:0"
HI = [{"role": "user", "content": "hi"}]
HI_SAID = [{"role": "user", "content": [{"text": "hi"}]}]
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
POINT = {"cachePoint": {"type": "default"}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def said(request: Json, *, drop: bool = False) -> tuple[Json, list[str]]:
    """The body that goes upstream, and what was left out."""
    unsaid = Unsaid("models of Bedrock", drop=drop)
    made = converse_request(json.dumps({"model": CLAUDE, "messages": HI} | request).encode(), unsaid)
    return json.loads(made.body), unsaid.dropped


def part(type_: str, **members: Any) -> Json:
    """A part of a message."""
    return {"type": type_, **members}


GOLDEN: dict[str, tuple[Json, Json]] = {
    "nothing said": ({}, {"messages": HI_SAID, "inferenceConfig": {"maxTokens": 4096}}),
    "limits": (
        {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": "END"},
        {
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            "additionalModelRequestFields": {"top_k": 4},
        },
    ),
    "system words and a mark for the cache": (
        {
            "messages": [
                {
                    "role": "system",
                    "content": [part("text", text="one", cache_control={"type": "ephemeral"})],
                },
                *HI,
            ]
        },
        {
            "system": [{"text": "one"}, POINT],
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 4096},
        },
    ),
    "an image and a file": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        part("image_url", image_url={"url": "data:image/png;base64,aGk="}),
                        part(
                            "file",
                            file={"file_data": "data:application/pdf;base64,aGk=", "filename": "a_b.pdf"},
                        ),
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"image": {"format": "png", "source": {"bytes": "aGk="}}},
                        {"document": {"format": "pdf", "name": "a-b-pdf", "source": {"bytes": "aGk="}}},
                    ],
                }
            ],
            "inferenceConfig": {"maxTokens": 4096},
        },
    ),
    "a call and its result": (
        {
            "tools": [F],
            "tool_choice": "required",
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "thinking_blocks": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                    ],
                    "tool_calls": [CALL],
                },
                {"role": "tool", "tool_call_id": "a", "content": "1"},
            ],
        },
        {
            "messages": [
                *HI_SAID,
                {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
                        {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}}],
                },
            ],
            "inferenceConfig": {"maxTokens": 4096},
            "toolConfig": {"tools": [SPEC], "toolChoice": {"any": {}}},
        },
    ),
    "thinking": (
        {"reasoning_effort": "low"},
        {
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 5120},
            "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        },
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_request_is_said(case: str) -> None:
    """Nothing is left out, and nothing is added."""
    request, expected = GOLDEN[case]
    assert said(request) == (expected, [])


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"model": OTHER, "reasoning_effort": "low"}, "reasoning_effort"),
        ({"tools": [F], "tool_choice": "none"}, "tool_choice"),
        ({"tools": [F], "parallel_tool_calls": False}, "parallel_tool_calls"),
    ],
)
def test_what_cannot_be_said_is_named_or_dropped(request_: Json, name: str) -> None:
    """A 400 names it; with `drop` it is left out and named."""
    with pytest.raises(InvalidRequest) as raised:
        said(request_)
    assert raised.value.param == name
    assert said(request_, drop=True)[1] == [name]


def test_a_url_is_not_fetched() -> None:
    """Bedrock takes an image's bytes only."""
    image = part("image_url", image_url={"url": "https://x/y.png"})
    with pytest.raises(InvalidRequest, match="base64"):
        said({"messages": [{"role": "user", "content": [image]}]}, drop=True)


@pytest.mark.parametrize(
    "odd",
    [{}, {"type": 3}, {"type": "x"}, {"type": "text"}, {"type": "image"}, {"type": "image", "source": 3}],
)
def test_a_thought_of_the_clients_own_making(odd: Json) -> None:
    """It is the client's mistake, and not ours."""
    turn = {"role": "assistant", "content": "x", "thinking_blocks": [odd]}
    with pytest.raises(InvalidRequest, match="thinking block"):
        said({"messages": [*HI, turn]})
