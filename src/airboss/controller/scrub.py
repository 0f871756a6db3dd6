"""Frames blanked where they lie, in journal segments that are still written to.

Only frames that the record log has taken are touched: nobody reads those again. A blanked frame has the
length that it had and a checksum of its own, so that the segment stays whole whoever looks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from airboss.telemetry.frames import Damage, Frame, frame_head

FRAMES_MAX: Final = 10_000_000
"""More than a segment holds."""


def read_prefix(path: Path, end: int) -> bytes:
    """The first `end` bytes of a segment; fewer if there are fewer."""
    with path.open("rb") as file:
        return file.read(end)


def overwrite(
    path: Path, base: int, frames: Sequence[tuple[Frame, bytes]], damaged: Sequence[Damage] = ()
) -> None:
    """Put each frame's new payload in its place, filled up with blanks; one that is too long becomes `{}`.
    Frames lie at their `start` beyond `base`. What was `damaged` becomes zeros, which are no frame either. On
    disk when this returns. Raises OSError."""
    if not frames and not damaged:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for frame, payload in frames:
            room = len(frame.payload)
            filled = (payload if len(payload) <= room else b"{}"[:room]).ljust(room)
            os.pwrite(descriptor, frame_head(frame.kind, filled) + filled, base + frame.start)
        for damage in damaged:
            os.pwrite(descriptor, bytes(damage.end - damage.start), base + damage.start)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
