"""How many of a thing there are, in words: for errors, pages and what verbs print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PLURALS: Final[Mapping[str, str]] = {"leaf": "leaves", "entry": "entries"}
"""Of words that take more than an `s`."""


def many(count: int, what: str) -> str:
    """So many of it: `1 record`, `2 records`. `what` is the word for one; of several words the first one."""
    first, *rest = what.split(" ", 1)
    return " ".join([f"{count:,}", first if count == 1 else PLURALS.get(first, f"{first}s"), *rest])
