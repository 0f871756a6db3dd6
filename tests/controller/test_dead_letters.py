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


def test_a_file_that_is_moved_away_holds_up_no_move(tmp_path: Path) -> None:
    """There is nothing left to have on disk, and the next letter is in a file of its own."""
    letters = DeadLetters(tmp_path / "letters.jsonl")
    letters.add("w/000001", 1, "why", b"x")
    (tmp_path / "letters.jsonl").unlink()
    letters.sync()
    letters.add("w/000001", 2, "why", b"y")
    letters.sync()
    assert [letter.payload for letter in letters.all()] == ["y"]


def test_an_open_call_that_cannot_be_closed_is_on_disk_before_its_journal_goes(
    tmp_path: Path, synced: list[Path]
) -> None:
    """A dead worker's directory is deleted after it, and nothing else is moved in between."""

    class Log(StrictLog):
        def orphans(self, segment_prefix: str) -> dict[str, bytes]:
            """One that says nothing."""
            return {f"{segment_prefix}1": b"nonsense"}

    seen: list[tuple[str, bool]] = []

    def fault(point: str) -> None:
        seen.append((point, tmp_path / DEAD_LETTERS in synced))

    mover = Mover(tmp_path, Log(), FixedClock(), fault=fault)
    JournalWriter(tmp_path, "0").stop()
    mover.drain()
    assert seen[0] == ("closed", False)
    assert {point for point, _ in seen[1:]} >= {"deleted"}
    assert all(on_disk for _, on_disk in seen[1:])
