"""What is told of jobs that have not ended where no Airboss runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airboss.compose.stopped import stopped_desk
from airboss.evaluations.backfill import KIND, ScoringTask
from airboss.evaluations.scorers.length import Length
from airboss.store.datadir import DataDir
from tests.cli.conftest import Run


def test_nobody_is_said_to_be_at_work(run: Run, tmp_path: Path) -> None:
    """Beside the state that the job was left in, on stderr; of one that has ended nothing is said."""
    data = tmp_path / "data"
    DataDir(data).create()
    task = ScoringTask(scorers=(Length(),), calls=("a", "b"))
    with stopped_desk(data) as desk:
        job = desk.jobs.add(KIND, task, "ann", datetime.now(UTC))
    told = f"airboss: no Airboss runs here; {job.id} goes on when one does: `airboss up`\n"
    verbs = (("scoring", "list"), ("scoring", "show", job.id), ("job", "list"), ("job", "show", job.id))
    for verb in verbs:
        code, out, said = run(*verb, "--data-dir", str(data))
        assert (code, job.id in out, said) == (0, True, told), verb
    assert "0 of 2 calls\n" in run("scoring", "show", job.id, "--data-dir", str(data))[1]
    with stopped_desk(data) as desk:
        desk.jobs.add(KIND, task, "ann", datetime.now(UTC))
    assert "2 jobs go on when" in run("job", "list", "--json", "--data-dir", str(data))[2]
    run("job", "cancel", job.id, "--data-dir", str(data))
    assert run("scoring", "show", job.id, "--data-dir", str(data))[2] == ""
