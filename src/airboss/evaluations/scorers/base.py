"""What a scorer is, and the guard around every one of them."""

from __future__ import annotations

from typing import Protocol

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


class PairScorer(Protocol):
    """Judges two answers to an item against each other."""

    @property
    def name(self) -> str:
        """What it measures; unique within a run."""

    async def mark_pair(self, item: Item, a: Answer, b: Answer) -> Mark:
        """B's share of the win: 0 where A is better, 1 where B is, 0.5 where neither is."""


async def judged(scorer: Scorer, item: Item, answer: Answer) -> Mark:
    """What the scorer says; never raises. A call that failed is unscored by every scorer."""
    if answer.error is not None:
        return unscored(f"there is no answer: {answer.error}")
    try:
        return await scorer.mark(item, answer)
    except Exception as error:  # noqa: BLE001 - whatever a scorer breaks on is data about that item
        return unscored(f"{scorer.name} failed with {type(error).__name__}: {error}")


async def judged_pair(scorer: PairScorer, item: Item, a: Answer, b: Answer) -> Mark:
    """As `judged`, of two answers."""
    for side, answer in (("A", a), ("B", b)):
        if answer.error is not None:
            return unscored(f"there is no answer of {side}: {answer.error}")
    try:
        return await scorer.mark_pair(item, a, b)
    except Exception as error:  # noqa: BLE001 - as above
        return unscored(f"{scorer.name} failed with {type(error).__name__}: {error}")


def text_of(answer: Answer) -> str:
    """The answer's text; `judged` has seen that there is one."""
    assert answer.text is not None
    return answer.text
