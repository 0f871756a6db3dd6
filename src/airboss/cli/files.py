"""Files that a verb was given: what their endings mean, and why they cannot be read, in words."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, Literal

from airboss.domain.errors import WrongCall
from airboss.store.unwritable import unwritable

Form = Literal["csv", "parquet"]
"""What a table is written as."""
_FORMS: Final[dict[str, Form]] = {".csv": "csv", ".parquet": "parquet"}


def form_of(path: Path) -> Form:
    """What a table's file is to be, by its ending. Raises WrongCall for another, SetupError for a folder."""
    if path.is_dir():
        raise unwritable(path, IsADirectoryError(errno.EISDIR, "Is a directory"))
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise WrongCall(f"{path} is neither .csv nor .parquet; its ending says what is written.")
    return form


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> WrongCall:
    """Why a file cannot be read, and what to do."""
    why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
    return WrongCall(f"{path} cannot be read: {why}. Name a text file that this user may read.")
