"""Which JSON schemas a local engine is not given: it makes states of it, and some take all memory. Pure.

What is bounded was found by trying, on the starter model (docs/engine.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DEPTH_MAX = 48
ENUM_MAX = 500
CHOICES_MAX = 1000
"""Values of enums, branches of anyOf and the like, and optional properties (each counts twice), together."""
COUNT_MAX = 2000
"""The engine takes a higher count for no bound at all."""
NUMBER_MAX = 10**15
"""A `minimum` of 16 digits took 4 GB and never ended; 10**15 took 0.1 s."""

_BRANCHES = ("anyOf", "oneOf", "allOf")
_MAPS = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas")
_RANGES = (("minItems", "maxItems"), ("minLength", "maxLength"))
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_NEVER = ("pattern", "patternProperties")


def unfit_schema(schema: object) -> str | None:
    """What is wrong with a schema, in words that go on from "the schema"; None where it may be sent.

    What is merely no schema (an unknown type, say) is the engine's to refuse, with its own words.
    """
    choices = 0
    for depth, node in _nodes(schema):
        if depth > DEPTH_MAX:
            return f"is nested more than {DEPTH_MAX} levels deep; flatten it"
        wrong = _unfit_node(node)
        if wrong is not None:
            return wrong
        choices += _choices(node)
        if choices > CHOICES_MAX:
            return (
                f"has over {CHOICES_MAX} choices (values of enums, branches, and optional properties, which "
                "count twice); make it smaller"
            )
    return None


def _unfit_node(node: dict[str, Any]) -> str | None:
    for name in _NEVER:
        if name in node:
            return f"has a {name!r}, which a local model does not take; leave it out"
    values = node.get("enum")
    if isinstance(values, list) and len(values) > ENUM_MAX:
        return f"has an 'enum' of {len(values)} values; a local model takes at most {ENUM_MAX}"
    for least_name, most_name in _RANGES:
        least, most = node.get(least_name), node.get(most_name)
        for name, count in ((least_name, least), (most_name, most)):
            if isinstance(count, int | float) and count > COUNT_MAX:
                return f"has {name} {count}; a local model takes at most {COUNT_MAX}"
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            return f"has {least_name} {least} above {most_name} {most}; nothing can be both"
    for name in _NUMBERS:
        bound = node.get(name)
        if isinstance(bound, int | float) and abs(bound) > NUMBER_MAX:
            return f"has {name} {bound:g}; a local model takes {-NUMBER_MAX:g} to {NUMBER_MAX:g}"
    return None


def _choices(node: dict[str, Any]) -> int:
    found = sum(len(node[name]) for name in ("enum", *_BRANCHES) if isinstance(node.get(name), list))
    properties, required = node.get("properties"), node.get("required")
    if isinstance(properties, dict):
        named = {each for each in required if isinstance(each, str)} if isinstance(required, list) else ()
        found += 2 * sum(name not in named for name in properties)
    return found


def _nodes(schema: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every schema within a schema, itself included, with its depth. A value of `enum` or `const` is none."""
    waiting: list[tuple[int, object]] = [(1, schema)]
    while waiting:
        depth, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield depth, node
        inner: list[object] = []
        for name, value in node.items():
            if name in _MAPS and isinstance(value, dict):
                inner += value.values()
            elif name in {"enum", "const", "default", "examples", "example"}:
                continue
            elif isinstance(value, list):
                inner += value
            else:
                inner.append(value)
        waiting += [(depth + 1, each) for each in inner]
