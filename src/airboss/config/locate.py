"""Which line of a TOML text says something, found with the standard parser alone.

`tomllib` keeps no positions. But a text that parses, cut after a whole statement, parses too; so the
statement that brings a key is the last one of the shortest such cut that has the key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from airboss.config.wording import INDEX, Path


def statement_of(text: str, path: Path) -> range | None:
    """The lines (0-based) of the statement that first brings `path`; None if no statement does.

    `text` must be valid TOML. Where the last parts of `path` are not there, the statement that brings the
    longest part of it that is.
    """
    lines = text.split("\n")
    while path and not _has(tomllib.loads(text), path):
        path = path[:-1]
    if not path:
        return None
    low, high = 0, len(lines)
    while low < high:  # the shortest parseable cut that has the path: once it has it, all longer ones do
        middle = (low + high) // 2
        end, parsed = _cut(lines, middle)
        if _has(parsed, path):
            high = middle
        else:
            low = max(end, middle) + 1
    end, _ = _cut(lines, low)
    start = end - 1
    while start > 0 and not _parses(lines[:start]):
        start -= 1
    return range(start, end)


def line_of(text: str, path: Path) -> int | None:
    """The 1-based line where that statement begins."""
    lines = statement_of(text, path)
    return None if lines is None else lines.start + 1


def _cut(lines: Sequence[str], at_least: int) -> tuple[int, dict[str, Any]]:
    """The shortest parseable cut of at least so many lines: its length, and what it says."""
    for end in range(at_least, len(lines) + 1):
        try:
            return end, tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
    raise AssertionError("the whole text parses")


def _parses(lines: Sequence[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _has(parsed: object, path: Path) -> bool:
    for part in path:
        place = INDEX.fullmatch(part)
        if isinstance(parsed, list) and place is not None:
            if int(place[1]) >= len(parsed):
                return False
            parsed = parsed[int(place[1])]
        elif isinstance(parsed, dict) and part in parsed:
            parsed = parsed[part]
        else:
            return False
    return True
