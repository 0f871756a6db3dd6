"""Which schemas that refer back to themselves a local engine is given: by which nothing doubles."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airboss.gateway.schema_cycles import BACK_MAX
from airboss.gateway.schema_limits import unfit_schema

Schema = dict[str, Any]
BACK: Schema = {"$ref": "#/$defs/n"}
TEXT: Schema = {"type": "string"}


def union(*branches: Schema, name: str = "anyOf") -> Schema:
    """One of these, each of which may refer back."""
    return {"$defs": {"n": {name: list(branches)}}, **BACK}


def made(count: int, branch: Callable[[int], Schema]) -> Schema:
    """A union of so many."""
    return union(*(branch(number) for number in range(count)))


def node(*, required: bool = True, **properties: Schema) -> Schema:
    """An object of these properties, all required or none."""
    return {"type": "object", "properties": properties, "required": list(properties) if required else []}


def listed(items: Any = BACK) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


DOUBLING: dict[str, Schema] = {
    "two lists": union(listed(), listed()),
    "two lists, one of": union(listed(), listed(), name="oneOf"),
    "two lists and a text": union(TEXT, listed(), listed()),
    "a list of lists": union(listed(), listed(listed())),
    "the same member": union(node(a=BACK), node(a=BACK, b=TEXT)),
    "what tells comes too late": union(node(l=BACK, op={"const": "a"}), node(l=BACK, op={"const": "b"})),
    "the same constant": union(node(op={"const": 1}, l=BACK), node(op={"const": 1}, l=BACK, r=TEXT)),
    "constants overlap": union(node(op={"enum": [1, 2]}, l=BACK), node(op={"enum": [2, 3]}, l=BACK)),
    "free texts": union(node(op=TEXT, l=BACK), node(op=TEXT, l=BACK)),
    "may be left out": union(node(required=False, a=BACK), node(required=False, a=BACK)),
    "any names": union({"additionalProperties": BACK}, {"type": "object", "additionalProperties": BACK}),
    "tuples": union({"prefixItems": [TEXT, BACK]}, {"prefixItems": [TEXT, BACK]}),
    "by a third": {
        "$defs": {"n": {"anyOf": [{"$ref": "#/$defs/a"}, listed()]}, "a": listed({"$ref": "#/$defs/n"})},
        **BACK,
    },
    "within a branch": union(TEXT, {"anyOf": [TEXT, {"anyOf": [listed(), listed()]}]}),
    "all of": union({"allOf": [node(a=BACK)]}, {"allOf": [node(a=BACK)]}),
    "deep within": node(x=node(y=BACK)) | {"$defs": {"n": {"anyOf": [listed(), listed()]}}},
    "too many": made(BACK_MAX + 1, lambda number: node(op={"const": number}, l=BACK)),
}
TOLD_APART: dict[str, Schema] = {
    "JSON": union(TEXT, {"type": "null"}, listed(), {"type": "object", "additionalProperties": BACK}),
    "one that leads back": union(listed(), listed(TEXT), listed({"type": "null"})),
    "constants": made(40, lambda number: node(op={"const": number}, l=BACK, r=BACK)),
    "lists of constants": union(node(op={"enum": [1, 2]}, l=BACK), node(op={"enum": [3, 4]}, l=BACK)),
    "names": union(node(neg=BACK), node(left=BACK, right=BACK), TEXT),
    "tuples": made(9, lambda number: {"prefixItems": [{"const": number}, BACK, BACK]}),
    "a line": node(next={"anyOf": [{"type": "null"}, {"$ref": "#"}]}),
    "optional names": union(node(required=False, a=BACK), node(required=False, b=BACK)),
    "no way back": {"anyOf": [listed(TEXT), listed(TEXT), node(a=TEXT), node(a=TEXT)]},
    "a tree below": {
        "$defs": {"n": node(text=TEXT, below=listed())},
        "anyOf": [node(tree=BACK), node(tree=BACK, more=TEXT)],
    },
}


@pytest.mark.parametrize("schema", DOUBLING.values(), ids=DOUBLING)
def test_what_doubles_is_refused(schema: Schema) -> None:
    """An engine would be at it for ever."""
    assert "begin alike" in str(unfit_schema(schema))


@pytest.mark.parametrize("schema", TOLD_APART.values(), ids=TOLD_APART)
def test_what_is_told_apart_is_taken(schema: Schema) -> None:
    """Trees, expressions and JSON itself are well."""
    assert unfit_schema(schema) is None


def test_a_large_one_is_read_at_once() -> None:
    """Whatever refers to whatever."""
    many = {str(n): listed({"$ref": f"#/$defs/{(n * 7 + 1) % 20_000}"}) for n in range(20_000)}
    many["n"] = {"anyOf": [listed({"$ref": "#/$defs/5"}), listed()]}
    began = time.process_time()
    assert "begin alike" not in str(unfit_schema({"$defs": many, "type": "string"}))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("alike", [True, False])
def test_many_branchings_are_looked_at_at_once(alike: bool) -> None:
    """Long ways that are told apart at their ends, branching at hundreds of places: where those are alike
    they are looked at once, else not to the end, for a worker does nothing beside."""
    names: Schema = {f"p{n}": {} for n in range(28)}
    places = {
        f"b{n}": {"anyOf": [{"$ref": "#/$defs/all"}, *([] if alike else [listed({"$ref": f"#/$defs/b{n}"})])]}
        for n in range(240)
    }
    leaves = [
        {
            "type": "object",
            "properties": {
                **names,
                "q": {"const": number},
                **{f"l{n}": {"$ref": f"#/$defs/b{4 * number + n}"} for n in range(4)},
            },
            "required": [*names, "q", *(f"l{n}" for n in range(4))],
        }
        for number in range(60)
    ]
    schema = {"$defs": {"all": {"anyOf": leaves}, **places}, "$ref": "#/$defs/all"}
    began = time.process_time()
    assert (unfit_schema(schema) is None) == alike
    assert time.process_time() - began < 2
