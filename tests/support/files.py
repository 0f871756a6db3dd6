"""What stands in files, also of a program that runs: some go while they are looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def every_file(root: Path) -> Iterator[Path]:
    """All files anywhere under `root`, without links."""
    for folder, _, names in os.walk(root):  # other than `rglob` it does not mind a folder that goes
        yield from (path for name in names if not (path := Path(folder, name)).is_symlink())


def holding(root: Path, *needles: bytes) -> list[str]:
    """Files anywhere under `root` whose bytes hold one of these, by their path from there."""
    found = []
    for path in every_file(root):
        with suppress(FileNotFoundError):
            data = path.read_bytes() if path.is_file() else b""
            if any(needle in data for needle in needles):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def open_to_others(paths: Iterable[Path]) -> list[str]:
    """The files among them that somebody else may read or write."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
                found.append(path.name)
    return found


def opened_under(folder: Path) -> list[Path]:
    """The files in a folder that this process holds open."""
    found: list[Path] = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found.append(each.readlink())
    return [each for each in found if each.is_relative_to(folder)]
