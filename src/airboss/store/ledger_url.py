"""How a ledger in a file is named: `sqlite:///PATH`, with the path said as in any URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

SQLITE: Final = "sqlite:///"


def url_of(file: Path) -> str:
    """The URL of a ledger in this file."""
    return f"{SQLITE}{quote(str(file))}"


def file_of(url: str) -> Path | None:
    """The file that a ledger's URL names; None where it names a server."""
    return Path(unquote(url.removeprefix(SQLITE).partition("?")[0])) if url.startswith(SQLITE) else None


def same(url: str, other: str) -> bool:
    """Whether two URLs name one database: a file may be said in several ways."""
    return (file_of(url) or url) == (file_of(other) or other)
