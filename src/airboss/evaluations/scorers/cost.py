"""What the answer cost."""

from __future__ import annotations

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer


class Cost(
    msgspec.Struct, frozen=True, kw_only=True, tag="cost", tag_field="kind", forbid_unknown_fields=True
):
    """What the call cost, in USD; with `most_usd`, whether that was at most so much. Unscored where the price
    is unknown."""

    name: str = "cost"
    most_usd: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """None for a sum, 0 to 1 for a yes or no."""
        return None if self.most_usd is None else (0.0, 1.0)

    @property
    def higher_is_better(self) -> bool:
        """Whether the mark is a yes or no."""
        return self.most_usd is not None

    async def mark(self, item: Item, answer: Answer) -> Mark:  # noqa: ARG002 - what is asked does not matter
        """As `Scorer.mark`."""
        if answer.cost_usd is None:
            return unscored("the price is unknown; give the model a `price`, an app's answer its `cost_usd`")
        if self.most_usd is not None:
            return scored(float(answer.cost_usd) <= self.most_usd)
        return scored(float(answer.cost_usd))
