"""Items, marks, and a caller that is no network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from airboss.evaluations.datasets import Input, Item
from airboss.evaluations.ports import Answer, Call, Target

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
A = Target(deployment="a", release="a" * 64)
B = Target(deployment="b", release="b" * 64)
JUDGE = Target(deployment="judge", release="c" * 64)


def now() -> datetime:
    """A clock that stands still."""
    return NOW


def item(id: str = "q", text: str = "What?", **given: Any) -> Item:
    """An item that asks one question."""
    return Item(id=id, input=Input(messages=({"role": "user", "content": text},)), **given)


def said(text: str = "yes", **given: Any) -> Answer:
    """An answer with everything that is usually there."""
    fields: dict[str, Any] = {"latency_ms": 12.0, "output_tokens": 3, "cost_usd": Decimal("0.001")}
    return Answer(text=text, **(fields | given))


class FakeCaller:
    """A `Caller` that answers what a function says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Call], Answer | str]) -> None:
        self._answer = answer
        self.calls: list[Call] = []

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        self.calls.append(call)
        found = self._answer(call)
        return found if isinstance(found, Answer) else said(found)
