"""Chat requests in Anthropic's words, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.chat_request import ANSWER_TOOL
from airboss.providers.dialect import Unsaid

Json = dict[str, Any]
OLD, NEW, PNG = "claude-sonnet-4-5", "claude-opus-4-6", "data:image/png;base64,aGk="
HI = [{"role": "user", "content": "hi"}]
HI_SAID = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["x"]}}}
F_SAID = {"name": "f", "input_schema": {"type": "object", "properties": {}, "required": ["x"]}}
CALL = {"id": "call.1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def said(request: Json, *, drop: bool = False) -> tuple[Json, list[str]]:
    """The body that goes upstream, and what was left out."""
    unsaid = Unsaid("Anthropic's models", drop=drop)
    made = messages_request(json.dumps({"model": OLD, "messages": HI} | request).encode(), unsaid)
    return json.loads(made.body), unsaid.dropped


def text(words: str, **more: Any) -> Json:
    """A text block."""
    return {"type": "text", "text": words, **more}


GOLDEN: dict[str, tuple[Json, Json]] = {
    "nothing said": ({}, {"max_tokens": 4096, "messages": HI_SAID}),
    "limits": (
        {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": "END", "user": "ann"},
        {
            "max_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 4,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "ann"},
            "messages": HI_SAID,
        },
    ),
    "the newer name of the limit": (
        {"max_tokens": 7, "max_completion_tokens": 9},
        {"max_tokens": 9, "messages": HI_SAID},
    ),
    "a stream": (
        {"stream": True, "stream_options": {"include_usage": True}},
        {"max_tokens": 4096, "stream": True, "messages": HI_SAID},
    ),
    "system words, early and late": (
        {
            "messages": [
                {"role": "system", "content": "one"},
                {"role": "developer", "content": [text("two"), text("three")]},
                *HI,
                {"role": "system", "content": "four"},
            ]
        },
        {
            "max_tokens": 4096,
            "system": [text("one"), text("two\nthree"), text("four")],
            "messages": HI_SAID,
        },
    ),
    "turns that do not alternate": (
        {
            "messages": [
                *HI,
                {"role": "user", "content": "there"},
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": ""},
                {"role": "assistant", "content": None, "refusal": "b"},
            ]
        },
        {
            "max_tokens": 4096,
            "messages": [
                {"role": "user", "content": [text("hi"), text("there")]},
                {"role": "assistant", "content": [text("a"), text("b")]},
            ],
        },
    ),
    "images and a file": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                        {
                            "type": "file",
                            "file": {"file_data": "data:application/pdf;base64,cGRm", "filename": "a.pdf"},
                        },
                        text("what?", cache_control={"type": "ephemeral"}),
                    ],
                }
            ]
        },
        {
            "max_tokens": 4096,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                        },
                        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
                            "title": "a.pdf",
                        },
                        text("what?", cache_control={"type": "ephemeral"}),
                    ],
                }
            ],
        },
    ),
    "a name of a type that OpenAI takes too": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk="}}],
                }
            ]
        },
        {
            "max_tokens": 4096,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
                        }
                    ],
                }
            ],
        },
    ),
    "a file of text": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "file",
                            "file": {"file_data": "data:text/csv;base64,YSzDpA==", "filename": "t.csv"},
                        }
                    ],
                }
            ]
        },
        {
            "max_tokens": 4096,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "a,ä"},
                            "title": "t.csv",
                        }
                    ],
                }
            ],
        },
    ),
    "marks for the cache stay where they are": (
        {
            "messages": [
                {
                    "role": "system",
                    "content": [
                        text("one"),
                        text("two", cache_control={"type": "ephemeral"}),
                        text("now"),
                    ],
                },
                *HI,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
                },
                {
                    "role": "tool",
                    "tool_call_id": "a",
                    "content": "1",
                    "cache_control": {"type": "ephemeral"},
                },
            ]
        },
        {
            "max_tokens": 4096,
            "system": [text("one\ntwo", cache_control={"type": "ephemeral"}), text("now")],
            "messages": [
                *HI_SAID,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": [text("1")],
                            "cache_control": {"type": "ephemeral"},
                        }
                    ],
                },
            ],
        },
    ),
    "no stream, in so many words": (
        {"stream": None},
        {"max_tokens": 4096, "messages": HI_SAID},
    ),
    "calls and their results": (
        {
            "tools": [F],
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "content": "well",
                    "thinking_blocks": [{"index": 0, **THOUGHT}],  # as a stream has it
                    "tool_calls": [CALL, {"id": "two", "function": {"name": "f", "arguments": ""}}],
                },
                {"role": "tool", "tool_call_id": "call.1", "content": "1"},
                {"role": "tool", "tool_call_id": "two", "content": ""},
                {"role": "user", "content": "and?"},
            ],
        },
        {
            "max_tokens": 4096,
            "tools": [F_SAID],
            "messages": [
                *HI_SAID,
                {
                    "role": "assistant",
                    "content": [
                        THOUGHT,
                        text("well"),
                        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
                        {"type": "tool_use", "id": "two", "name": "f", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "call_1", "content": [text("1")]},
                        {"type": "tool_result", "tool_use_id": "two"},
                        text("and?"),
                    ],
                },
            ],
        },
    ),
    "one call at a time": (
        {"tools": [F], "parallel_tool_calls": False},
        {
            "max_tokens": 4096,
            "messages": HI_SAID,
            "tools": [F_SAID],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    "no call": (
        {"tools": [F], "tool_choice": "none"},
        {"max_tokens": 4096, "messages": HI_SAID, "tools": [F_SAID], "tool_choice": {"type": "none"}},
    ),
    "a choice without tools": ({"tool_choice": "auto"}, {"max_tokens": 4096, "messages": HI_SAID}),
    "a schema beside tools": (
        {"tools": [F], "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {
            "max_tokens": 4096,
            "messages": HI_SAID,
            "tools": [
                F_SAID,
                {
                    "name": ANSWER_TOOL,
                    "description": "The answer, as JSON. Call this tool with the whole answer.",
                    "input_schema": SCHEMA,
                },
            ],
            "tool_choice": {"type": "any"},
        },
    ),
    "any JSON": (
        {"response_format": {"type": "json_object"}},
        {
            "max_tokens": 4096,
            "messages": HI_SAID,
            "tools": [
                {
                    "name": ANSWER_TOOL,
                    "description": "The answer, as JSON. Call this tool with the whole answer.",
                    "input_schema": {"type": "object", "additionalProperties": True},
                }
            ],
            "tool_choice": {"type": "tool", "name": ANSWER_TOOL},
        },
    ),
    "a strict schema for a model that knows such": (
        {
            "model": NEW,
            "response_format": {"type": "json_schema", "json_schema": {"strict": True, "schema": SCHEMA}},
            "reasoning_effort": "high",
            "max_tokens": 100,
        },
        {
            "max_tokens": 100,
            "messages": HI_SAID,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
        },
    ),
    "thinking, by a budget": (
        {"reasoning_effort": "medium"},
        {
            "max_tokens": 8192,
            "messages": HI_SAID,
            "thinking": {"type": "enabled", "budget_tokens": 4096},
        },
    ),
    "thinking within a limit": (
        {"reasoning_effort": "high", "max_tokens": 2000, "temperature": 1},
        {
            "max_tokens": 2000,
            "messages": HI_SAID,
            "temperature": 1.0,
            "thinking": {"type": "enabled", "budget_tokens": 1500},
        },
    ),
    "thinking, by an effort": (
        {"model": NEW, "reasoning_effort": "minimal"},
        {
            "max_tokens": 5120,
            "messages": HI_SAID,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "low"},
        },
    ),
    "all the thinking that there is": (
        {"model": NEW, "reasoning_effort": "max"},
        {
            "max_tokens": 4096 + 32768,
            "messages": HI_SAID,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "max"},
        },
    ),
    "no thinking": ({"reasoning_effort": "none"}, {"max_tokens": 4096, "messages": HI_SAID}),
    "no thinking of one who does": (
        {"model": NEW, "reasoning_effort": "none"},
        {"max_tokens": 4096, "messages": HI_SAID, "thinking": {"type": "disabled"}},
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_request_is_said(case: str) -> None:
    """Nothing is left out, and nothing is added."""
    request, expected = GOLDEN[case]
    assert said(request) == ({"model": request.get("model", OLD)} | expected, [])


REFUSED: dict[str, tuple[Json, str]] = {
    "a seed": ({"seed": 1}, "seed"),
    "a search of the web": ({"web_search_options": {}}, "web_search_options"),
    "a member that nobody knows": ({"wibble": {"a": 1}}, "wibble"),
    "sound": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
                }
            ]
        },
        "messages[0].content[0]",
    ),
    "an uploaded file": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "messages[0].content[0]",
    ),
    "an old function's result": (
        {"messages": [*HI, {"role": "function", "content": "x"}]},
        "messages[1]",
    ),
    "a tool of another type": ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
    "a choice among some": ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    "thinking that must call": (
        {"tools": [F], "tool_choice": "required", "reasoning_effort": "low"},
        "reasoning_effort",
    ),
    "thinking in too little": ({"max_tokens": 1024, "reasoning_effort": "low"}, "reasoning_effort"),
    "a form by a grammar": ({"response_format": {"type": "regex", "regex": "a+"}}, "response_format"),
    "thinking that is warm": ({"temperature": 0.5, "reasoning_effort": "low"}, "temperature"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_said_is_named_or_dropped(case: str) -> None:
    """A 400 names it; with `drop` it is left out and named."""
    request, name = REFUSED[case]
    with pytest.raises(InvalidRequest) as raised:
        said(request)
    assert (raised.value.param, raised.value.code) == (name, "unsupported_by_provider")
    if case not in {"sound", "an uploaded file"}:  # nothing would be left of those
        assert said(request, drop=True)[1] == [name]


MISTAKES: dict[str, tuple[Json, str]] = {
    "arguments that are no object": (
        {
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1"}}],
                },
            ]
        },
        "messages[1].tool_calls[0].function.arguments",
    ),
    "only instructions": ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    "an effort that is none": ({"reasoning_effort": "huge"}, "reasoning_effort"),
    "a schema of a list": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}},
        "response_format",
    ),
    "bytes without a type": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "aGk="}}]}]},
        "messages",
    ),
    "a text of other bytes": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}],
                }
            ]
        },
        "messages",
    ),
    "a data URL without data": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        "messages",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_refused_whatever_may_be_dropped(case: str) -> None:
    """They are the caller's, and named."""
    request, name = MISTAKES[case]
    with pytest.raises(InvalidRequest) as raised:
        said(request, drop=True)
    assert raised.value.param == name


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-3-5-sonnet-20241022", False),
        ("claude-sonnet-4-20250514", False),
        ("claude-haiku-4-5-20251001", False),
        ("us.anthropic.claude-opus-4-5-v1:0", False),
        ("claude-opus-4-6", True),
        ("us.anthropic.claude-sonnet-4-6-v1", True),
        ("claude-opus-5", True),
        ("claude-haiku-5-5", True),
        ("claude-mythos-preview", True),
    ],
)
def test_models_are_told_apart(model: str, adaptive: bool) -> None:
    """Up to 4.5 a model takes a budget, from 4.6 on an effort."""
    body, _ = said({"model": model, "reasoning_effort": "low"})
    assert body["thinking"]["type"] == ("adaptive" if adaptive else "enabled")
