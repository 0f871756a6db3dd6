"""`tool_choice` that names some of the tools (`allowed_tools`), said to models that know no such word."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airboss.dialects.responses_request import as_chat, read_responses
from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.bedrock_request import converse_request
from airboss.providers.chat_request import Said
from airboss.providers.dialect import Unsaid
from airboss.providers.gemini_request import generate_request

Json = dict[str, Any]
Translate = Callable[[bytes, Unsaid], Said]
TOOLS = [{"type": "function", "function": {"name": name}} for name in "fgh"]
SOME = {"mode": "required", "tools": [*TOOLS[1:], {"type": "custom", "custom": {"name": "f"}}]}
KINDS = pytest.mark.parametrize("translate", [messages_request, converse_request, generate_request])


def sent(translate: Translate, *, drop: bool = False, **asked: Any) -> Json:
    """What goes upstream."""
    request = {
        "model": "anthropic.x",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": TOOLS,
    } | asked
    body: Json = json.loads(translate(json.dumps(request).encode(), Unsaid("models", drop=drop)).body)
    return body


@pytest.mark.parametrize("mode", ["auto", "required"])
@KINDS
def test_the_others_are_left_out(translate: Translate, mode: str) -> None:
    """As if only these had been offered, with the same freedom to call one."""
    narrowed = sent(translate, tool_choice={"type": "allowed_tools", "allowed_tools": SOME | {"mode": mode}})
    assert narrowed == sent(translate, tools=TOOLS[1:], tool_choice=mode)


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "allowed_tools"},
        {"type": "allowed_tools", "allowed_tools": 1},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
        {"type": "allowed_tools", "allowed_tools": SOME | {"mode": "maybe"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [1, {"type": "function"}]}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "mcp", "name": "f"}]}},
    ],
)
@KINDS
def test_a_choice_of_none_is_refused_by_name(translate: Translate, choice: Json) -> None:
    """Or left out, where that is wanted."""
    with pytest.raises(InvalidRequest) as refused:
        sent(translate, tool_choice=choice)
    assert (refused.value.code, refused.value.param) == ("unsupported_by_provider", "tool_choice")
    assert sent(translate, drop=True, tool_choice=choice) == sent(translate)


OWN: list[Json] = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]


def chat(choice: Json) -> tuple[list[str], Any, list[str | None]]:
    """The tools and the choice of a request of Responses as chat, and what was left out of it."""
    members = {"model": "m", "input": "hi", "tools": [*OWN, {"type": "web_search"}], "tool_choice": choice}
    asked = read_responses(json.dumps(members).encode())
    said = json.loads(as_chat(asked, []))
    names = [tool["function"]["name"] for tool in said["tools"]]
    return names, said.get("tool_choice"), [each.param for each in asked.unsaid]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_responses_name_them_too(mode: str) -> None:
    """In their own words; what runs at OpenAI is refused in any case."""
    some = [OWN[1], {"type": "web_search"}, 7, {"type": "function", "name": ["f"]}]
    choice = {"type": "allowed_tools", "mode": mode, "tools": some}
    assert chat(choice) == (["c"], mode, ["tools[2].type"])
    none = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "web_search"}]}
    assert chat(none) == (["f", "c"], None, ["tools[2].type", "tool_choice"])
