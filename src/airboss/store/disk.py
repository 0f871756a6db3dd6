"""How much room there is left on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

FREE_BYTES_MIN: Final = 256 * 1024 * 1024
"""With less left than this a disk is nearly full."""


def free_bytes(path: Path) -> int:
    """What may still be written to the disk of a path. Raises OSError."""
    return shutil.disk_usage(path).free
