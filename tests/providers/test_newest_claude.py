"""What the newest of Anthropic's models refuse: to be made to call a tool, and not to think at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.bedrock_request import converse_request
from airboss.providers.chat_request import ANSWER_TOOL
from airboss.providers.dialect import Unsaid

UNFORCED = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "us.anthropic.claude-mythos-5-2-v1:0"]
OTHERS = ["claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-haiku-5-5", "claude-opus-4-8"]
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OPEN = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}}}
INNER = {"type": "object", "properties": {"b": {}}, "additionalProperties": False}
CLOSED = {"type": "object", "properties": {"a": INNER}, "additionalProperties": False}
FORCED = ["required", {"type": "function", "function": {"name": "f"}}]


def said(model: str, *, drop: bool = False, **asked: Any) -> tuple[dict[str, Any], list[str]]:
    """What goes to Anthropic, and what was left out."""
    unsaid = Unsaid("Anthropic's models", drop=drop)
    request = {"model": model, "messages": [{"role": "user", "content": "hi"}], **asked}
    return json.loads(messages_request(json.dumps(request).encode(), unsaid).body), unsaid.dropped


def shape(schema: Any) -> dict[str, Any]:
    """A form of the answer that need not be strict."""
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


@pytest.mark.parametrize("choice", FORCED)
@pytest.mark.parametrize("model", UNFORCED)
def test_who_cannot_be_made_to_call_is_not(model: str, choice: Any) -> None:
    """It is refused by name, and may be left out."""
    with pytest.raises(InvalidRequest) as refused:
        said(model, tools=[F], tool_choice=choice)
    assert (refused.value.code, refused.value.param) == ("unsupported_by_provider", "tool_choice")
    sent, dropped = said(model, drop=True, tools=[F], tool_choice=choice)
    assert ("tool_choice" in sent, dropped) == (False, ["tool_choice"])


@pytest.mark.parametrize("choice", FORCED)
@pytest.mark.parametrize("model", OTHERS)
def test_others_are(model: str, choice: Any) -> None:
    """As before."""
    sent, dropped = said(model, tools=[F], tool_choice=choice)
    assert (sent["tool_choice"]["type"] in {"any", "tool"}, dropped) == (True, [])


@pytest.mark.parametrize("model", UNFORCED)
def test_a_form_of_the_answer(model: str) -> None:
    """One that can be said is; another is a tool that is there to be called, also beside tools."""
    native, _ = said(model, response_format=shape(CLOSED))
    assert native["output_config"]["format"] == {"type": "json_schema", "schema": CLOSED}
    assert "tools" not in native
    maps = ({"type": "object"}, {"type": ["object", "null"], "additionalProperties": {"type": "string"}})
    with_maps = [shape(CLOSED | {"properties": {"a": each}}) for each in maps]
    for wanted in (shape(OPEN), *with_maps, {"type": "json_object"}):
        for tools in (None, [F]):
            sent, _ = said(model, response_format=wanted, tools=tools)
            assert sent["tool_choice"] == {"type": "auto"}
            assert sent["tools"][-1]["name"] == ANSWER_TOOL
    deep: Any = OPEN
    for _ in range(200):
        deep = {"type": "object", "properties": {"a": deep}, "additionalProperties": False}
    assert said(model, response_format=shape(deep))[0]["tools"][-1]["name"] == ANSWER_TOOL


def test_they_think_all_the_same() -> None:
    """An answer by a tool that need not be called is no obstacle."""
    sent, dropped = said("claude-opus-5-5", response_format=shape(OPEN), reasoning_effort="high")
    assert (sent["output_config"]["effort"], dropped) == ("high", [])


@pytest.mark.parametrize(
    ("model", "members"),
    [
        ("claude-opus-5-5", {"output_config": {"effort": "low"}}),
        ("claude-fable-5", {"output_config": {"effort": "low"}}),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}),
        ("claude-sonnet-5", {"thinking": {"type": "disabled"}}),
        ("claude-opus-4-8", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-4-5", {}),
    ],
)
def test_no_thinking_is_as_little_as_can_be(model: str, members: dict[str, Any]) -> None:
    """Where it cannot be turned off, the least that there is."""
    sent, dropped = said(model, reasoning_effort="none")
    assert {name: sent[name] for name in ("thinking", "output_config") if name in sent} == members
    assert dropped == []


@pytest.mark.parametrize("kept", [False, True], ids=["thoughts lost", "thoughts kept"])
@pytest.mark.parametrize("more", [[], [{"role": "user", "content": "so?"}]], ids=["results", "and words"])
def test_calls_whose_thoughts_are_lost_are_gone_on_from_without(kept: bool, more: list[Any]) -> None:
    """What the user says with the results stands in one turn with them: the calls are still the last."""
    thoughts = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    turns = [
        {"role": "user", "content": "hi"},
        turn | ({"thinking_blocks": thoughts} if kept else {}),
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        *more,
    ]
    sent, dropped = said("claude-sonnet-4-5", messages=turns, tools=[F], reasoning_effort="low")
    assert ("thinking" in sent, dropped) == (kept, [] if kept else ["reasoning_effort"])


def test_bedrock_says_the_same() -> None:
    """In its own words."""
    request = {"model": "eu.anthropic.claude-opus-5-5-v1:0", "messages": [{"role": "user", "content": "hi"}]}
    asked = request | {"response_format": {"type": "json_object"}, "reasoning_effort": "none"}
    unsaid = Unsaid("models of Bedrock", drop=False)
    made = json.loads(converse_request(json.dumps(asked).encode(), unsaid).body)
    assert made["toolConfig"]["toolChoice"] == {"auto": {}}
    assert made["additionalModelRequestFields"] == {"output_config": {"effort": "low"}}
