"""A file that stays open for long: whether the one of its name is still the one that was opened."""

from __future__ import annotations

import os
from pathlib import Path


class OpenedFile:
    """A file, as it was when this was made.

    A database whose file is deleted, moved away or replaced under it goes on in the old one, which is gone
    with the last process that has it open: what is written there is lost however well it was flushed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._seen = _identity(path)

    def trouble(self) -> str | None:
        """What has become of it, None while it is there. Never raises."""
        try:
            if _identity(self.path) == self._seen:
                return None
        except FileNotFoundError:
            what = "deleted or moved away"
        except OSError as error:
            return f"{self.path} cannot be looked at: {error.strerror}"
        else:
            what = "replaced by another file"
        return (
            f"{self.path} was {what} while Airboss had it open, so that nothing is written to it: put it "
            "back, or stop Airboss and start it again to go on with what is there now"
        )


def locked_up(database: Path | str) -> str | None:
    """Which of the files of a SQLite database is there and may not be written now, if any is. What SQLite
    cannot write it opens for reading alone, and so all connections of a process have it, whatever becomes of
    the file, until the last of them is closed: so none is opened then."""
    for end in ("", "-wal", "-shm"):
        file = f"{database}{end}"
        if os.access(file, os.F_OK) and not os.access(file, os.W_OK):
            return file
    return None


def _identity(path: Path | str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - asked often, and a third of the time of Path's
    return found.st_dev, found.st_ino
