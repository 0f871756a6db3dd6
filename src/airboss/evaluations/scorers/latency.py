"""How long the answer took."""

from __future__ import annotations

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer


class Latency(
    msgspec.Struct, frozen=True, kw_only=True, tag="latency", tag_field="kind", forbid_unknown_fields=True
):
    """How long the whole call took, in milliseconds as the caller saw it; with `most_ms`, whether that was at
    most so much. Unscored where an app's answer does not say it. Where two releases are compared by it,
    neither is given an answer that was kept before."""

    name: str = "latency"
    most_ms: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """None for a time, 0 to 1 for a yes or no."""
        return None if self.most_ms is None else (0.0, 1.0)

    @property
    def higher_is_better(self) -> bool:
        """Whether the mark is a yes or no."""
        return self.most_ms is not None

    async def mark(self, item: Item, answer: Answer) -> Mark:  # noqa: ARG002 - what is asked does not matter
        """As `Scorer.mark`."""
        if answer.latency_ms is None:
            return unscored("it is not known how long it took; give `latency_ms`")
        if self.most_ms is not None:
            return scored(answer.latency_ms <= self.most_ms)
        return scored(answer.latency_ms)
