"""Training files on disk, for as long as their job runs: they hold what datasets hold, and obey erasures.

Beside each file stands whose its lines are, so that a person's can be taken out while a training runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from airboss.store.whole_file import replace_file

if TYPE_CHECKING:
    from airboss.tuning.examples import Line

Part = Literal["training", "validation"]

PARTS: Final[tuple[Part, ...]] = ("training", "validation")


class TrainingFiles:
    """The folders of jobs, by their ids, in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job: str) -> Path:
        """Where a job has its files."""
        return self._root / job

    def path(self, job: str, part: Part) -> Path:
        """Where a job has the examples of a part."""
        return self._root / job / f"{part}.jsonl"

    def write(self, job: str, part: Part, lines: Sequence[Line]) -> None:
        """Put the examples of a part there, in place of others."""
        path = self.path(job, part)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whose they are comes first: a file without it would obey nobody.
        path.unlink(missing_ok=True)
        replace_file(_owners(path), [msgspec.json.encode([line.user for line in lines])])
        replace_file(path, [f"{line.text}\n".encode() for line in lines])

    def forget(self, user: str) -> int:
        """Take a person's examples out of every file; returns how many there were."""
        found = 0
        for folder in self._root.glob("*"):
            with suppress(FileNotFoundError):  # the job has ended meanwhile
                for path in folder.glob("*.jsonl"):
                    found += _without(path, user)
        return found

    def drop(self, job: str) -> None:
        """Delete all that a job has there."""
        shutil.rmtree(self.folder(job), ignore_errors=True)

    def jobs(self) -> tuple[str, ...]:
        """The jobs that have files."""
        return tuple(sorted(each.name for each in self._root.glob("*") if each.is_dir()))


def _without(path: Path, user: str) -> int:
    users = msgspec.json.decode(_owners(path).read_bytes(), type=list[str | None])
    lines = path.read_bytes().splitlines(keepends=True)
    if user not in users:
        return 0
    if len(users) != len(lines):  # a kill between writing the two: nobody knows whose these are
        path.unlink()
        return users.count(user)
    replace_file(path, [line for line, whose in zip(lines, users, strict=True) if whose != user])
    replace_file(_owners(path), [msgspec.json.encode([whose for whose in users if whose != user])])
    return users.count(user)


def _owners(path: Path) -> Path:
    return path.with_suffix(".people.json")
