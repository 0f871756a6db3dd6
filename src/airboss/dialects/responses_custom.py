"""Responses' custom tools, whose input is a text and no JSON, said as functions of one text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from airboss.dialects.speech import Json, encode

CUSTOM = "responses_custom"
"""The member of a call that is one of a custom tool's, and of the message with its result."""
_TEXT: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


class _Named(msgspec.Struct):
    type: str = ""
    name: Any = None


class _Input(msgspec.Struct):
    input: str


_BEGUN = re.compile(
    r'\s*\{\s*"input"\s*:\s*("(?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*+)\\?(?:u[0-9a-fA-F]{0,3})?\Z'
)
"""Arguments whose text is not whole; half of an escape is left off."""
_named = msgspec.json.Decoder(_Named)
_input = msgspec.json.Decoder(_Input)


def custom_names(tools: Iterable[msgspec.Raw] | None) -> frozenset[str]:
    """The names of the custom tools among those that a request offers."""
    found = [_named.decode(raw) for raw in tools or () if b'"custom"' in bytes(raw)]
    return frozenset(tool.name for tool in found if tool.type == "custom" and isinstance(tool.name, str))


def name_of(tool: Any) -> str | None:
    """The name of a function or a custom tool; None of anything else."""
    match tool:
        case {"type": "function" | "custom", "name": str(name)}:
            return name
    return None


def called_names(output: Iterable[Any]) -> frozenset[str]:
    """The names of the custom tools that an output calls."""
    return frozenset(
        item["name"]
        for item in output
        if isinstance(item, dict)
        and item.get("type") == "custom_tool_call"
        and isinstance(item.get("name"), str)
    )


def marked(sent: Sequence[msgspec.Raw], said: Sequence[Json]) -> list[Any]:
    """Messages of a call as they were `sent`, with the marks that those `said` have: a server of chat is not
    told."""
    if len(sent) != len(said) or not any(_marks(message) for message in said):
        return list(sent)
    found: list[Any] = [msgspec.json.decode(each) for each in sent]
    for message, own in zip(found, said, strict=True):
        if own.get(CUSTOM):
            message[CUSTOM] = True
        for call, own_call in zip(message.get("tool_calls", ()), own.get("tool_calls", ()), strict=False):
            if own_call.get(CUSTOM):
                call[CUSTOM] = True
    return found


def _marks(message: Json) -> bool:
    return CUSTOM in message or any(CUSTOM in call for call in message.get("tool_calls", ()))


def function_of(name: str, description: str | None) -> Json:
    """A custom tool as a function."""
    said = {"description": description} if description is not None else {}
    return {"name": name, **said, "parameters": _TEXT}


def arguments_of(text: str) -> str:
    """The input of a custom tool as the arguments of a function."""
    return encode({"input": text}).decode()


def input_of(arguments: str) -> str:
    """The input in such arguments, what has come of it where they break off; others as they are: a model may
    not heed their schema."""
    try:
        return _input.decode(arguments).input
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        begun = _BEGUN.match(arguments)
    try:
        return arguments if begun is None else msgspec.json.decode(begun[1] + '"', type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return arguments
