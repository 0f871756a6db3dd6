"""Which schemas a local engine is given."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.gateway.schema_limits import CHOICES_MAX, DEPTH_MAX, ENUM_MAX, NUMBER_MAX, unfit_schema


def nested(depth: int) -> dict[str, Any]:
    """A schema of so many levels."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth - 1):
        schema = {"type": "array", "items": schema}
    return schema


def optional(count: int) -> dict[str, Any]:
    """An object of so many properties, none of them required."""
    return {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(count)}}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"enum": list(range(ENUM_MAX + 1))}, "an 'enum' of 501 values"),
        (
            {"anyOf": [{"enum": list(range(400))}, {"enum": list(range(400))}, {"enum": list(range(200))}]},
            "choices",
        ),
        ({"oneOf": [{"const": i} for i in range(CHOICES_MAX + 1)]}, "over 1000 choices"),
        (optional(501), "over 1000 choices"),
        (nested(DEPTH_MAX + 1), "nested more than 48 levels deep"),
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
        optional(900) | {"required": [f"p{i}" for i in range(900)]},
        nested(DEPTH_MAX),
        {"type": "array", "items": {}, "minItems": 2, "maxItems": 2000},
        {"type": "integer", "minimum": -NUMBER_MAX, "maximum": NUMBER_MAX},
        {"type": "nope", "required": 5, "properties": [], "anyOf": 5, "enum": 5, "minItems": "x"},
    ],
)
def test_fit(schema: object) -> None:
    """What the engine takes, or refuses with its own words, is sent; a property may have a keyword's name."""
    assert unfit_schema(schema) is None
