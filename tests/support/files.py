"""What stands in files."""

from __future__ import annotations

from pathlib import Path


def holding(root: Path, *needles: bytes) -> list[str]:
    """Files anywhere under `root` whose bytes hold one of these, by their path from there."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if any(needle in data for needle in needles):
                found.append(path.relative_to(root).as_posix())
    return found
