r"""Characters that a text spells as `\u00fc`: programs that put JSON into a text, as results of tools are,
mostly write so what is beyond ASCII, and some `<`, `>`, `&` and `'` too.

They are read wherever they stand, as nobody knows what in a text is JSON. JSON within JSON has two
backslashes where it had one, and so on: up to BACKSLASHES_MAX are read. A character beyond U+FFFF is
written as two of them, its halves.
"""

from __future__ import annotations

import re
from typing import Final

BACKSLASHES_MAX: Final = 4
CHARS_MAX: Final = 2 * (BACKSLASHES_MAX + 5)
"""Of a character that is read."""

_SLASHES = rf"\\{{1,{BACKSLASHES_MAX}}}"
_FIRST, _SECOND = "[dD][89abAB][0-9a-fA-F]{2}", "[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(f"{_SLASHES}u(?:({_FIRST}){_SLASHES}u({_SECOND})|([0-9a-fA-F]{{4}}))")
_BEGUN = re.compile(
    rf"(?:{_SLASHES}u{_FIRST}(?:{_SLASHES}(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?"
    rf"|{_SLASHES}(?:u[0-9a-fA-F]{{0,3}})?)\Z"
)


def begun(text: str) -> int:
    """Where an escape begins that goes on behind the text, if it is one; else the text's length."""
    found = _BEGUN.search(text, max(0, len(text) - CHARS_MAX + 1))
    return found.start() if found is not None else len(text)


def read(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text with what its escapes stand for, and how much longer they are: each a place behind such a
    character, and by how many."""
    parts: list[str] = []
    longer: list[tuple[int, int]] = []
    done = size = 0
    for found in _ESCAPE.finditer(text):
        parts += (text[done : found.start()], _character(found))
        size += found.start() - done + 1
        done = found.end()
        longer.append((size, done - found.start() - 1))
    return "".join((*parts, text[done:])), longer


def _character(found: re.Match[str]) -> str:
    first, second, other = found.groups()
    if other is not None:
        return chr(int(other, 16))
    return chr(0x10000 + ((int(first, 16) & 0x3FF) << 10) + (int(second, 16) & 0x3FF))


def with_longer(gaps: tuple[tuple[int, int], ...], longer: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What a shadow (shadow.py) of a text that was read lacks of it as it was written: `gaps` of the text,
    and what escapes have more than the characters that they stand for."""
    found: list[tuple[int, int]] = []
    next_gap = left_out = 0
    for behind, count in longer:
        while next_gap < len(gaps) and sum(gaps[next_gap]) + left_out <= behind:
            found.append(gaps[next_gap])
            left_out += gaps[next_gap][1]
            next_gap += 1
        within = next_gap < len(gaps) and gaps[next_gap][0] + left_out < behind
        found.append((gaps[next_gap][0] if within else behind - left_out, count))
    return [*found, *gaps[next_gap:]]
