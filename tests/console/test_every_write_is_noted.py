"""Every route that changes something says so to the audit log."""

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
    "/api/v1/nodes/{name}/journals/{journal}/{segment}",
    "/api/v1/nodes/{name}/journals/{journal}/ended",
}
"""A comparison, and records on their way, of which the log tells as little as of any other."""


def calls(node: ast.AST) -> Iterator[str]:
    """What a function calls: `note`, `append`, or functions of its own module by name."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            yield each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")


def notes(route: Route) -> bool:
    """Whether the route's handler, or what it calls in its module, adds to the audit log."""
    module = sys.modules[route.handle.__module__]
    functions = {
        each.name: each
        for each in ast.parse(inspect.getsource(module)).body
        if isinstance(each, ast.FunctionDef)
    }
    seen: set[str] = set()
    left = [route.handle.__name__]
    while left:
        name = left.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        text = ast.unparse(functions[name])
        if "desk.note(" in text or "desk.audit.append(" in text:
            return True
        left += calls(functions[name])
    return False


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.method == "POST"], ids=lambda each: each.path
)
def test_a_write_is_noted(route: Route) -> None:
    """By `Desk.note`; those that change nothing are named above."""
    assert notes(route) != (route.path in CHANGES_NOTHING)
