"""What glibc does with memory that has been freed; with another C library it is let be."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from pathlib import Path
from typing import Final

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As in `malloc.h`."""
KEPT_BYTES: Final = 32 << 20
"""The most that glibc lets a threshold be."""


class FreeMemory:
    """A process' own: it is kept for the next large bodies, for mapped anew for each all pages of them fault,
    and given back where it is much, as it is after many at once."""

    def __init__(self) -> None:
        with suppress(OSError, AttributeError):
            self._libc = ctypes.CDLL(None)
            self._libc.mallinfo2.restype = _Mallinfo2
            self._libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
            self._libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
            self._others = self._free()

    def bound(self) -> None:
        """Give back what is free if that is over KEPT_BYTES."""
        with suppress(OSError, AttributeError):
            if self._free() > self._others + KEPT_BYTES:
                self._libc.malloc_trim(0)
                self._others = self._free()

    def _free(self) -> int:
        """Bytes in memory that malloc has not given out: the free ones, and what never was its own."""
        resident, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[1:3]
        info = self._libc.mallinfo2()
        given: int = info.used + info.mapped
        return (int(resident) - int(shared)) * mmap.PAGESIZE - given


class _Mallinfo2(ctypes.Structure):
    """As in `malloc.h`: among it, the bytes given out from mappings of their own and from the heap."""

    _fields_ = (
        ("_0_to_3", ctypes.c_size_t * 4),
        ("mapped", ctypes.c_size_t),
        ("_5_to_6", ctypes.c_size_t * 2),
        ("used", ctypes.c_size_t),
        ("_8_to_9", ctypes.c_size_t * 2),
    )
