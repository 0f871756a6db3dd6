"""Whether the answer calls the tools that are expected."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import same_json

CALLS: str = "tool_calls"
"""The member of what is expected that has the calls."""


class ToolCalls(
    msgspec.Struct, frozen=True, kw_only=True, tag="tool_calls", tag_field="kind", forbid_unknown_fields=True
):
    """Yes if the answer calls just the tools of the item's `expected`, `{"tool_calls": [{"name": "…",
    "arguments": {…}}]}` or as OpenAI's messages have them; an empty list expects that none is called.

    Arguments are compared as JSON values; of a call without `arguments`, and of every one with `any`, the
    name suffices. The order counts only with `ordered`. The comment of a no says which tools were called.
    """

    name: str = "tool_calls"
    arguments: Literal["same", "any"] = "same"
    ordered: bool = False

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        wanted = expected_calls(item.expected)
        if wanted is None:
            return unscored(f"{self.name} needs a list of `tool_calls`; the item expects: {item.expected!r}")
        called = calls_in(answer.tool_calls or []) or []
        if len(called) == len(wanted) and self._match(called, wanted):
            return scored(True)
        names = ", ".join(name for name, _ in called) or "no tool"
        right = sorted(name for name, _ in called) == sorted(name for name, _ in wanted)
        return scored(False, f"it calls {names}" + (", in another way than expected" if right else ""))

    def _match(self, called: list[tuple[str, Any]], wanted: list[tuple[str, Any]]) -> bool:
        """Whether each call is one that is expected; as many of both."""
        if self.ordered:
            return all(self._same(*pair) for pair in zip(called, wanted, strict=True))
        left = list(called)
        # Those that are told in full choose first: one without arguments takes any that is left.
        for each in sorted(wanted, key=lambda call: call[1] is None):
            found = next((at for at, call in enumerate(left) if self._same(call, each)), None)
            if found is None:
                return False
            del left[found]
        return True

    def _same(self, call: tuple[str, Any], wanted: tuple[str, Any]) -> bool:
        if call[0] != wanted[0]:
            return False
        return self.arguments == "any" or wanted[1] is None or same_json(call[1], wanted[1])


def expected_calls(expected: Any) -> list[tuple[str, Any]] | None:
    """The calls that are expected, as `calls_in`; None where it is something else that is."""
    return calls_in(expected[CALLS]) if isinstance(expected, dict) and CALLS in expected else None


def calls_in(given: Any) -> list[tuple[str, Any]] | None:
    """Names and arguments of calls, in OpenAI's form or plainly; None for what are no calls. Arguments that
    are a text are the JSON value that it spells, or itself where it spells none."""
    if not isinstance(given, list):
        return None
    found: list[tuple[str, Any]] = []
    for each in given:
        call = each.get("function", each) if isinstance(each, dict) else None
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(name, str):
            return None
        found.append((name, _value(call.get("arguments"))))
    return found


def _value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return arguments
