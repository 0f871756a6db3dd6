r"""A text as detectors see it: one byte a character, with lookalikes made plain and invisible ones left out.

- ASCII is itself.
- What Unicode holds compatible with one ASCII character is that character: full-width and mathematical forms,
  letters with accents, digits of any script, the many spaces, hyphens and quotation marks.
- Other letters of scripts that put spaces between words are `LETTER`; everything else is `OTHER`, which ends
  every value: ideographs, emoji, symbols, lone surrogates.
- What does not show is left out: format characters (zero-width spaces and joiners, soft hyphens, direction and
  variation marks) and combining marks. Of a longer run only the first INVISIBLE_MAX are, so that a
  character of the shadow stands for a bounded piece of text.

Each character is judged by itself, so a shadow does not depend on how its text was cut.
"""

from __future__ import annotations

import re
import unicodedata

LETTER = "\xe9"
"""Stands for a letter that is not like an ASCII one."""

OTHER = "\xff"
"""Stands for everything that is part of no value."""

INVISIBLE_MAX = 8
"""Characters of a run of invisible ones that are left out."""

_INVISIBLE = "\u0100"  # beyond Latin-1, so that no shadow holds it
_RUN = re.compile(_INVISIBLE + "+")
_KEPT_LETTERS = 4096
_FILLERS = "\u115f\u1160\u3164\uffa0"
_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
}


def _seen_as(letter: str) -> str:
    """The shadow of one character, or `_INVISIBLE`."""
    if letter.isascii():
        return letter
    if letter in _PLAIN:
        return _PLAIN[letter]
    category = unicodedata.category(letter)
    if category in ("Cf", "Mn", "Me") or letter in _FILLERS:
        return _INVISIBLE
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Zs":
        return " "
    base = [
        part
        for part in unicodedata.normalize("NFKD", letter)
        if unicodedata.category(part) not in ("Mn", "Me", "Cf")
    ]
    if len(base) == 1 and base[0].isascii():
        return base[0]
    # Before U+0E00 stand the scripts that put spaces between words (Latin to Malayalam, Sinhala); of the later
    # ones Latin and Greek with more accents. Thai, Chinese, Japanese and Korean run on into an address.
    spaced = letter < "\u0e00" or "\u1e00" <= letter < "\u2000"
    return LETTER if category[0] in "LM" and spaced else OTHER


class _Seen(dict[int, str]):
    """What `str.translate` asks; keeps the answers for the characters that came first."""

    def __missing__(self, code: int) -> str:
        seen = _seen_as(chr(code))
        if len(self) < _KEPT_LETTERS:
            self[code] = seen
        return seen


_SEEN = _Seen()


class Caster:
    """Casts the shadow of a text that comes in pieces."""

    __slots__ = ("_run",)

    def __init__(self) -> None:
        self._run = 0

    def cast(self, text: str) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        """The shadow of the next piece, and where characters were left out of it: each a place in the shadow
        and how many stand just before it. (ASCII has no such places, and the caller may encode it himself if
        he calls `visible`.)
        """
        seen = text.translate(_SEEN)
        if _INVISIBLE not in seen:
            if seen:
                self._run = 0
            return seen.encode("latin-1"), ()
        parts: list[str] = []
        gaps: list[tuple[int, int]] = []
        done = length = 0
        for run in _RUN.finditer(seen):
            start, end = run.span()
            part = seen[done:start]
            length += len(part)
            before = self._run if start == 0 else 0
            left_out = min(end - start, max(0, INVISIBLE_MAX - before))
            if left_out:
                gaps.append((length, left_out))
            rest = OTHER * (end - start - left_out)
            length += len(rest)
            parts += (part, rest)
            self._run = before + end - start
            done = end
        if done < len(seen):
            parts.append(seen[done:])
            self._run = 0
        return "".join(parts).encode("latin-1"), tuple(gaps)

    def visible(self) -> None:
        """Says that a piece went by in which every character shows."""
        self._run = 0
