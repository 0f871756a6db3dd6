"""Which JSON schemas a local engine is not given: it makes states of it, and some take all memory. Pure.

What is bounded was found by trying, on the starter model (docs/engine.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from airboss.gateway.schema_cycles import doubles

DEPTH_MAX = 48
ENUM_MAX = 500
CHOICES_MAX = 1000
"""Values of enums, branches of anyOf and the like, and optional properties (each counts twice), together."""
TYPES = 7
"""In a list of them: all that there are."""
WIDTH_MAX = 512
"""Ways that an answer may go on at one place. Each is a state, and a token that fits one of them took 2 s of
a core to find at 250 arrays or 500 values; at 900 arrays 9 s, at four levels of ten objects over 40 s."""
COUNT_MAX = 2000
"""The engine takes a higher count for no bound at all."""
NUMBER_MAX = 10**15
"""A `minimum` of 16 digits took 4 GB and never ended; 10**15 took 0.1 s."""

_BRANCHES = ("anyOf", "oneOf", "allOf")
_MAPS = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas")
_REFERRED_MAX = 200
_PLACE = re.compile(r"[0-9]{1,9}")
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
    widths = _Widths(schema)
    if widths.of(schema) > WIDTH_MAX:
        return (
            f"can go on in over {WIDTH_MAX} ways at one place (values of enums, optional properties, digits "
            "of bounds, and branches of anyOf and the like, which multiply within each other and by $ref); "
            "make it smaller"
        )
    if doubles(schema, widths.refer):
        return (
            "refers back to itself by branches of anyOf or oneOf that begin alike, so that the ways in which "
            "an answer may go on double with each round; give each branch a first required property of its "
            "own name or 'const'"
        )
    return None


class _Widths:
    """In how many ways an answer may go on, at the worst place within each part of a schema. A part that
    refers to itself counts once: each round of it begins with what has been said, or `doubles`."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._named = {
            f"#{node['$anchor']}": node for _, node in _nodes(root) if isinstance(node.get("$anchor"), str)
        }

    def of(self, node: object, depth: int = 0) -> int:
        """Of one schema; beyond WIDTH_MAX where it refers on and on."""
        if not isinstance(node, dict):
            return 1
        if depth > _REFERRED_MAX:
            return WIDTH_MAX + 1
        found = max(1, self._branches(node, depth + 1), self._inside(node, depth + 1), self._merged(node))
        types = node.get("type")
        if isinstance(types, list):
            found *= max(map(types.count, types), default=1)  # one said twice is another way each time
        if isinstance(node.get("$ref"), str):
            found = max(found, self._referred(node["$ref"], depth + 1))
        return min(found, WIDTH_MAX + 1)

    def _branches(self, node: dict[str, Any], depth: int) -> int:
        found = len(node["enum"]) if isinstance(node.get("enum"), list) else 1
        for name in _BRANCHES:
            if isinstance(node.get(name), list):
                found = max(found, sum(self._branch(each, depth) for each in node[name]))
        bounds = [node[name] for name in _NUMBERS if isinstance(node.get(name), int | float)]
        return max(found, sum(len(f"{bound:.0f}") + 1 for bound in bounds))

    def _merged(self, node: dict[str, Any]) -> int:
        """Of `allOf`: the properties of all its parts are one object's, those of branches all optional."""
        found = 1
        for part in node["allOf"] if isinstance(node.get("allOf"), list) else ():
            branches = part.get("anyOf") if isinstance(part, dict) else None
            for each in branches if isinstance(branches, list) else ():
                said = self.refer(each["$ref"]) if isinstance(each, dict) and "$ref" in each else each
                if isinstance(said, dict) and isinstance(said.get("properties"), dict):
                    found += len(said["properties"])
        return found

    def _branch(self, node: object, depth: int) -> int:
        # Of a list there are two at each place: one more, and its end.
        return self.of(node, depth) * (1 + (isinstance(node, dict) and "items" in node))

    def _inside(self, node: dict[str, Any], depth: int) -> int:
        listed = [node.get(name) for name in ("items", "prefixItems")]
        items = [each for value in listed for each in (value if isinstance(value, list) else [value])]
        found = max((self.of(each, depth) for each in items if isinstance(each, dict)), default=0)
        properties, required = node.get("properties"), node.get("required")
        if isinstance(properties, dict):
            named = {each for each in required if isinstance(each, str)} if isinstance(required, list) else ()
            found = max(found, 1 + sum(name not in named for name in properties))
            found = max([found, *(self.of(each, depth) for each in properties.values())])
        return max(found, self.of(node.get("additionalProperties"), depth))

    def _referred(self, to: str, depth: int) -> int:
        if to not in self._known:
            self._known[to] = 1
            self._known[to] = self.of(self.refer(to), depth)
        return self._known[to]

    def refer(self, to: str) -> object:
        """What a reference leads to."""
        return self._named.get(to) or _found(self._root, to)


def _found(root: object, to: str) -> object:
    """What a reference within a schema leads to."""
    at = root
    for name in to.removeprefix("#").split("/")[1:]:
        if isinstance(at, dict):
            # As it is written, too: not every reader of references knows these escapes.
            at = at.get(name, at.get(unquote(name).replace("~1", "/").replace("~0", "~")))
        elif isinstance(at, list) and _PLACE.fullmatch(name) and int(name) < len(at):
            at = at[int(name)]
        else:
            return None
    return at


def _unfit_node(node: dict[str, Any]) -> str | None:
    for name in _NEVER:
        if name in node:
            return f"has a {name!r}, which a local model does not take; leave it out"
    for name, values_max in (("enum", ENUM_MAX), ("type", TYPES)):
        values = node.get(name)
        if isinstance(values, list) and len(values) > values_max:
            return f"has {len(values)} values of {name!r}; a local model takes at most {values_max}"
    return _unfit_range(node)


def _unfit_range(node: dict[str, Any]) -> str | None:
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
