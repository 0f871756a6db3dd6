"""How long the answer is."""

from __future__ import annotations

from typing import Literal

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import text_of


class Length(
    msgspec.Struct, frozen=True, kw_only=True, tag="length", tag_field="kind", forbid_unknown_fields=True
):
    """The answer's length in characters, words (what blanks divide) or tokens (as the provider counted them);
    with `least` or `most`, whether it is within them. As a number, less is called better."""

    name: str = "length"
    unit: Literal["characters", "words", "tokens"] = "characters"
    least: int | None = None
    most: int | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """None for a length, 0 to 1 for a yes or no."""
        return None if self._open else (0.0, 1.0)

    @property
    def higher_is_better(self) -> bool:
        """Whether the mark is a yes or no."""
        return not self._open

    @property
    def _open(self) -> bool:
        return self.least is None and self.most is None

    async def mark(self, item: Item, answer: Answer) -> Mark:  # noqa: ARG002 - what is asked does not matter
        """As `Scorer.mark`."""
        said = text_of(answer)
        counts = {
            "characters": len(said),
            "words": len(said.split()),
            "tokens": answer.output_tokens,
        }
        length = counts[self.unit]
        if length is None:
            return unscored("the provider did not count tokens")
        if self._open:
            return scored(float(length))
        return scored((self.least or 0) <= length and (self.most is None or length <= self.most))
