"""Which JSON schemas refer back to themselves in more than one way at once. Pure.

A local engine follows every way in which what was said may have come about. Where two branches of a schema
begin alike and both lead back to it before anything has told them apart, the ways double with each round: two
arrays in an `anyOf` that hold the same `anyOf` took an engine for ever after twenty brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import msgspec

Schema = dict[str, Any]
Step = frozenset[str] | None
"""What may come next in an answer, as JSON; None: anything."""

STEPS_MAX = 500_000
"""Of looking for such; a schema that takes more is taken for one of them, as a worker does nothing beside."""
BACK_MAX = 64
"""Branches of one schema that may lead back to it, as each is compared with each."""
_OBJECT = frozenset({"{"})
_ARRAY = frozenset({"["})


def doubles(root: object, refer: Callable[[str], object]) -> bool:
    """Whether branches that begin alike lead back to where they branch. `refer` resolves a `$ref`."""
    cycles = _Cycles(refer)
    cycles.find(root)
    compared: set[frozenset[int]] = set()
    steps = 0
    for node in cycles.branching:
        home = cycles.of(node)
        if home is None:
            continue
        leaves, visited = _alternatives(node, refer)
        steps += visited
        back = [leaf for leaf in leaves if cycles.of(leaf) == home]
        if len(back) > BACK_MAX or steps > STEPS_MAX:
            return True
        which = frozenset(map(id, back))
        if which in compared:
            continue
        compared.add(which)
        ways = [_way(leaf, partial(cycles.leads_to, home)) for leaf in back]
        steps += sum(map(len, ways)) * len(ways)
        if steps > STEPS_MAX or any(not _told_apart(one, other) for one, other in combinations(ways, 2)):
            return True
    return False


class _Cycles:
    """Which schemas lead to each other: Tarjan's components, without recursion."""

    def __init__(self, refer: Callable[[str], object]) -> None:
        self._refer = refer
        self._order: dict[int, int] = {}
        self._low: dict[int, int] = {}
        self._path: list[int] = []
        self._work: list[tuple[Schema, Iterator[Schema]]] = []
        self._component: dict[int, int] = {}
        self._looping: set[int] = set()
        self.branching: list[Schema] = []

    def of(self, node: object) -> int | None:
        """The cycle that a schema is on, if it is on any."""
        component = self._component.get(id(node))
        return component if component in self._looping else None

    def leads_to(self, cycle: int, node: object) -> bool:
        """Whether a schema that is led to from a cycle leads back to it."""
        return self.of(node) == cycle

    def find(self, root: object) -> None:
        """Find those of a schema and of all that it leads to."""
        if isinstance(root, dict):
            self._enter(root)
        while self._work:
            node, following = self._work[-1]
            new = next((each for each in following if self._is_new(node, each)), None)
            if new is not None:
                self._enter(new)
            else:
                self._leave(node)

    def _enter(self, node: Schema) -> None:
        self._order[id(node)] = self._low[id(node)] = len(self._order)
        self._path.append(id(node))
        if any(isinstance(node.get(name), list) for name in ("anyOf", "oneOf")):
            self.branching.append(node)
        self._work.append((node, iter(self._next(node))))

    def _is_new(self, node: Schema, next_: Schema) -> bool:
        if id(next_) not in self._order:
            return True
        if id(next_) not in self._component:
            self._low[id(node)] = min(self._low[id(node)], self._order[id(next_)])
            if next_ is node:
                self._looping.add(self._order[id(node)])
        return False

    def _leave(self, node: Schema) -> None:
        self._work.pop()
        if self._work:
            above = id(self._work[-1][0])
            self._low[above] = min(self._low[above], self._low[id(node)])
        if self._low[id(node)] == self._order[id(node)]:
            self._close(self._path, id(node), self._order[id(node)])

    def _close(self, path: list[int], last: int, component: int) -> None:
        if path[-1] != last:
            self._looping.add(component)
        while True:
            each = path.pop()
            self._component[each] = component
            if each == last:
                return

    def _next(self, node: Schema) -> list[Schema]:
        """What a schema leads to."""
        found: list[object] = []
        if isinstance(node.get("$ref"), str):
            found.append(self._refer(node["$ref"]))
        for name in ("anyOf", "oneOf", "allOf", "items", "prefixItems", "additionalProperties"):
            value = node.get(name)
            found += value if isinstance(value, list) else [value]
        if isinstance(node.get("properties"), dict):
            found += node["properties"].values()
        return [each for each in found if isinstance(each, dict)]


def _alternatives(node: Schema, refer: Callable[[str], object]) -> tuple[list[Schema], int]:
    """What a schema may be, each once, with references and branches followed; how many were looked at."""
    found: list[Schema] = []
    seen: set[int] = set()
    waiting: list[object] = [node]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict) or id(each) in seen:
            continue
        seen.add(id(each))
        branches = each.get("oneOf") or each.get("anyOf")
        if isinstance(each.get("$ref"), str):
            waiting.append(refer(each["$ref"]))
        elif isinstance(branches, list):
            waiting += branches
        else:
            found.append(each)
    return found, len(seen)


def _way(node: Schema, leads_back: Callable[[object], bool]) -> list[Step]:
    """What an answer to a schema has before it leads back."""
    properties = node.get("properties")
    if isinstance(properties, dict):
        return _object_way(properties, node.get("required"), node.get("additionalProperties"), leads_back)
    if "allOf" in node or "additionalProperties" in node:
        return [_OBJECT]
    listed = node.get("prefixItems") or node.get("items")
    way: list[Step] = [_ARRAY]
    for each in listed if isinstance(listed, list) else ():
        if leads_back(each):
            break
        way.append(_literals(each))
    return way


def _object_way(
    properties: Schema, required: object, additional: object, leads_back: Callable[[object], bool]
) -> list[Step]:
    way: list[Step] = [_OBJECT]
    named = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
    for name, each in properties.items():  # those that are required come first, in this order
        if name not in named:
            continue
        way.append(frozenset({name}))
        if leads_back(each):
            return way
        way.append(_literals(each))
    optional = frozenset(name for name in properties if name not in named)
    return [*way, None if additional or not optional else optional]


def _literals(node: object) -> Step:
    """All that a schema may be, where it lists that."""
    if not isinstance(node, dict):
        return None
    listed = [node["const"]] if "const" in node else node.get("enum")
    return (
        frozenset(msgspec.json.encode(each).decode() for each in listed) if isinstance(listed, list) else None
    )


def _told_apart(one: Sequence[Step], other: Sequence[Step]) -> bool:
    """Whether two ways differ before either leads back."""
    return any(a is not None and b is not None and a.isdisjoint(b) for a, b in zip(one, other, strict=False))
