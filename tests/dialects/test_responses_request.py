"""OpenAI's Responses as chat requests: golden cases, and what is refused by name."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from airboss.dialects.responses_request import as_chat, read_responses
from airboss.domain.errors import InvalidRequest

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": True}


def chat(history: list[Any] | None = None, **members: Any) -> Any:
    """The chat request that a request becomes."""
    asked = read_responses(json.dumps({"model": "m", "input": "hi"} | members).encode())
    return json.loads(as_chat(asked, history or []))


def text(said: str, kind: str = "input_text") -> dict[str, Any]:
    """A part."""
    return {"type": kind, "text": said}


def user(content: Any) -> dict[str, Any]:
    """A chat message."""
    return {"role": "user", "content": content}


def called(call_id: str, arguments: str = "{}") -> dict[str, Any]:
    """A call in the input."""
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": arguments, "id": "fc"}


def call(call_id: str, arguments: str = "{}") -> dict[str, Any]:
    """A call in chat."""
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}}


INPUTS: list[tuple[str, Any, list[dict[str, Any]]]] = [
    ("text", "hi", [user("hi")]),
    ("easy message", [user("hi")], [user("hi")]),
    (
        "roles",
        [{"role": "developer", "content": "D"}, {"type": "message", "role": "system", "content": "S"}],
        [{"role": "developer", "content": "D"}, {"role": "system", "content": "S"}],
    ),
    ("one part", [user([text("a")])], [user("a")]),
    (
        "image and file",
        [
            user(
                [
                    text("see"),
                    {"type": "input_image", "image_url": "data:image/png;base64,A", "detail": "low"},
                    {"type": "input_file", "file_data": "data:x;base64,A", "filename": "a.pdf"},
                    {"type": "input_file", "file_url": "https://x/y.pdf"},
                ]
            )
        ],
        [
            user(
                [
                    text("see", "text"),
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,A", "detail": "low"}},
                    {"type": "file", "file": {"file_data": "data:x;base64,A", "filename": "a.pdf"}},
                    {"type": "file", "file": {"file_data": "https://x/y.pdf"}},
                ]
            )
        ],
    ),
    (
        "an earlier answer",
        [
            {
                "type": "message",
                "role": "assistant",
                "id": "msg",
                "status": "completed",
                "content": [
                    {**text("a", "output_text"), "annotations": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            }
        ],
        [{"role": "assistant", "content": "a", "refusal": "no"}],
    ),
    (
        "parallel calls, after words",
        [
            {"role": "assistant", "content": "Let me see."},
            called("a", '{"x":1}'),
            called("b"),
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {"type": "function_call_output", "call_id": "b", "output": [text("2"), text("3")]},
        ],
        [
            {"role": "assistant", "content": "Let me see.", "tool_calls": [call("a", '{"x":1}'), call("b")]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2\n3"},
        ],
    ),
    (
        "a call alone, after thoughts",
        [user("x"), {"type": "reasoning", "id": "rs", "summary": []}, called("a")],
        [user("x"), {"role": "assistant", "content": None, "tool_calls": [call("a")]}],
    ),
    (
        "thoughts and what came of them",
        [
            user("x"),
            {"type": "reasoning", "id": "rs", "summary": [], "content": [text("Hm. ", "reasoning_text")]},
            {"type": "reasoning", "id": "rs", "summary": [text("So.", "summary_text")]},
            {"role": "assistant", "content": "Let me see."},
            called("a"),
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {"type": "reasoning", "id": "rs", "summary": [text("Again.", "summary_text")]},
            called("b"),
            {"type": "reasoning", "id": "rs", "summary": [text("Left.", "summary_text")]},
            user("y"),
            {"type": "reasoning", "id": "rs", "summary": [text("Nothing yet.", "summary_text")]},
        ],
        [
            user("x"),
            {
                "role": "assistant",
                "reasoning_content": "Hm. So.",
                "content": "Let me see.",
                "tool_calls": [call("a")],
            },
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {
                "role": "assistant",
                "reasoning_content": "Again.Left.",
                "content": None,
                "tool_calls": [call("b")],
            },
            user("y"),
        ],
    ),
]


@pytest.mark.parametrize(("given", "wanted"), [i[1:] for i in INPUTS], ids=[i[0] for i in INPUTS])
def test_input(given: Any, wanted: list[dict[str, Any]]) -> None:
    """Each kind of item has its place in chat's messages."""
    assert chat(input=given)["messages"] == wanted


def test_many_thoughts_take_as_long_as_they_are_many() -> None:
    """They are joined once: joined one by one 16 MB of them took half a minute, and the worker with it."""

    def took_s(count: int) -> float:
        thought = {"type": "reasoning", "id": "rs", "summary": [text("x" * 500, "summary_text")]}
        began = time.process_time()
        (said,) = chat(input=[thought] * count + [called("a")])["messages"]
        assert len(said["reasoning_content"]) == 500 * count
        return time.process_time() - began

    assert min(took_s(8_000) for _ in range(2)) < 4 * max(0.05, min(took_s(4_000) for _ in range(2)))


def test_instructions_then_history_then_input() -> None:
    """Instructions come first, then what the call builds on, then its own input."""
    before = [user("before"), {"role": "assistant", "content": "said"}]
    said = chat(before, instructions="Be kind.", input="now")
    assert said["messages"] == [{"role": "system", "content": "Be kind."}, *before, user("now")]


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0.5, "top_p": 0.1, "user": "u"}, {"temperature": 0.5, "top_p": 0.1, "user": "u"}),
    ({"metadata": {"session_id": "s"}}, {"metadata": {"session_id": "s"}}),
    ({"max_output_tokens": 9}, {"max_tokens": 9}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
    ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
            }
        },
    ),
    ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    ({"store": False, "truncation": "auto", "background": False, "parallel_tool_calls": True}, {}),
    (
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": False,
        },
    ),
    ({"seed": 7, "prompt_cache_key": "k"}, {"seed": 7, "prompt_cache_key": "k"}),
]


@pytest.mark.parametrize(("members", "wanted"), PARAMETERS, ids=[json.dumps(p[0])[:50] for p in PARAMETERS])
def test_parameters(members: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Every parameter has its name in chat; members that nobody knows pass through."""
    assert chat(**members) == {"model": "m", "messages": [user("hi")]} | wanted


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": [{"type": "web_search_call", "id": "w"}]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "w"}]}, "input[0]"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ({"input": [user([{"type": "input_image", "file_id": "f"}])]}, "input[0].content[0]"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
    ({"input": [{"type": "function_call_output", "call_id": "f"}]}, "input[0]"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [FUNCTION], "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"text": {"format": {"type": "xml"}}}, "text.format"),
    ({"background": True}, "background"),
    ({"conversation": "c"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"moderation": {"model": "m", "policy": {"input": {"mode": "block"}}}}, "moderation"),
    ({"include": ["file_search_call.results"]}, "include"),
    ({"reasoning": {"effort": "low", "mode": "pro"}}, "reasoning.mode"),
    ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ({"truncation": "some"}, "truncation"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
]


@pytest.mark.parametrize(("members", "param"), REFUSED, ids=[f"{r[1]} {n}" for n, r in enumerate(REFUSED)])
def test_refused(members: dict[str, Any], param: str) -> None:
    """What chat cannot say is refused, and the error names the member."""
    body = json.dumps({"model": "m", "input": "hi"} | members).encode()
    try:
        asked = read_responses(body)
        as_chat(asked)
        refused: InvalidRequest = asked.unsaid[0]  # a provider of its own dialect may be asked
    except InvalidRequest as error:
        refused = error
    assert refused.param == param
    assert "; " in refused.message
