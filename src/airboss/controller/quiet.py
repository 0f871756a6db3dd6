"""Journals in which nothing happens: a look at them costs the mover a twentieth of a tick."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from airboss.domain.ports import Clock
from airboss.telemetry.frames import HEAD_BYTES
from airboss.telemetry.journal import (
    lock_of_the_dead,
    segment_name,
    segments_under,
)

LASTS_S: Final = 1.0
"""The mover ticks at least so often: what is due with time is done, and a log that is down found out."""


BLOCK_BYTES: Final = 64 * 1024


class Quiet:
    """What the journals were when all of them had been taken. One thread asks."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._until = 0.0
        self._names: dict[Path, set[str]] = {}
        self._taken: Mapping[Path, int] = {}

    def begin(self, taken: Mapping[str, int]) -> None:
        """All that stands in the segments has been taken, so many bytes of each by its name; what is not
        named has not."""
        self._until = 0.0
        try:
            paths = segments_under(self._root)
            self._names = {each: _names(each) for each in {self._root, *(path.parent for path in paths)}}
        except OSError:
            return
        if all(segment_name(path) in taken for path in paths):
            self._taken = {path: taken[segment_name(path)] for path in paths}
            self._until = self._clock.monotonic() + LASTS_S

    def lasts(self) -> bool:
        """Whether nothing has been written, no worker has come, and none has died."""
        if self._clock.monotonic() >= self._until:
            return False
        try:
            if any(_names(each) != names for each, names in self._names.items()):
                return False
            if any(has_more(path, at) for path, at in self._taken.items()):
                return False
            return not any(_dead(each) for each in self._names if each != self._root)
        except OSError:
            return False


def has_more(path: Path, taken: int) -> bool:
    """Whether a frame begins at `taken`: a living segment has grown ahead of its frames, by zeros."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return any(os.pread(descriptor, HEAD_BYTES, taken))
    finally:
        os.close(descriptor)


def written_end(path: Path, taken: int) -> int:
    """Where the frames of a segment end, `taken` at least: what follows is the zeros that it has grown by."""
    try:
        with path.open("rb") as segment:
            at = segment.seek(0, os.SEEK_END)
            while at > taken:
                begin = max(taken, at - BLOCK_BYTES)
                segment.seek(begin)
                frames = segment.read(at - begin).rstrip(b"\0")
                if frames:
                    return begin + len(frames)
                at = begin
    except FileNotFoundError:
        pass  # moved and deleted meanwhile
    return taken


def _names(directory: Path) -> set[str]:
    with os.scandir(directory) as found:
        return {each.name for each in found}


def _dead(directory: Path) -> bool:
    with lock_of_the_dead(directory) as dead:
        return dead
