"""What a detector is: where a value may be, and who says whether it is one."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from airboss.governance.shapes import Shape

Kind = str
"""What policies name: a `PiiKind`, or one of their own."""

Span = tuple[int, int]
"""From the first character to the one after the last."""

Confirm = Callable[[bytes, bytes, bytes], Span | None]
"""Given what stands before a candidate, the candidate, and what stands after it (as much as the detector asks
for, less only where the text begins or ends): where in the candidate the value is, or None if it is none.
Depends on nothing else.
"""

Growth = Callable[[bytes, int, int], tuple[int, bool]]
"""How a value goes on behind its candidate. Given the text, the value's start (negative if it is no longer at
hand) and its end so far: its end now, and whether that is final. Not final only at the end of the text. Looks
at most LEFT characters back from the end so far, and only at the value.
"""

Judge = Callable[[str, int, int], Span | None]
"""The same by the text itself, with one character for each of its shadow. Given it and where the candidate
begins and ends; looks at that and the character behind it."""

LEFT = 80
"""Characters before a candidate that a detector may ask for, at most."""


def whole(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    """Confirms any candidate: its shape says enough."""
    return 0, len(found)


def as_written(value: bytes) -> bytes:
    """The value itself, for values that have one spelling."""
    return value


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """Finds values of one kind in a shadow (see shadow.py), from left to right.

    The leftmost longest match of `shape` is a candidate; after a value the search goes on at its end, after a
    refused candidate one character on, or with `skips` behind it. `confirm` sees `left` characters before the
    candidate and `right` after it. A value may grow beyond its candidate.

    `canonical` makes the spellings of one value the same, for tokens. `escaped`: a candidate may begin with
    an escape that is no part of it (START). `by_text`: values differ in more than their shadows; then
    `judge`, if there is one, has the last word, and `spelled` is what `canonical` is otherwise.
    """

    kind: Kind
    name: str
    shape: Shape
    confirm: Confirm = whole
    left: int = 0
    right: int = 1
    skips: bool = False
    grows: Growth | None = None
    canonical: Callable[[bytes], bytes] = as_written
    escaped: bool = True
    by_text: bool = False
    judge: Judge | None = None
    spelled: Callable[[str], str] = str

    @property
    def longest(self) -> int:
        """Characters from a candidate's first to the last one that its confirmation looks at, at most."""
        return self.shape.longest + self.right

    @property
    def opening(self) -> str:
        """A pattern of every end of text that leaves open whether a value begins there."""
        if self.right <= 1:  # a match that ends with the text is an opening, so one more character was seen
            return self.shape.opening
        seen = f"(?s:.){{0,{self.right - 1}}}"
        return f"(?:{self.shape.opening}|{self.shape.loose}{seen})"


START = Shape(exact=r"(?:\b|\\[nrt])", loose=r"(?:\b|\\[nrt])", opening=r"(?:\b|\\[nrt]?)", longest=2)
r"""The start of a word, where the `n` of a `\n` written out (as in code and in JSON) belongs to no word. A
candidate that begins with such an escape is judged without it."""

END = Shape(exact=r"\b", loose=r"\b", opening="", longest=0)
"""The end of a word."""

ESCAPE = re.compile(rb"\\[nrt]\Z")
"""Such an escape at the end of what stands before."""


def glued(before: bytes) -> bool:
    """Whether what follows is the rest of a word or number."""
    return before[-1:].isalnum() and ESCAPE.search(before[-2:]) is None


_NOT_DIGITS = bytes(code for code in range(256) if not 48 <= code <= 57)


def digits_of(value: bytes) -> str:
    """The digits alone."""
    return value.translate(None, _NOT_DIGITS).decode()


def run_of(pattern: bytes) -> Growth:
    """Growth over every character that follows and is of a class such as `[0-9]`."""
    match = re.compile(pattern + rb"*+").match

    def grown(text: bytes, start: int, end: int) -> tuple[int, bool]:  # noqa: ARG001  # a Growth takes these
        found = match(text, end)
        end = found.end() if found else end
        return end, end < len(text)

    return grown
