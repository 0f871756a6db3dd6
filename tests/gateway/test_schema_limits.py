"""Which schemas a local engine is given."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from airboss.gateway.schema_limits import CHOICES_MAX, DEPTH_MAX, ENUM_MAX, NUMBER_MAX, unfit_schema


def nested(depth: int) -> dict[str, Any]:
    """A schema of so many levels."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth - 1):
        schema = {"type": "array", "items": schema}
    return schema


def levels(
    depth: int, width: int, leaf: dict[str, Any], *, mark: str = "", listed: bool = False
) -> dict[str, Any]:
    """Levels of objects, each of which is one of so many, by reference: to names with a `mark`, or into a
    list."""
    end = f"{quote(mark)}/anyOf/0" if listed else quote(mark)
    defs: dict[str, Any] = {f"l0{mark}": {"anyOf": [leaf]} if listed else leaf}
    for each in range(depth):
        branch = {"type": "object", "properties": {"a": {"$ref": f"#/$defs/l{each}{end}"}}, "required": ["a"]}
        level = {"anyOf": [branch] * width}
        defs[f"l{each + 1}{mark}"] = {"anyOf": [level]} if listed else level
    return {"$defs": defs, "$ref": f"#/$defs/l{depth}{end}"}


def anchored(depth: int, width: int) -> dict[str, Any]:
    """The same by the names that levels give themselves."""
    text = json.dumps(levels(depth, width, {"type": "string"}))
    schema: dict[str, Any] = json.loads(text.replace("#/$defs/", "#"))
    for name, level in schema["$defs"].items():
        level["$anchor"] = name
    return schema


def bounded(count: int) -> dict[str, Any]:
    """One of so many numbers of 15 digits."""
    return {"anyOf": [{"type": "integer", "minimum": -(10**14), "maximum": 10**14 + i} for i in range(count)]}


TREE = {
    "$defs": {
        "node": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "kind": {"const": str(i)},
                        "below": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    },
                    "required": ["kind", "below"],
                }
                for i in range(40)
            ]
        }
    },
    "$ref": "#/$defs/node",
}
"""A tree of nodes of 40 kinds."""


def optional(count: int) -> dict[str, Any]:
    """An object of so many properties, none of them required."""
    return {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(count)}}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"enum": list(range(ENUM_MAX + 1))}, "501 values of 'enum'"),
        (
            {"anyOf": [{"enum": list(range(400))}, {"enum": list(range(400))}, {"enum": list(range(200))}]},
            "choices",
        ),
        ({"oneOf": [{"const": i} for i in range(CHOICES_MAX + 1)]}, "over 1000 choices"),
        (optional(501), "over 1000 choices"),
        (nested(DEPTH_MAX + 1), "nested more than 48 levels deep"),
        ({"anyOf": [{"type": "array", "items": {"type": "string"}}] * 300}, "over 512 ways"),
        ({"anyOf": [{"enum": list(range(450))}, {"enum": list(range(450))}]}, "over 512 ways"),
        (levels(4, 10, {"type": "string"}), "over 512 ways"),
        (levels(40, 2, {"type": "string"}), "over 512 ways"),
        (levels(4, 10, {"type": "string"}, listed=True), "over 512 ways"),
        (levels(4, 10, {"type": "string"}, mark="~0"), "over 512 ways"),
        (levels(4, 10, {"type": "string"}, mark=" x"), "over 512 ways"),
        (anchored(4, 10), "over 512 ways"),
        (bounded(20), "over 512 ways"),
        ({"type": "array", "items": bounded(20)}, "over 512 ways"),
        (
            {"$defs": {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(5000)}, "$ref": "#/$defs/0"},
            "over 512 ways",
        ),
        ({"type": ["object"] * 8}, "8 values of 'type'"),
        (optional(250) | {"type": ["object"] * 3}, "over 512 ways"),
        (
            {"allOf": [{"anyOf": [{"$ref": "#/$defs/a"}] * 2}] * 50, "$defs": {"a": optional(6)}},
            "512 ways",
        ),
        ({"type": "string", "pattern": "a"}, "has a 'pattern'"),
        ({"type": "object", "patternProperties": {"a": {}}}, "has a 'patternProperties'"),
        ({"type": "object", "properties": {"a": {"items": {"pattern": "a"}}}}, "has a 'pattern'"),
        ({"$defs": {"a": {"pattern": "a"}}, "$ref": "#/$defs/a"}, "has a 'pattern'"),
        ({"type": "array", "minItems": 5, "maxItems": 2}, "minItems 5 above maxItems 2"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength 5 above maxLength 2"),
        ({"type": "array", "items": {}, "maxItems": 2001}, "maxItems 2001"),
        ({"type": "string", "minLength": 2**40}, "minLength 1099511627776"),
        ({"type": "integer", "minimum": NUMBER_MAX + 1}, "has minimum"),
        ({"type": "integer", "exclusiveMaximum": -1e18}, "has exclusiveMaximum"),
    ],
)
def test_unfit(schema: dict[str, Any], says: str) -> None:
    """Each would take seconds, gigabytes or for ever, and is refused with what is at fault."""
    assert says in str(unfit_schema(schema))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"enum": list(range(ENUM_MAX))},
        {"const": {"pattern": "x" * 9}, "default": {"minItems": 9, "maxItems": 1}},
        {"enum": [{"pattern": "x"}]},
        {"type": "object", "properties": {"pattern": {"type": "string"}, "enum": {"type": "integer"}}},
        optional(500),
        optional(250) | {"type": ["object", "null", "array", "string", "number", "boolean", "integer"]},
        {"allOf": [optional(5), {"anyOf": [optional(5), optional(6), 5]}, 5, {"anyOf": 5}]},
        {"type": [[], {}, "object"]},
        optional(900) | {"required": [f"p{i}" for i in range(900)]},
        nested(DEPTH_MAX),
        levels(2, 10, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        levels(30, 1, {"type": "string"}),
        bounded(12),
        TREE,
        {"$ref": "#/nowhere/~1x", "items": [5, {"$ref": 5}], "prefixItems": 5, "additionalProperties": True},
        {"type": "array", "items": {}, "minItems": 2, "maxItems": 2000},
        {"type": "integer", "minimum": -NUMBER_MAX, "maximum": NUMBER_MAX},
        {"type": "nope", "required": 5, "properties": [], "anyOf": 5, "enum": 5, "minItems": "x"},
    ],
)
def test_fit(schema: object) -> None:
    """What the engine takes, or refuses with its own words, is sent; a property may have a keyword's name."""
    assert unfit_schema(schema) is None
