"""Files that a verb was given and that cannot be read, in words."""

from __future__ import annotations

from pathlib import Path

from airboss.domain.errors import WrongCall


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> WrongCall:
    """Why a file cannot be read, and what to do."""
    why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
    return WrongCall(f"{path} cannot be read: {why}. Name a text file that this user may read.")
