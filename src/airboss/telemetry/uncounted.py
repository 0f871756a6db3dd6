"""The calls that ended since a worker shared its counts last, in a file that outlives a killed one.

It is a mapping, as the journal's: the kernel keeps what was copied there. It has two parts with a number
each, so that the calls before a count and those behind it stand apart until that count is written down: part
`n` begins as the counts are taken that tell `n`, and is overwritten by part `n + 2`, when those that tell
`n + 1` are there.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

PART_BYTES: Final = 2 * 1024 * 1024
"""Some 20,000 calls; of more in a second those beyond are lost with their worker."""
_NUMBER_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
_END: Final = bytes(_LENGTH_BYTES)


class Uncounted:
    """One worker's file, made where there is none. Raises OSError if it cannot be, or the disk is full."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Else a full disk would be a signal when the map is touched.
            os.posix_fallocate(descriptor, 0, 2 * PART_BYTES)
            self._map = mmap.mmap(descriptor, 2 * PART_BYTES)
        finally:
            os.close(descriptor)
        self._at = self._end = 0

    def begin(self, part: int) -> None:
        """What is added from here on belongs to this part, one more than the last."""
        start = part % 2 * PART_BYTES
        self._at, self._end = start + _NUMBER_BYTES, start + PART_BYTES
        self._map[self._at : self._at + _LENGTH_BYTES] = _END
        self._map[start : self._at] = part.to_bytes(_NUMBER_BYTES)

    def add(self, calls: bytes) -> None:
        """Keep calls. Their length is written last: a worker killed in between has not added them."""
        begin = self._at + _LENGTH_BYTES
        end = begin + len(calls)
        if end + _LENGTH_BYTES > self._end:
            return
        self._map[begin : end + _LENGTH_BYTES] = calls + _END
        self._map[self._at : begin] = len(calls).to_bytes(_LENGTH_BYTES)
        self._at = end


def left_uncounted(path: Path, since: int) -> tuple[list[bytes], int]:
    """What a worker that is dead had added to part `since` and the next, and the number of the last part. A
    file that cannot be read has nothing."""
    try:
        data = path.read_bytes()
    except OSError:
        return [], since
    parts = {
        int.from_bytes(part[:_NUMBER_BYTES]): part for part in (data[:PART_BYTES], data[PART_BYTES:]) if part
    }
    last = max([since, *parts])
    found: list[bytes] = []
    for part in (parts[number] for number in sorted(parts) if number >= since):
        at = _NUMBER_BYTES
        while length := int.from_bytes(part[at : at + _LENGTH_BYTES]):
            at += _LENGTH_BYTES
            found.append(part[at : at + length])
            at += length
    return found, last
