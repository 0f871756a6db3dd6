"""What a running Airboss says of itself in files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airboss.domain.status import ProcessStatus
from airboss.supervisor import runfiles

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_up_file_comes_back_and_goes(tmp_path: Path) -> None:
    """What is said is read back, and gone after it is forgotten; forgetting twice is no error."""
    run = tmp_path / "run"
    assert runfiles.read_up(run) is None
    up = runfiles.UpFile(pid=1, base_url="http://x/v1", console_url="http://y", started_at=NOW)
    runfiles.write_up(run, up)
    assert runfiles.read_up(run) == up
    assert [path.name for path in run.iterdir()] == ["up.json"], "no temporary file stays"
    runfiles.forget_up(run)
    runfiles.forget_up(run)
    assert runfiles.read_up(run) is None


def test_a_file_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    """A file of another version or half a file is as good as none."""
    (tmp_path / "up.json").write_text('{"pid": 1}')
    (tmp_path / "processes.json").write_text("[{")
    assert runfiles.read_up(tmp_path) is None
    assert runfiles.read_processes(tmp_path) == []


def test_processes_come_back(tmp_path: Path) -> None:
    """Statuses of processes are read back as written."""
    statuses = [ProcessStatus(name="store", state="ready", restarts=2, since=NOW, pid=7)]
    runfiles.write_processes(tmp_path, statuses)
    assert runfiles.read_processes(tmp_path) == statuses
