"""A disk of its own, small enough to be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 2**20


@contextmanager
def small_disk(path: Path, mib: int, *, inodes: int = 0) -> Iterator[Path]:
    """A file system of so many MiB at `path`, of so many inodes (0: no bound), gone at the end; skips where
    none may be mounted."""
    path.mkdir(parents=True)
    options = f"size={mib}m,nr_inodes={inodes},mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("a disk to fill cannot be mounted: there is no `mount`")
    if done.returncode:
        pytest.skip(f"a disk to fill cannot be mounted: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=60)


def fill(disk: Path, *, but: int = 0) -> Path:
    """Take all the room there is but so many bytes; deleting the file that this gives makes room again."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        while (left := free(disk) - but) > 0:
            try:
                file.write(bytes(min(left, MIB)))
            except OSError:
                break
    return ballast


def free(disk: Path) -> int:
    """How many bytes are left."""
    held = os.statvfs(disk)
    return held.f_bavail * held.f_frsize
