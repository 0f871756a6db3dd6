"""Training files obey an erasure, and are gone when their job is."""

from __future__ import annotations

from pathlib import Path

from airboss.tuning.examples import Line
from airboss.tuning.training_files import TrainingFiles

LINES = tuple(Line(text=f"line {number}", user=("ann", None, "bob")[number % 3]) for number in range(6))


def test_a_person_is_taken_out_of_every_file(tmp_path: Path) -> None:
    """Of all jobs and parts; the lines of others stay in their order; twice is once."""
    files = TrainingFiles(tmp_path / "finetune")
    assert files.forget("ann") == 0
    files.write("finetune-1", "training", LINES)
    files.write("finetune-1", "validation", LINES[:1])
    files.write("finetune-2", "training", LINES[1:3])
    assert files.forget("ann") == 3
    assert files.path("finetune-1", "training").read_text() == "line 1\nline 2\nline 4\nline 5\n"
    assert files.path("finetune-1", "validation").read_text() == ""
    assert files.path("finetune-2", "training").read_text() == "line 1\nline 2\n"
    assert files.forget("ann") == 0
    assert files.forget("bob") == 3
    assert "ann" not in "".join(each.read_text() for each in tmp_path.rglob("*.json"))


def test_a_file_whose_lines_are_nobodys_goes(tmp_path: Path) -> None:
    """A kill between writing whose lines there are and the lines: the file goes when one is erased."""
    files = TrainingFiles(tmp_path)
    files.write("finetune-1", "training", LINES)
    files.path("finetune-1", "training").write_text("line 0\n")
    assert files.forget("ann") == 2
    assert not files.path("finetune-1", "training").exists()


def test_a_job_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    """Its folder is gone, others stay."""
    files = TrainingFiles(tmp_path)
    files.write("finetune-1", "training", LINES)
    files.write("finetune-2", "training", LINES)
    assert files.jobs() == ("finetune-1", "finetune-2")
    files.drop("finetune-1")
    files.drop("finetune-1")
    assert files.jobs() == ("finetune-2",)
    assert (tmp_path / "finetune-2").stat().st_mode & 0o77 == 0
