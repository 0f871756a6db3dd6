"""Dead letters outlive a power cut: what they were read from may be given up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from airboss.controller.dead_letters import DeadLetters
from airboss.controller.mover import DEAD_LETTERS, Mover
from airboss.domain.ports import JournalMove
from airboss.domain.record import Redacted
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import FixedClock, StrictLog


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that were forced to the disk, in order."""
    paths: list[Path] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_what_is_put_away_is_on_disk_before_its_journal_is_passed_over(
    tmp_path: Path, synced: list[Path]
) -> None:
    """The letter and its file's name, and only then the log's offset behind the frame."""
    seen: list[list[Path]] = []

    class Log(StrictLog):
        def apply(self, move: JournalMove) -> int:
            """Note what was on disk by then."""
            seen.append(list(synced))
            return super().apply(move)

    writer = JournalWriter(tmp_path, "0")
    mover = Mover(tmp_path, Log(), FixedClock())
    writer.open(cast("Redacted", b"nonsense"))
    synced.clear()
    assert mover.tick().corrupt_frames == 1
    assert {tmp_path / DEAD_LETTERS, tmp_path} <= set(seen[-1])
    synced.clear()
    mover.tick()
    assert tmp_path / DEAD_LETTERS not in synced, "nothing new was put away"
    writer.stop()


def test_what_is_taken_out_stays_out(tmp_path: Path, synced: list[Path]) -> None:
    """The new file has its name for good before what it lacks is given up elsewhere."""
    letters = DeadLetters(tmp_path / "letters.jsonl")
    letters.add("w/000001", 1, "why", b"x")
    letters.sync()
    synced.clear()
    letters.remove([("w/000001", 1)])
    assert synced == [tmp_path / "letters.jsonl.new", tmp_path]
    assert letters.all() == []
