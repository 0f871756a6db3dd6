"""JSON schemas as the models of Anthropic that decode by them take them. Pure.

A schema of a strict tool, or of a strict answer, becomes a grammar there, and one with a word that has no
place in a grammar (`minimum`, `maxItems`, an unknown `format`) has the whole request refused. Such words go
into the description, as Anthropic's own SDKs put them; the answer may then not heed them. Source of what is
taken: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, JSON Schema limitations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from airboss.providers.chat_request import Json

DEPTH_MAX = 64
TOOLS_MAX, OPTIONAL_MAX, UNIONS_MAX = 20, 24, 16
"""In all strict schemas of a request: tools, properties that may be missing, values of several types."""
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_AS_IT_IS = frozenset({"type", "required", "const", "description", "title", "default"})
_OF_NO_ANSWER = frozenset({"$schema", "$id", "$comment", "examples", "strict"})
_BEYOND_GRAMMARS = re.compile(r"\(\?|\\[1-9bB]")
"""Of a pattern: looking around, naming groups, going back to one, and the edges of words."""


class _Unfit(Exception):
    """There is no grammar of a schema."""


def fitted(schema: Json) -> Json | None:
    """The schema as it is taken; None for one that goes on for ever, that is open to members of any name, or
    that stands elsewhere."""
    try:
        made = _node(schema, 0)
        _check_ends(made, made, {"#"}, set(), 0)
    except _Unfit:
        return None
    return made


def _node(schema: Any, deep: int) -> Json:
    if deep > DEPTH_MAX or not isinstance(schema, dict):
        raise _Unfit
    made: Json = {}
    hints: Json = {}
    for name, value in schema.items():
        if name in _AS_IT_IS:
            made[name] = value
        elif name not in _OF_NO_ANSWER and not _put(made, name, value, deep):
            hints[name] = value
    if "$ref" in made:
        return {name: made[name] for name in ("$ref", "$defs", "definitions") if name in made}
    if _is_object(made):
        made["additionalProperties"] = False
    if hints:
        said = "{" + ", ".join(f"{name}: {value}" for name, value in hints.items()) + "}"
        made["description"] = f"{made['description']}\n\n{said}" if made.get("description") else said
    return made


def _put(made: Json, name: str, value: Any, deep: int) -> bool:
    """Put a word of a schema where a grammar can be made of it, and say whether it could."""
    has_place = _PLACES.get(name)
    if has_place is not None and has_place(value):
        made[name] = value
        return True
    match name:
        case "properties" | "$defs" | "definitions" if isinstance(value, dict):
            made[name] = {each: _node(inner, deep + 1) for each, inner in value.items()}
        case "items":
            made[name] = _node(value, deep + 1)
        case "anyOf" | "oneOf" if isinstance(value, list) and "anyOf" not in made:
            made["anyOf"] = [_node(each, deep + 1) for each in value]
        case "allOf" if isinstance(value, list):
            _put_all(made, [_node(each, deep + 1) for each in value])
        case _:
            return False
    return True


def _is_closed(value: Any) -> bool:
    if value is not False:
        raise _Unfit
    return True


def _is_here(value: Any) -> bool:
    if not (isinstance(value, str) and value.startswith("#/")):
        raise _Unfit
    return True


_PLACES: Mapping[str, Callable[[Any], bool]] = {
    "additionalProperties": _is_closed,
    "$ref": _is_here,
    "enum": lambda value: (
        isinstance(value, list) and not any(isinstance(each, dict | list) for each in value)
    ),
    "format": lambda value: isinstance(value, str) and value in _FORMATS,
    "minItems": lambda value: isinstance(value, int) and value in {0, 1},
    "pattern": lambda value: isinstance(value, str) and _BEYOND_GRAMMARS.search(value) is None,
}
"""Words for which there is a place in a grammar, if they say something that has one."""


def _put_all(made: Json, parts: list[Json]) -> None:
    """What must all hold; what stands elsewhere can be one of them only where it is the only one."""
    if len(parts) == 1:
        made |= {name: value for name, value in parts[0].items() if name not in made}
    elif any("$ref" in part for part in parts):
        raise _Unfit
    else:
        made["allOf"] = parts


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return "properties" in schema or kind == "object" or (isinstance(kind, list) and "object" in kind)


def _check_ends(value: Any, root: Json, within: set[str], done: set[str], deep: int) -> None:
    """Raise _Unfit where a schema is part of itself, or refers to none."""
    if deep > DEPTH_MAX * 4:
        raise _Unfit
    if isinstance(value, list):
        for each in value:
            _check_ends(each, root, within, done, deep + 1)
    if not isinstance(value, dict):
        return
    reference = value.get("$ref")
    if isinstance(reference, str) and reference not in done:
        if reference in within:
            raise _Unfit
        _check_ends(_referred(root, reference), root, within | {reference}, done, deep + 1)
        done.add(reference)
    for name, each in value.items():
        if name not in {"enum", "const", "default", "$defs", "definitions"}:
            _check_ends(each, root, within, done, deep + 1)


def _referred(root: Json, reference: str) -> Any:
    found: Any = root
    for written in reference[2:].split("/"):
        name = written.replace("~1", "/").replace("~0", "~")
        if not (isinstance(found, dict) and name in found):
            raise _Unfit
        found = found[name]
    return found


class StrictRoom:
    """How much more may be strict in a request: one over it is refused whole."""

    def __init__(self) -> None:
        self._tools, self._optional, self._unions = TOOLS_MAX, OPTIONAL_MAX, UNIONS_MAX

    def tool(self, schema: Json) -> Json | None:
        """The schema of a strict tool as it is taken; None where it is none, or there is no room for it."""
        made = fitted(schema)
        if (
            made is None or "type" not in made
        ):  # by reference alone: a tool's own has to say that it is an object
            return None
        if not self._tools or not self.takes(made):
            return None
        self._tools -= 1
        return made

    def takes(self, schema: Json) -> bool:
        """Whether there is room for a schema that fits, which is then taken."""
        optional, unions = _counts(schema)
        if optional > self._optional or unions > self._unions:
            return False
        self._optional -= optional
        self._unions -= unions
        return True


def _counts(value: Any) -> tuple[int, int]:
    """How many properties may be missing, and how many values are of several types."""
    optional = unions = 0
    waiting = [value]
    while waiting:
        match waiting.pop():
            case list(listed):
                waiting += listed
            case dict(schema):
                properties, required = schema.get("properties"), schema.get("required")
                if isinstance(properties, dict):
                    needed = required if isinstance(required, list) else []
                    optional += sum(name not in needed for name in properties)
                unions += "anyOf" in schema or isinstance(schema.get("type"), list)
                waiting += [each for name, each in schema.items() if name not in {"enum", "const", "default"}]
    return optional, unions
