"""Who has a data directory: one process and its children."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from airboss.domain.errors import SetupError


class DataDirLock:
    """The right to have a data directory open, held until every process that has `fd` open has closed it: the
    folder, or its file `lock` where a folder cannot be locked. The other one, `file`, is held here alone."""

    def __init__(self, fd: int, file: int) -> None:
        self.fd = fd
        self.file = file

    def release(self) -> None:
        """Give up our part of it; children that got `fd` keep theirs."""
        for descriptor in {self.fd, self.file} - {-1}:
            os.close(descriptor)
        self.fd = self.file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(folder: Path, path: Path) -> DataDirLock | None:
    """The lock of a data directory and of the file `path` in it; None where somebody else has one of them.
    Raises SetupError."""
    try:
        held = flock_folder(folder, fcntl.LOCK_EX)
    except BlockingIOError:
        return None
    file = -1
    try:
        file = _lock_file(path)
    finally:
        if file < 0 <= held:
            os.close(held)
    return DataDirLock(held if held >= 0 else file, file) if file >= 0 else None


def _lock_file(path: Path) -> int:
    """The descriptor of the lock file, locked; -1 where somebody else has it. Raises SetupError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be opened: {error.strerror}; make the directory writable for this "
            "user, or choose another with --data-dir"
        ) from error
    if not _flocked(fd) or not _still_at(path, fd):
        os.close(fd)
        return -1
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(fd)
        raise SetupError(
            f"{path} cannot be written: {error.strerror}; make room on its disk, or choose "
            "another with --data-dir"
        ) from error
    return fd


def flock_folder(path: Path, how: int) -> int:
    """A descriptor of the folder with a lock on it: that of a file which is deleted holds nobody off.

    -1 where there is none, or the file system locks no folders. Raises BlockingIOError if others have it."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, BlockingIOError):
            raise
        return -1
    return fd


def _flocked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_at(path: Path, fd: int) -> bool:
    """Whether the open file is still the one of that name: a lock on a removed file holds nobody off."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
