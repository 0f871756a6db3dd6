"""Whether the answer holds certain texts."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import text_of
from airboss.evaluations.scorers.exact import normal


class Contains(
    msgspec.Struct, frozen=True, kw_only=True, tag="contains", tag_field="kind", forbid_unknown_fields=True
):
    """Yes if the answer holds all of `texts` (one of them suffices with `any`); without `texts`, the item's
    `expected`, a text or a list of them. Case counts only with `ignore_case` off."""

    name: str = "contains"
    texts: tuple[str, ...] = ()
    any: bool = False
    ignore_case: bool = True

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        wanted: object = list(self.texts) or item.expected
        texts = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
            return unscored(f"{self.name} looks for a text or a list of them; the item expects: {wanted!r}")
        said = normal(text_of(answer), ignore_case=self.ignore_case)
        found = [normal(text, ignore_case=self.ignore_case) in said for text in texts]
        return scored(any(found) if self.any else all(found))
