"""Files that a person asked for and that cannot be written, in words. Pure."""

from __future__ import annotations

import errno
from pathlib import Path

from airboss.domain.errors import SetupError


def unwritable(path: Path, error: OSError) -> SetupError:
    """Why `path` cannot be written and what to do, whatever file of ours beside it `error` is about."""
    folder = path.absolute().parent
    steps = {
        errno.ENOENT: f"make the folder {folder}, or name another",
        errno.ENOTDIR: "a part of this path is a file; name another",
        errno.EISDIR: "name a file in that folder",
        errno.ENOSPC: "make room on that disk, or name a file on another",
        errno.EDQUOT: "make room on that disk, or name a file on another",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    step = steps.get(error.errno or 0, f"name a file where this user may write; {folder} is none")
    return SetupError(f"{path} cannot be written: {error.strerror or error}. Next: {step}.")
