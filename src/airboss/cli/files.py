"""Files that a verb was given: what their endings mean, and why they cannot be read, in words."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from airboss.cli.output import console, print_json
from airboss.domain.errors import WrongCall
from airboss.store.unwritable import unwritable
from airboss.store.wording import many

Form = Literal["csv", "parquet"]
"""What a table is written as."""
_FORMS: Final[dict[str, Form]] = {".csv": "csv", ".parquet": "parquet"}
_MARKDOWN: Final = (".md", ".markdown", ".txt")
"""A name without an ending says nothing else either."""


def form_of(path: Path) -> Form:
    """What a table's file is to be, by its ending. Raises WrongCall for another, SetupError for a folder."""
    check_ending(path, tuple(_FORMS))
    return _FORMS[path.suffix.lower()]


def write_table(path: Path, content: bytes, *, as_json: bool) -> None:
    """Write a table's file, and say so. Raises SetupError where it cannot be written."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from error
    if as_json:
        print_json({"file": str(path), "bytes": len(content)})
    else:
        console().print(f"wrote {path} ({many(len(content), 'byte')})", markup=False)


def check_markdown(path: Path) -> None:
    """Raises WrongCall for a file whose ending says that it holds no text, SetupError for a folder."""
    if path.suffix or path.is_dir():
        check_ending(path, _MARKDOWN)


def check_ending(path: Path, endings: Sequence[str]) -> None:
    """Raises WrongCall where a file that is to be written ends in none of these, which say what is written;
    SetupError for a folder."""
    if path.is_dir():
        raise unwritable(path, IsADirectoryError(errno.EISDIR, "Is a directory"))
    if path.suffix.lower() not in endings:
        *others, last = endings
        raise WrongCall(
            f"{path} cannot be written: its ending says what is, and can be {', '.join(others)} or {last}."
        )


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> WrongCall:
    """Why a file cannot be read, and what to do."""
    why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
    return WrongCall(f"{path} cannot be read: {why}. Name a text file that this user may read.")
