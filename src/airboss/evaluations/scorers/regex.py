"""Whether the answer matches a pattern, in time that grows only with its length."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec
import re2

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import text_of

PATTERN_CHARS_MAX: Final = 10_000
MEMORY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one compiled pattern; RE2 refuses those that need more."""


class Regex(
    msgspec.Struct, frozen=True, kw_only=True, tag="regex", tag_field="kind", forbid_unknown_fields=True
):
    """Yes if `pattern` is found in the answer (matches all of it with `full`); without `pattern`, the item's
    `expected`. Syntax and bounds are RE2's: no look-around, no back-references, no pattern that hangs."""

    name: str = "regex"
    pattern: str | None = None
    full: bool = False

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a pattern that is none at once, not at the first item."""
        if self.pattern is not None:
            compiled(self.pattern)

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        pattern = self.pattern if self.pattern is not None else item.expected
        if not isinstance(pattern, str):
            return unscored(f"{self.name} needs a pattern; the item expects: {pattern!r}")
        try:
            ready = compiled(pattern)
        except WrongCall as error:
            return unscored(f"{self.name} needs another pattern: {error}")
        said = text_of(answer)
        return scored(bool(ready.fullmatch(said) if self.full else ready.search(said)))


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """The pattern, ready. Raises WrongCall where it is none."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise WrongCall(f"a pattern of {len(pattern)} characters; at most {PATTERN_CHARS_MAX}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error
        raise WrongCall(f"{pattern!r} is no pattern of RE2's syntax: {reason}") from error
