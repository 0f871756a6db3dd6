"""What would stop, crash or be ignored by a local engine never reaches it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import ApiError
from airboss.domain.request import Operation
from airboss.gateway.engine_wire import NOT_TAKEN, SENT
from airboss.gateway.local_limits import refuse_unfit
from airboss.gateway.wire import parse_body

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TEXT: dict[str, Any] = {"model": "m", "prompt": "hi"}
NESTED = {"type": "string", "pattern": "^((a?){30}){30}$"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def schema(value: Any) -> dict[str, Any]:
    """A response format with this schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}}


def said(*messages: Any) -> dict[str, Any]:
    """Messages after one that is well."""
    return {"messages": [CHAT["messages"][0], *messages]}


def judge(operation: Operation, changes: dict[str, Any], slot_tokens: int | None = 100) -> None:
    """Parse and judge a body."""
    raw = json.dumps((CHAT if operation == "chat" else TEXT) | changes).encode()
    refuse_unfit(raw, parse_body(operation, raw), slot_tokens=slot_tokens)


@pytest.mark.parametrize(
    ("operation", "changes", "param"),
    [
        ("chat", {"grammar": "root ::= " + "(" * 30_000}, "grammar"),
        ("chat", {"json_schema": {}}, "json_schema"),
        ("chat", {"n_probs": 100_000}, "n_probs"),
        ("chat", {"dry_penalty_last_n": 2**31 - 1}, "dry_penalty_last_n"),
        ("chat", {"functions": [{"name": "f"}]}, "functions"),
        ("chat", schema(NESTED), "response_format"),
        ("chat", schema({"enum": list(range(501))}), "response_format"),
        ("chat", schema(5), "response_format.json_schema.schema"),
        ("chat", {"response_format": {"type": "nope"}}, "response_format.type"),
        ("chat", {"response_format": {"type": "text", "x": "y" * 70_000}}, "response_format"),
        ("chat", {"response_format": {"type": "json_object", "schema": NESTED}}, "response_format"),
        ("text_completion", schema(NESTED), "response_format"),
        ("chat", {"logit_bias": {str(i): 1 for i in range(1001)}}, "logit_bias"),
        ("chat", {"logit_bias": {"x" * 65: 1}}, "logit_bias"),
        ("chat", {"max_tokens": 2**40}, "max_tokens"),
        ("chat", {"max_completion_tokens": 2**31}, "max_completion_tokens"),
        ("chat", {"temperature": 2.01}, "temperature"),
        ("chat", {"top_p": 1.01}, "top_p"),
        ("chat", {"frequency_penalty": -2.5}, "frequency_penalty"),
        ("text_completion", {"presence_penalty": 2.5}, "presence_penalty"),
        ("chat", {"max_completion_tokens": 0}, "max_completion_tokens"),
        ("text_completion", {"max_tokens": 0}, "max_tokens"),
        ("chat", {"min_p": 4}, "min_p"),
        ("chat", {"typical_p": -0.1}, "typical_p"),
        ("chat", {"mirostat": 3}, "mirostat"),
        ("chat", {"logit_bias": {"x": 1}}, "logit_bias"),
        ("chat", {"logit_bias": {"-5": 1}}, "logit_bias"),
        ("chat", {"logit_bias": {"5": -100.5}}, "logit_bias"),
        ("chat", {"seed": 2**70}, "seed"),
        ("chat", {"stop": ["a", ""]}, "stop"),
        ("chat", {"stop": ["a"] * 5}, "stop"),
        ("chat", {"stop": ["a" * 20_000]}, "stop"),
        ("chat", said({"role": "wizard", "content": "x"}), "messages[1].role"),
        ("chat", said({"role": "user", "content": [{"type": "text"}]}), "messages[1].content[0].text"),
        (
            "chat",
            said({"role": "user", "content": [{"type": "text", "text": 5}]}),
            "messages[1].content[0].text",
        ),
        ("chat", said({"role": "user", "content": "x", "name": 5}), "messages[1].name"),
        ("chat", said({"role": "assistant", "tool_calls": "x"}), "messages[1].tool_calls"),
        ("chat", said({"role": "assistant", "tool_calls": [{}]}), "messages[1].tool_calls[0].type"),
        (
            "chat",
            said({"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}]}),
            "messages[1].tool_calls[0].function.arguments",
        ),
        ("chat", {"messages": [{"role": "user", "content": "x" * 5_000_000}]}, None),
        ("chat", {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            "chat",
            {"tools": [TOOL | {"function": {"name": "f", "parameters": NESTED}}]},
            "tools[0].function.parameters",
        ),
        ("chat", {"tools": [TOOL] * 129}, "tools"),
        (
            "chat",
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
        ),
        ("text_completion", {"echo": True}, "echo"),
        ("text_completion", {"logprobs": 100_000}, "logprobs"),
        ("text_completion", {"prompt": ["a"] * 65}, "prompt"),
        ("text_completion", {"prompt": ["a"] * 33, "n": 2}, "prompt"),
        ("text_completion", {"prompt": [1, 2**31]}, "prompt"),
    ],
)
def test_unfit(operation: Operation, changes: dict[str, Any], param: str | None) -> None:
    """Each is refused with the member that is at fault."""
    with pytest.raises(ApiError) as caught:
        judge(operation, changes, None)
    assert caught.value.param == param
    assert caught.value.http_status in {400, 413}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (
            said({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "f"}}]}),
            "messages[1].tool_calls[0].type",
        ),
        ({"tools": [TOOL, {"type": "custom", "custom": {"name": "f"}}]}, "tools[1].type"),
    ],
)
def test_custom_tools(changes: dict[str, Any], param: str) -> None:
    """They, and calls of them, are refused with what to do instead."""
    with pytest.raises(
        ApiError, match=r"is 'custom'; local models have functions only: .* 'input'"
    ) as caught:
        judge("chat", changes)
    assert (caught.value.http_status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("operation", "changes", "param"),
    [
        ("chat", {"messages": CHAT["messages"] * 101}, "messages"),
        ("chat", {"messages": [{"role": "user", "content": "x" * 26_000}]}, "messages"),
        ("text_completion", {"prompt": "x" * 26_000}, "prompt"),
        ("text_completion", {"prompt": ["a", "x" * 26_000]}, "prompt"),
        ("text_completion", {"prompt": [1] * 101}, "prompt"),
    ],
)
def test_what_no_slot_can_hold(operation: Operation, changes: dict[str, Any], param: str) -> None:
    """It is refused unread, with OpenAI's code and the settings that would help; a larger slot takes it."""
    with pytest.raises(
        ApiError, match=r"the 100 tokens that a slot .* context_tokens or fewer slots"
    ) as caught:
        judge(operation, changes)
    assert (caught.value.http_status, caught.value.code) == (400, "context_length_exceeded")
    assert caught.value.param == param
    judge(operation, changes, 102)
    judge(operation, changes, None)


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        ("chat", {}),
        ("chat", {"grammar": None, "stop": ["a"], "max_tokens": 5, "logit_bias": {"1": 2}, "seed": -1}),
        ("chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
        ("chat", {"response_format": None, "nobody_knows": {"deep": [1]}}),
        ("chat", schema({"type": "object", "properties": {"pattern": {"enum": ["a"] * 500}}})),
        ("chat", {"messages": CHAT["messages"] * 100}),
        ("chat", {"tools": [TOOL], "tool_choice": "required"}),
        ("chat", {"tools": []}),
        ("chat", {"temperature": 2, "top_p": 0, "presence_penalty": -2, "frequency_penalty": 2, "top_k": -1}),
        ("chat", {"temperature": 0, "top_p": 1, "stop": list("abcd"), "logit_bias": {"0": -100, "9": 100}}),
        ("chat", {"temperature": None, "top_p": None, "max_tokens": None, "stop": None, "min_p": None}),
        (
            "chat",
            said(
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "5"}]},
                {"role": "assistant", "content": "five", "reasoning_content": None, "refusal": None},
            ),
        ),
        ("text_completion", {"echo": False, "logprobs": 5, "best_of": 1}),
        ("text_completion", {"prompt": list(range(100))}),
        ("text_completion", {"prompt": ["a"] * 16, "n": 4}),
    ],
)
def test_fit(operation: Operation, changes: dict[str, Any]) -> None:
    """What the engine can do passes."""
    judge(operation, changes)


def test_what_is_sent_and_what_is_refused_do_not_overlap() -> None:
    """No member is both, so that none is refused with the words of another."""
    assert not SENT & NOT_TAKEN
