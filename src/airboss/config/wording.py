"""How an error in the configuration is said: the path it is at, and the name that was perhaps meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable

from airboss.domain.errors import ConfigError

Path = tuple[str, ...]
"""A key's way from the top of the file, for example `("models", "small", "price")`.

A place in a list is a part such as `[0]`."""

Wrong = Callable[[Path, str], ConfigError]
"""Makes the error for what stands at a path; the caller raises it."""

INDEX = re.compile(r"\[(\d+)\]")
"""A part of a path that is a place in a list."""

ESCAPES = "in a user or password : / @ ? # % are written %3A %2F %40 %3F %23 %25"
"""What to say of a server's URL that cannot be read; nothing of it may be shown: it may hold a password."""

NONE = "there are none"
"""The hint where no name is valid."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""A key that may be written without quotes."""


def dotted(path: Path) -> str:
    """A path as it would be written in TOML, with places in lists as `[0]`."""
    shown = (part if BARE_KEY.fullmatch(part) or INDEX.fullmatch(part) else quoted(part) for part in path)
    return ".".join(shown).replace(".[", "[")


def quoted(text: str) -> str:
    """A text in quotes, short enough for a message; what would hide or move other text is escaped."""
    shown = json.dumps(text, ensure_ascii=False)
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in shown)
    return shown if len(shown) <= 80 else shown[:77] + '…"'


def seen(value: object) -> str:
    """A value of TOML for a message, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return quoted(value) if isinstance(value, str) else str(value)[:80]


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to end a message with: the nearest valid name, else all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {quoted(close[0])}?"
    if not names:
        return NONE
    shown = ", ".join(quoted(each) for each in names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {shown}"
