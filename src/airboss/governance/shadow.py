r"""A text as detectors see it: one byte a character, with lookalikes made plain and invisible ones left out.

- ASCII is itself.
- What Unicode holds compatible with one ASCII character is that character: full-width and mathematical forms,
  letters with accents, digits of any script, the many spaces, hyphens and quotation marks.
- Other letters of scripts that put spaces between words are `LETTER`; everything else is `OTHER`, which ends
  every value: ideographs, emoji, symbols, lone surrogates.
- What does not show is left out: format characters (zero-width spaces and joiners, soft hyphens, direction
  and variation marks), and accents that are characters of their own. Of a longer run only the first
  INVISIBLE_MAX are, so that a character of the shadow stands for a bounded piece of text.

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
# Translating costs 20 ns a character, a run of them 500: so runs that are close are one.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]++(?:[\x00-\x7f]{1,16}[^\x00-\x7f]++)*+")
_KEPT_LETTERS = 4096
_HIDDEN = (
    re.compile(  # accents for any script, variation marks and blank fillers; scripts' own signs are letters
        "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef"
        "\u115f\u1160\u3164\uffa0]"
    )
)
_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
}


def _seen_as(letter: str) -> str:
    """The shadow of one character beyond ASCII, or `_INVISIBLE`."""
    category = unicodedata.category(letter)
    if letter in _PLAIN:
        return _PLAIN[letter]
    if category == "Cf" or _HIDDEN.match(letter):
        return _INVISIBLE
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Zs":
        return " "
    parts = unicodedata.normalize("NFKD", letter)
    base = [part for part in parts if unicodedata.category(part) not in ("Mn", "Me", "Cf")]
    if len(base) == 1 and base[0].isascii():
        return base[0]
    # Before U+0E00 stand the scripts that put spaces between words (Latin to Sinhala), later Latin and Greek
    # with more accents. Thai, Chinese, Japanese and Korean run on into an address.
    spaced = letter < "\u0e00" or "\u1e00" <= letter < "\u2000"
    return LETTER if category[0] in "LM" and spaced else OTHER


class _Seen(dict[int, str]):
    """What `str.translate` asks; keeps the answers for the characters that came first."""

    def __missing__(self, code: int) -> str:
        # Ideographs, syllables, surrogates and private use: too many to keep, and all the same.
        if 0x3400 <= code < 0xA000 or 0xAC00 <= code < 0xF900 or 0x20000 <= code < 0xE0000 or code >= 0xF0000:
            return OTHER
        seen = chr(code) if code < 0x80 else _seen_as(chr(code))
        if len(self) < _KEPT_LETTERS:
            self[code] = seen
        return seen


_SEEN = _Seen()


def _translated(run: re.Match[str]) -> str:
    return run[0].translate(_SEEN)


class Caster:
    """Casts the shadow of a text that comes in pieces."""

    __slots__ = ("_run",)

    def __init__(self) -> None:
        self._run = 0

    def cast(self, text: str) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        """The shadow of the next piece, and where characters were left out of it: each a place in the
        shadow and how many stand just before it. ASCII has no such places: a caller may encode it himself and
        call `visible`.
        """
        seen = _BEYOND_ASCII.sub(_translated, text)
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
