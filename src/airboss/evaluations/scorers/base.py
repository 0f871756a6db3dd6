"""What a scorer is, and the guard around every one of them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, unscored
from airboss.evaluations.ports import Answer


class Scorer(Protocol):
    """Judges the answer to an item.

    Its marks are all numbers, all yes or no, or all labels. `bounds` are the range of its numbers, None where
    there is none; yes counts as 1. `higher_is_better` says which way is up. A scorer says `unscored` for what
    it cannot judge; what it raises becomes that too (`judged`).
    """

    @property
    def name(self) -> str:
        """What it measures; unique within a run."""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range of its numbers."""

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """Judge an answer, which has a text."""


async def judged(scorer: Scorer, item: Item, answer: Answer) -> Mark:
    """What the scorer says; never raises. A call that failed is unscored by every scorer."""
    if answer.error is not None:
        return unscored(f"there is no answer: {answer.error}")
    try:
        mark = await scorer.mark(item, answer)
    except Exception as error:  # noqa: BLE001 - whatever a scorer breaks on is data about that item
        return unscored(f"{scorer.name} failed with {type(error).__name__}: {error}")
    if scorer.bounds is not None and isinstance(mark.value, float):
        low, high = scorer.bounds
        if not low <= mark.value <= high:
            return unscored(f"{scorer.name} gave {mark.value}, which is not within {low} to {high}")
    return mark


def said_in(answer: Answer) -> str:
    """What an answer says, for people and judges to read: its text, and the tools that it calls as JSON."""
    called = msgspec.json.encode(answer.tool_calls).decode() if answer.tool_calls else ""
    return "\n".join(part for part in (answer.text, called) if part)


def text_of(answer: Answer) -> str:
    """The answer's text; `judged` has seen that there is one."""
    assert answer.text is not None
    return answer.text


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)
