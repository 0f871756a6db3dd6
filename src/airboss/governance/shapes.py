"""Patterns that know how their matches begin and how long they get: what streaming detection rests on.

A `Shape` carries, beside its own RE2 pattern, one for every beginning of what it matches. A text whose end is
such a beginning may still turn into a match, so that end must be held; any other text may go. Both patterns
and the greatest length are derived from the parts, so that they cannot disagree.

Shapes are matched on bytes, one for a character (see shadow.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_COUNTED = 24
"""A class repeated more often is left uncounted in `loose` and `opening`: counting makes big DFAs."""

_AT_LEAST = 8
"""How much of a minimum `loose` keeps."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a pattern.

    `loose` matches whatever `exact` does, and more. `opening` matches every beginning of what `loose`
    matches, from nothing to all of it. No match of `exact` is longer than `longest` characters.
    """

    exact: str
    loose: str
    opening: str
    longest: int


def _group(patterns: Iterable[str]) -> str:
    return "(?:" + "|".join(dict.fromkeys(patterns)) + ")"


def word(text: str, *, any_case: bool = False) -> Shape:
    """One text."""
    start = "(?i:" if any_case else "(?:"
    letters = [re.escape(letter) for letter in text]
    pattern = start + "".join(letters) + ")"
    opening = start + "".join(f"(?:{letter}" for letter in letters) + ")?" * len(letters) + ")"
    return Shape(exact=pattern, loose=pattern, opening=opening, longest=len(text))


def words(*texts: str, any_case: bool = False) -> Shape:
    """One of these texts."""
    return either(*(word(text, any_case=any_case) for text in texts))


def chars(of: str, low: int, high: int | None = None) -> Shape:
    """`low` to `high` characters of a class such as `[0-9]`; `low` of them if there is no `high`."""
    high = low if high is None else high
    if high <= _COUNTED:
        counted = f"{of}{{{low},{high}}}"
        return Shape(exact=counted, loose=counted, opening=f"{of}{{0,{high}}}", longest=high)
    return Shape(
        exact=f"{of}{{{low},{high}}}",
        loose=f"{of}{{{min(low, _AT_LEAST)},}}",
        opening=f"{of}*",
        longest=high,
    )


def seq(*shapes: Shape) -> Shape:
    """These, one after the other."""
    first, *rest = shapes
    if not rest:
        return first
    tail = seq(*rest)
    return Shape(
        exact=first.exact + tail.exact,
        loose=first.loose + tail.loose,
        opening=f"(?:{first.opening}|{first.loose}{tail.opening})",
        longest=first.longest + tail.longest,
    )


def either(*shapes: Shape) -> Shape:
    """One of these."""
    return Shape(
        exact=_group(shape.exact for shape in shapes),
        loose=_group(shape.loose for shape in shapes),
        opening=_group(shape.opening for shape in shapes),
        longest=max(shape.longest for shape in shapes),
    )


def maybe(shape: Shape) -> Shape:
    """A shape or nothing."""
    return Shape(
        exact=f"(?:{shape.exact})?",
        loose=f"(?:{shape.loose})?",
        opening=shape.opening,
        longest=shape.longest,
    )


def many(shape: Shape, low: int, high: int) -> Shape:
    """A shape, `low` to `high` times."""
    longest = shape.longest * high
    counted = longest <= 2 * _COUNTED
    times = f"{{{low},{high}}}" if counted else f"{{{min(low, _AT_LEAST)},}}"
    before = f"{{0,{high - 1}}}" if counted else "*"
    return Shape(
        exact=f"(?:{shape.exact}){{{low},{high}}}",
        loose=f"(?:{shape.loose}){times}",
        opening=f"(?:{shape.loose}){before}{shape.opening}",
        longest=longest,
    )
