"""Which line of a TOML text says something.

`tomllib` keeps no positions. But a text that parses, cut after a whole statement, parses too; so the
statement that brings a key is the last one of the shortest such cut that has the key. Where statements end is
read off the quotes and brackets.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from airboss.config.wording import INDEX, Path, Wrong
from airboss.domain.errors import ConfigError

_TOKEN: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\])*"|'[^']*'|\#[^\n]*|[\[\]{}\n]''', re.DOTALL
)
"""What may hold a line end, or hide one: texts, comments, brackets."""


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
    ends = _ends(text)
    low, high = 0, len(ends) - 1
    while low < high:  # the shortest cut that has the path: once one has it, all longer ones do
        middle = (low + high) // 2
        if _has(tomllib.loads("\n".join(lines[: ends[middle]])), path):
            high = middle
        else:
            low = middle + 1
    return range(ends[low - 1] if low else 0, ends[low])


def line_of(text: str, path: Path) -> int | None:
    """The 1-based line where that statement begins."""
    lines = statement_of(text, path)
    return None if lines is None else lines.start + 1


def errors_in(text: str, *, source: str) -> Wrong:
    """Makes errors that name `source`, usually a file's path, and the line that brings their path."""

    def wrong(path: Path, message: str) -> ConfigError:
        line = line_of(text, path)
        return ConfigError(f"{source}:{line}: {message}" if line else f"{source}: {message}")

    return wrong


def _ends(text: str) -> list[int]:
    """After how many lines a statement ends, or a comment or an empty line, of a text that is valid TOML.
    Parsed line by line, the 2,000 of a prompt took seconds."""
    found, line, depth = [], 0, 0
    for piece in _TOKEN.findall(text):
        if piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
        line += piece.count("\n")
        if piece == "\n" and not depth:
            found.append(line)
    return [*found, line + 1]


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
