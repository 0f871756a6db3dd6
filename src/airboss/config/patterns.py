r"""Patterns of kinds that policies define themselves: read, and refused where they cannot be looked for in a
text that comes in pieces.

The syntax is RE2's, and RE2 says what is wrong with it. Of that is left out what has no bound (`*`, `+`,
`{2,}`), what stands for the edge of a text (`^`, `$`), and what no plain text has (`\p{…}`). What is left is
read into a tree, so that the beginnings of its matches can be told (`governance.custom`).
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

PATTERN_CHARS_MAX: Final = 1000
MATCH_MIN: Final = 2
"""Characters of the shortest match: shorter ones stand in every word."""
MATCH_MAX: Final = 256
"""Characters of the longest match: as much of a stream may be held back."""
STEPS_MAX: Final = 500
"""Characters of a pattern that is written out, without `{2,8}`: what it costs to look for."""
DEPTH_MAX: Final = 16
"""Groups within groups."""


class Chars(msgspec.Struct, frozen=True):
    r"""One character of a class, as RE2 writes it: `a`, `\d`, `[A-Z]`."""

    of: str


class Edge(msgspec.Struct, frozen=True):
    r"""A place and no character: `\b` or `\B`."""

    of: str


class Seq(msgspec.Struct, frozen=True):
    """One after the other; none is the empty text."""

    parts: tuple[Node, ...]


class Either(msgspec.Struct, frozen=True):
    """One of these."""

    parts: tuple[Node, ...]


class Times(msgspec.Struct, frozen=True):
    """`low` to `high` times; 0 <= low <= high."""

    part: Node
    low: int
    high: int


class AnyCase(msgspec.Struct, frozen=True):
    """The same, whatever the case of its letters."""

    part: Node


Node = Chars | Edge | Seq | Either | Times | AnyCase


class Measures(msgspec.Struct, frozen=True):
    """Characters of the shortest and the longest match, and of all that is written out."""

    shortest: int
    longest: int
    steps: int


def measures(node: Node) -> Measures:
    """How much a pattern matches, and what of it."""
    match node:
        case Chars():
            return Measures(1, 1, 1)
        case Edge():
            return Measures(0, 0, 1)
        case AnyCase():
            return measures(node.part)
        case Times():
            once = measures(node.part)
            return Measures(
                once.shortest * node.low, once.longest * node.high, max(1, once.steps * node.high)
            )
    each = [measures(part) for part in node.parts]
    steps = sum(one.steps for one in each)
    if isinstance(node, Either):
        return Measures(min(one.shortest for one in each), max(one.longest for one in each), steps)
    return Measures(sum(one.shortest for one in each), sum(one.longest for one in each), steps)


class PatternError(Exception):
    """Why a pattern cannot be looked for, and what to write instead."""


def read_pattern(text: str) -> Node:
    """A pattern. Raises PatternError."""
    if not text:
        raise PatternError("it is empty; write what the values look like, as in 'EMP-[0-9]{6}'")
    if len(text) > PATTERN_CHARS_MAX:
        raise PatternError(f"it has {len(text):,} characters, and may have {PATTERN_CHARS_MAX:,}; split it")
    strange = next((each for each in text if not " " <= each <= "~"), None)
    if strange is not None:
        raise PatternError(
            f"it has {strange!r}; accents are taken off a text before it is looked at, so write its letters "
            "plainly; words in other scripts go into `words`"
        )
    compiled = _compiled(text)
    node = _Reader(text).whole()
    found = measures(node)
    if found.longest > MATCH_MAX:
        raise PatternError(
            f"it may match {found.longest:,} characters, and a stream holds back {MATCH_MAX} for it at most; "
            "narrow a {…}, or look for the beginning alone"
        )
    if found.steps > STEPS_MAX:
        raise PatternError(
            f"it comes to {found.steps:,} steps when all its {{…}} are written out, and may have "
            f"{STEPS_MAX:,}; make two kinds of it, or put fixed texts into `words`"
        )
    if found.shortest < MATCH_MIN:
        seen = "nothing at all" if found.shortest == 0 else "a single character"
        raise PatternError(f"it matches {seen}; say what every value has, {MATCH_MIN} characters or more")
    _check_telling(compiled)
    return node


def _compiled(text: str) -> Any:
    """The pattern as RE2 takes it. Raises PatternError with RE2's words."""
    import re2  # noqa: PLC0415 - only a configuration with patterns needs it

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        said = error.args[0].decode("latin-1")
    if _AROUND.search(said):
        raise PatternError(
            f"RE2 says {said!r}: it does not look around a match; write what the value itself is, and \\b "
            "where a word begins or ends"
        )
    if _BACK.search(said):
        raise PatternError(f"RE2 says {said!r}: it does not refer back to what was matched; write it out")
    raise PatternError(f"RE2 says {said!r}; its syntax: github.com/google/re2/wiki/Syntax")


_AROUND: Final = re.compile(r"\(\?<?[=!]\Z")
_BACK: Final = re.compile(r"\\[1-9]\Z")
_PROBES: Final = ("z", "0", " ", ".")
"""A letter, a digit, a blank and a mark."""


def _check_telling(compiled: Any) -> None:
    """Raise PatternError for a pattern that matches nearly everything."""
    found = [each for each in _PROBES if compiled.search(each.encode() * MATCH_MAX)]
    if len(found) >= len(_PROBES) - 1:
        runs = ", ".join(repr(each * 3 + "…") for each in found)
        raise PatternError(
            f"it matches whatever there is, {runs} too; say what tells a value from other text"
        )


_ESCAPED: Final = frozenset("dDwWsStnrfv")
_FLAGS: Final = re.compile(r"\(\?([^:)]*)([:)])")
_COUNT: Final = re.compile(r"\{(\d+)(,?)(\d*)\}")
_NUMBERED: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[pPxQEC0-9]")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]")


class _Reader:
    """Reads what RE2 has taken, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Node:
        return self._either(0)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _either(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise PatternError(f"it has more than {DEPTH_MAX} groups within groups; write it flatter")
        options = [self._seq(depth)]
        while self._next() == "|":
            self._at += 1
            options.append(self._seq(depth))
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _seq(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            if self._text.startswith("(?i)", self._at):  # for all that follows
                self._at += 4
                rest = self._either(depth + 1)
                cased = AnyCase(rest)
                if isinstance(rest, Either) and parts:
                    raise PatternError("'(?i)' stands at the beginning, or around a group: '(?i:…)'")
                return Seq((*parts, cased)) if parts else cased
            part = self._times(self._one(depth))
            if not (isinstance(part, Edge) and parts and parts[-1] == part):
                parts.append(part)
        return parts[0] if len(parts) == 1 else Seq(tuple(parts))

    def _times(self, part: Node) -> Node:
        count = _COUNT.match(self._text, self._at)
        sign = self._next()
        if count is not None:
            low = int(count[1])
            if count[2] and not count[3]:
                self._unbounded(count[0])
            high = int(count[3]) if count[3] else low
            self._at = count.end()
        elif sign == "?":
            low, high = 0, 1
            self._at += 1
        elif sign and sign in "*+":
            self._unbounded(sign)
        else:
            return part
        if self._next() == "?":
            raise PatternError(
                "a '?' behind a count asks for the shortest match; always the longest is taken: leave it out"
            )
        if self._next() in ("*", "+", "?") or _COUNT.match(self._text, self._at):
            raise PatternError(f"two counts stand side by side at {self._text[self._at - 1 :]!r}; keep one")
        return Times(part, low, high)

    def _unbounded(self, seen: str) -> None:
        raise PatternError(
            f"{seen!r} has no end, and how much of a stream is held back must have one; say how many: "
            f"'{{{'0' if seen == '*' else '1' if seen == '+' else seen[1:-2]},20}}'"
        )

    def _one(self, depth: int) -> Node:
        first = self._next()
        if first == "(":
            return self._group(depth)
        if first == "[":
            found = _CLASS.match(self._text, self._at)
            assert found is not None  # RE2 has taken it
            return self._class(found[0])
        if first == "\\":
            return self._escape()
        if first in "^$":
            raise PatternError(
                rf"{first!r} stands for the edge of a text, which comes in pieces; \b is the edge of a word"
            )
        self._at += 1
        return Chars(first if first == "." else re.escape(first))

    def _class(self, of: str) -> Node:
        if _NUMBERED.search(of):
            raise PatternError(f"{of!r} names characters by number or property; write them as they are")
        self._at += len(of)
        return Chars(of)

    def _escape(self) -> Node:
        marked = self._text[self._at : self._at + 2]
        if marked in (r"\b", r"\B"):
            self._at += 2
            return Edge(marked)
        if marked[1:] in _ESCAPED or not marked[1:].isalnum():
            self._at += 2
            return Chars(marked)
        raise PatternError(f"{marked!r} is not taken here; write the characters themselves")

    def _group(self, depth: int) -> Node:
        self._at += 1
        flags = _FLAGS.match(self._text, self._at - 1)
        cased = False
        if flags is not None:
            if flags[2] != ":" or flags[1] not in ("", "i"):
                raise PatternError(
                    f"{flags[0]!r} is not taken here; groups are '(…)', '(?:…)' or '(?i:…)' for any case"
                )
            cased = flags[1] == "i"
            self._at = flags.end()
        inner = self._either(depth + 1)
        self._at += 1  # its end, which RE2 has seen
        return AnyCase(inner) if cased else inner
