"""Responses' custom tools, whose input is a text and no JSON, said as functions of one text. Pure."""

from __future__ import annotations

import re

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


class _Input(msgspec.Struct):
    input: str


_BEGUN = re.compile(
    r'\s*\{\s*"input"\s*:\s*("(?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*+)\\?(?:u[0-9a-fA-F]{0,3})?\Z'
)
"""Arguments whose text is not whole; half of an escape is left off."""
_input = msgspec.json.Decoder(_Input)


def grammar_in(format_: Json | None) -> str | None:
    """The grammar that a custom tool wants its input in; None where any text will do."""
    if format_ is None or format_.get("type", "text") == "text":
        return None
    return f"({format_.get('syntax')}):\n{format_.get('definition')}"


def function_of(name: str, description: str | None, grammar: str | None = None) -> Json:
    """A custom tool as a function; a model that is not held to a grammar is told of it."""
    about = [] if description is None else [description]
    about += [] if grammar is None else [f"Its input is in this grammar {grammar}"]
    said = {"description": "\n\n".join(about)} if about else {}
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
