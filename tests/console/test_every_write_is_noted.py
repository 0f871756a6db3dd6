"""Every route that changes something says so to the audit log, with the change or not at all."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator

import pytest

from airboss.console.api import ROUTES
from airboss.console.route import Route

CHANGES_NOTHING = {
    "/api/v1/config/diff",
    "/api/v1/evals/estimate",
    "/api/v1/nodes/{name}/journals/{journal}/{segment}",
    "/api/v1/nodes/{name}/journals/{journal}/ended",
}
"""A comparison, a cost, and records on their way, of which the log tells as little as of any other."""
APART = {
    "/api/v1/rollouts/order": "an order stands though its plan cannot be published: to abort must not wait "
    "for a configuration that cannot be applied; its verdict is noted by itself",
    "/api/v1/nodes": "no change of the ledger",
    "/api/v1/nodes/{name}/leave": "no change of the ledger",
    "/api/v1/nodes/{name}/forget": "no change of the ledger",
    "/api/v1/dead-letters/retry": "a change of the record store",
    "/api/v1/transfer": "a change of the record store",
    "/api/v1/records/{id}/scores": "a change of the record store",
}
"""Whose leaf is not written in the transaction of what they do, and why."""


def calls(node: ast.AST) -> Iterator[str]:
    """What a function calls: `note`, `append`, or functions of its own module by name."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            yield each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")


def functions(route: Route) -> Iterator[ast.FunctionDef]:
    """The route's handler, and what it calls in its module."""
    module = ast.parse(inspect.getsource(sys.modules[route.handle.__module__]))
    there = {each.name: each for each in module.body if isinstance(each, ast.FunctionDef)}
    seen: set[str] = set()
    left = [route.handle.__name__]
    while left:
        name = left.pop()
        if name not in seen and name in there:
            seen.add(name)
            yield there[name]
            left += calls(there[name])


def notes(node: ast.AST) -> bool:
    """Whether something adds to the audit log, itself or by its module's `_note`."""
    return any(called in ast.unparse(node) for called in ("desk.note(", "desk.audit.append(", "_note(desk"))


def wholly(node: ast.AST) -> bool:
    """Whether a function does so in the transaction of what it changes."""
    return any(
        isinstance(each, ast.With) and "together()" in ast.unparse(each.items[0]) and notes(each)
        for each in ast.walk(node)
    )


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.method == "POST"], ids=lambda each: each.path
)
def test_a_write_is_noted(route: Route) -> None:
    """By `Desk.note`; those that change nothing are named above."""
    noting = [each for each in functions(route) if notes(each)]
    assert bool(noting) != (route.path in CHANGES_NOTHING)
    assert not noting or any(map(wholly, noting)) != (route.path in APART)
