"""State that must outlive a kill and nothing more: a snapshot, and what happened since.

One file. The first entry is the snapshot; each further one is handed to the operating system whole before
`append` returns, so a killed process loses none. There is no `fsync`: after a power cut the file may be
older, and whoever keeps a state here must be able to do without it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from airboss.domain.errors import DataDirLocked, SetupError

_HEAD: Final = struct.Struct("<II")


class StateLog:
    """Owned by one process, which holds a lock on it. Raises DataDirLocked where another one does, and
    SetupError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DataDirLocked(f"{path} is kept by another process") from None
        self.size = 0

    def read(self) -> list[bytes]:
        """The entries, the snapshot first; empty at the first start. What was cut off or damaged ends it."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot(error) from error
        return list(_entries(data))

    def rewrite(self, snapshot: bytes) -> None:
        """Begin anew with a snapshot; what there was stays in force until this one is whole."""
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, _framed(snapshot))
                fresh.rename(self._path)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise self._cannot(error) from error
        if self._file >= 0:
            os.close(self._file)
        self._file = descriptor
        self.size = 0

    def append(self, entry: bytes) -> None:
        """Add what happened. Raises SetupError where the disk refuses."""
        framed = _framed(entry)
        try:
            _write(self._file, framed)
        except OSError as error:
            raise self._cannot(error) from error
        self.size += len(framed)

    def close(self) -> None:
        """Give the file up."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _cannot(self, error: OSError) -> SetupError:
        why = error.strerror
        return SetupError(f"{self._path} cannot be used: {why}; is its disk writable and not full?")


def _framed(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _entries(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        payload = data[at : at + length]
        # Zeros, as a power cut leaves them, would be an empty entry with a right sum; nobody writes one.
        if not payload or len(payload) < length or zlib.crc32(payload) != crc:
            return
        yield payload
        at += length
