"""How a tag of calls, a member of their `metadata`, is written where calls are chosen by it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

TAG_CHARS_MAX: Final = 64
"""Of a name: as sums by tag can be asked for."""


def read_tag(text: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`; a name with `=` in it stands in quotes, as JSON writes them.
    Raises ValueError."""
    name, sign, value = text.partition("=")
    if text.startswith('"'):
        with suppress(ValueError):  # else it is a name that begins so
            quoted, end = json.JSONDecoder().raw_decode(text)
            if text[end : end + 1] == "=":
                name, value = quoted, text[end + 1 :]
    if not sign or not 0 < len(name) <= TAG_CHARS_MAX:
        raise ValueError(f"{text[:80]!r} is no tag; write NAME=VALUE, as in team=search")
    return name, value


def written_tag(name: str, value: str) -> str:
    """As `read_tag` reads it."""
    quoted = "=" in name or name.startswith('"')
    return f"{json.dumps(name, ensure_ascii=False) if quoted else name}={value}"
