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
    "a tier of service": (
        {"service_tier": "flex"},
        {
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 4096},
            "serviceTier": {"type": "flex"},
        },
    ),
    "what is Converse's own": (
        {
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
            "requestMetadata": {"a": "b"},
        },
        {
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 4096},
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
            "requestMetadata": {"a": "b"},
        },
    ),
    "limits": (
        {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": "END"},
        {
            "messages": HI_SAID,
            "inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            "additionalModelRequestFields": {"top_k": 4},
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
        },
    ),
    "system words and a mark for the cache": (
        {
            "messages": [
                {
                    "role": "system",
                    "content": [
                        part("text", text="one", cache_control={"type": "ephemeral", "ttl": "1h"}),
                        part("text", text="two", cache_control={"type": "ephemeral"}),
                    ],
                },
                *HI,
            ]
        },
        {
            "system": [
                {"text": "one"},
                {"cachePoint": {"type": "default", "ttl": "1h"}},
                {"text": "two"},
                POINT,
            ],
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


OSS, GPT = "openai.gpt-oss-120b-1:0", "us.openai.gpt-5.5-v1:0"
NOVA, DEEP = "us.amazon.nova-2-lite-v1:0", "deepseek.v3-v1:0"


@pytest.mark.parametrize(
    ("model", "asked", "fields"),
    [
        (OSS, {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
        (OSS, {"reasoning_effort": "none"}, {"reasoning_effort": "low"}),
        (DEEP, {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        (GPT, {"reasoning_effort": "xhigh"}, {"reasoning": {"effort": "xhigh"}}),
        (
            NOVA,
            {"reasoning_effort": "medium", "top_k": 5},
            {
                "inferenceConfig": {"topK": 5},
                "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"},
            },
        ),
        (NOVA, {"reasoning_effort": "none"}, None),
        (OTHER, {"reasoning_effort": "none"}, None),
        ("mistral.mistral-large-2407-v1:0", {"top_k": 5}, {"top_k": 5}),
    ],
)
def test_other_makers_models_are_told_in_their_own_words(model: str, asked: Json, fields: Json) -> None:
    """How much to think, and of how many words to choose; nothing of it is Anthropic's."""
    made, dropped = said({"model": model, "temperature": 0.5, **asked})
    assert (made.get("additionalModelRequestFields"), dropped) == (fields, [])
    assert made["inferenceConfig"] == {"temperature": 0.5}
    with pytest.raises(InvalidRequest, match="must be one of none, minimal"):
        said({"model": model, "reasoning_effort": "much"})


def test_thoughts_without_a_signature_go_back_without() -> None:
    """Models that sign nothing refuse one."""
    thought = {"type": "thinking", "thinking": "So.", "signature": ""}
    turn = {"role": "assistant", "content": "x", "thinking_blocks": [thought]}
    made, _ = said({"model": OSS, "messages": [*HI, turn, *HI]})
    assert made["messages"][1]["content"][0] == {"reasoningContent": {"reasoningText": {"text": "So."}}}


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    """Converse has no word for it; those that were called before are named, as it wants them to be."""
    made, dropped = said({"tools": [F], "tool_choice": "none"})
    assert ("toolConfig" in made, dropped) == (False, [])
    result = {"role": "tool", "tool_call_id": "a", "content": "1"}
    talk = [*HI, {"role": "assistant", "tool_calls": [CALL]}, result]
    made, dropped = said({"messages": talk, "tools": [F], "tool_choice": "none"})
    (spec,) = made["toolConfig"].pop("tools")
    assert (spec["toolSpec"]["description"], made["toolConfig"]) == ("No longer to be called.", {})
    assert dropped == []


def test_a_long_id_of_a_call_is_one_that_is_taken() -> None:
    """The same for the call and its result, and another for each."""
    ids = [f"call_{'x' * 80}{at}" for at in range(2)]
    talk = [
        *HI,
        {"role": "assistant", "tool_calls": [{**CALL, "id": each} for each in ids]},
        *({"role": "tool", "tool_call_id": each, "content": "1"} for each in ids),
    ]
    made, _ = said({"messages": talk, "tools": [F]})
    used = [block["toolUse"]["toolUseId"] for block in made["messages"][1]["content"]]
    answered = [block["toolResult"]["toolUseId"] for block in made["messages"][2]["content"]]
    assert (used, len(set(used)), max(map(len, used)) <= 64) == (answered, 2, True)


def test_a_model_of_others_has_neither_anthropics_limit_nor_its_schemas() -> None:
    """Nova and Llama say as much as they can, and answer a strict schema by a tool, as older models do."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "o", "strict": True, "schema": schema}}
    for model in (OTHER, "us.meta.llama3-3-70b-instruct-v1:0"):
        made, _ = said({"model": model, "response_format": wanted})
        assert "inferenceConfig" not in made
        assert made["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": schema}
        assert made["toolConfig"]["toolChoice"] == {"tool": {"name": "json_answer"}}
        assert said({"model": model, "max_tokens": 7})[0]["inferenceConfig"] == {"maxTokens": 7}


@pytest.mark.parametrize("model", [CLAUDE, "us.anthropic.claude-opus-4-6-v1", OTHER])
def test_a_strict_tools_schema_goes_as_it_is(model: str) -> None:
    """Converse is not told to hold a model to it, so that nothing of it need be taken out."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    made, _ = said({"model": model, "tools": [tool]})
    assert made["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": schema}


def test_a_mark_for_the_cache_stands_behind_a_tools_result() -> None:
    """Within a result, as clients of Anthropic's dialect put it there, Bedrock refuses it."""
    marked = {
        "role": "tool",
        "tool_call_id": "a",
        "content": [part("text", text="1", cache_control={"type": "ephemeral"})],
    }
    made, _ = said({"messages": [*HI, {"role": "assistant", "tool_calls": [CALL]}, marked], "tools": [F]})
    result = {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}}
    assert made["messages"][-1]["content"] == [result, POINT]


def test_a_conversation_with_calls_offers_tools_though_the_request_does_not() -> None:
    """Bedrock refuses one without a list of tools; OpenAI does not."""
    answered = {"role": "tool", "tool_call_id": "a", "content": "1"}
    made, _ = said({"messages": [*HI, {"role": "assistant", "tool_calls": [CALL]}, answered]})
    assert [tool["toolSpec"]["name"] for tool in made["toolConfig"]["tools"]] == ["f"]


def files(*names: str | None) -> list[Json]:
    """Parts that are files."""
    pdf = "data:application/pdf;base64,aGk="
    return [part("file", file={"file_data": pdf, "filename": name}) for name in names]


def test_documents_are_told_apart_by_name() -> None:
    """Bedrock refuses a name twice in a conversation, a name of none, and two spaces in a row."""
    turns = [
        {"role": "user", "content": files(None, "a  b.pdf", " ", None, "a b.pdf")},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": files("document 2")},
    ]
    made, _ = said({"messages": turns})
    names = [
        block["document"]["name"]
        for turn in made["messages"]
        for block in turn["content"]
        if "document" in block
    ]
    assert names == ["document", "a b-pdf", "document 2", "document 3", "a b-pdf 2", "document 2 2"]


def test_a_file_of_text_keeps_its_format() -> None:
    """Which its name tells."""
    table = part("file", file={"file_data": "data:text/csv;base64,YSxi", "filename": "t.csv"})
    made, _ = said({"messages": [{"role": "user", "content": [table]}]})
    document = {"format": "csv", "name": "t-csv", "source": {"bytes": "YSxi"}}
    assert made["messages"][0]["content"] == [{"document": document}]


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
        ({"model": "us.deepseek.r1-v1:0", "reasoning_effort": "low"}, "reasoning_effort"),
        ({"service_tier": "scale"}, "service_tier"),
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
