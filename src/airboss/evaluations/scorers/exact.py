"""Whether the answer is the expected one."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import same_json, text_of
from airboss.evaluations.scorers.tool_calls import ToolCalls, expected_calls


class Exact(
    msgspec.Struct, frozen=True, kw_only=True, tag="exact", tag_field="kind", forbid_unknown_fields=True
):
    """Yes if the answer is the item's `expected`, or one of a list of them.

    Texts are compared in Unicode's composed form, without blanks around them (`strip`), and without regard to
    case with `ignore_case`. What is expected and no text is compared with the JSON value that the answer
    spells; an answer that spells none is a no. Tools that are expected to be called are for `ToolCalls`.
    """

    name: str = "exact"
    ignore_case: bool = False
    strip: bool = True

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        if item.expected is None:
            return unscored("the item expects nothing; give it `expected`")
        if expected_calls(item.expected) is not None:
            return await ToolCalls(name=self.name).mark(item, answer)
        accepted = item.expected if isinstance(item.expected, list) else [item.expected]
        return scored(any(self._same(text_of(answer), each) for each in accepted))

    def _same(self, said: str, expected: Any) -> bool:
        if isinstance(expected, str):
            how = {"ignore_case": self.ignore_case, "strip": self.strip}
            return normal(said, **how) == normal(expected, **how)
        try:
            value = msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return False
        return same_json(value, expected)


def normal(text: str, *, ignore_case: bool, strip: bool = False) -> str:
    """A text as it is compared."""
    text = unicodedata.normalize("NFC", text.casefold() if ignore_case else text)
    return text.strip() if strip else text
