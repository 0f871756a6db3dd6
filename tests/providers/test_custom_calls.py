"""Calls of chat's custom tools, whose input is a text, in conversations that go on at other providers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from airboss.providers.anthropic_request import messages_request
from airboss.providers.bedrock_request import converse_request
from airboss.providers.chat_request import Said
from airboss.providers.dialect import Unsaid
from airboss.providers.gemini_request import generate_request

Json = dict[str, Any]
Translate = Callable[[bytes, Unsaid], Said]
TEXT = 'print("ü")\n'
USER = {"role": "user", "content": "hi"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
KINDS = pytest.mark.parametrize("translate", [messages_request, converse_request, generate_request])


def sent(translate: Translate, call: Json) -> Json:
    """What goes upstream of a conversation with such a call."""
    said = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"} | call]}
    request = {"model": "anthropic.x", "messages": [USER, said, RESULT]}
    body: Json = json.loads(translate(json.dumps(request).encode(), Unsaid("models", drop=False)).body)
    return body


@KINDS
def test_one_is_a_call_of_a_function_of_one_text(translate: Translate) -> None:
    """As one of Responses is; its result finds it."""
    function = {"name": "code", "arguments": json.dumps({"input": TEXT})}
    custom = {"type": "custom", "custom": {"name": "code", "input": TEXT}}
    assert sent(translate, custom) == sent(translate, {"type": "function", "function": function})


@KINDS
@pytest.mark.parametrize("call", [{}, {"type": "custom"}, {"type": "mcp", "mcp": {}}])
def test_one_of_nothing_is_refused(translate: Translate, call: Json) -> None:
    """It names the call that lacks what it calls."""
    with pytest.raises(msgspec.ValidationError, match=r"missing .* `\$\.messages\[1\]\.tool_calls\[0\]`"):
        sent(translate, call)
