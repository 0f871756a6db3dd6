"""Verbs on an Airboss that was killed and whose children have not ended yet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airboss.cli import api
from airboss.domain.errors import DataDirLocked
from airboss.store.datadir import DataDir
from tests.cli.running import COMMAND, environment, up
from tests.support.started import started
from tests.support.wait import hold_still, until


@pytest.fixture
def child(tmp_path: Path) -> Iterator[int]:
    """The gateway of one that was killed: it is stopped, and so has not ended as the others have."""
    with up(tmp_path) as airboss:
        pids = airboss.pids()
        hold_still(pids["gateway-0"])
        airboss.process.kill()
    try:
        until(lambda: [name for name, pid in pids.items() if _lives(pid)] == ["gateway-0"])
        yield pids["gateway-0"]
    finally:
        with suppress(ProcessLookupError):
            os.kill(pids["gateway-0"], signal.SIGKILL)
        until(lambda: not _lives(pids["gateway-0"]))


def _lives(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_verb_waits_for_the_end_of_the_children(child: int, tmp_path: Path) -> None:
    """It does not take what they have open for an Airboss that runs, and tells what lies there."""
    asked = subprocess.Popen(
        [*COMMAND, "status", "--json", "--data-dir", "data"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        asked.wait(timeout=3.0)
    os.kill(child, signal.SIGCONT)
    out, told = asked.communicate(timeout=60)
    assert asked.returncode == 1, told
    assert json.loads(out)["running"] is False


def test_children_that_do_not_end_are_told(
    child: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the process that is gone, as all who find the data open tell it."""
    monkeypatch.setattr(api, "END_S", 0.2)
    with (
        pytest.raises(DataDirLocked, match="is gone, but its children have not ended yet"),
        api.reach(tmp_path / "data", None),
    ):
        pass
    assert _lives(child)


def test_a_role_that_is_started_alone_waits_for_the_end_of_the_children(child: int, tmp_path: Path) -> None:
    """It does not tell of an Airboss that runs it, where none does."""
    store = [*COMMAND, "store", "--data-dir", "data"]
    with started(store, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3.0)
        os.kill(child, signal.SIGCONT)
        until(DataDir(tmp_path / "data").socket_path.exists)
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
