"""Verbs on an Airboss that is just starting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.cli import api
from airboss.supervisor.runfiles import read_starting
from tests.cli.running import COMMAND, CONFIG, environment, verb
from tests.support.wait import until

STOPPING = """
import os, signal
from airboss.supervisor import runfiles

def stop(run, write=runfiles.write_starting):
    write(run)
    os.kill(os.getpid(), signal.SIGSTOP)

runfiles.write_starting = stop
"""


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that has stopped in the middle of its start."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STOPPING)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    (tmp_path / "airboss.toml").write_text(CONFIG)
    arguments = ["up", "--json", "--port", "0", "--console-port", "0", "--data-dir", "data"]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environment(PYTHONPATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        state = Path(f"/proc/{process.pid}/stat")
        until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        assert read_starting(tmp_path / "data" / "run") == process.pid
        yield process
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=60)


def test_a_verb_waits_for_the_start(starting: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """It says for whom it waits, and is answered as soon as somebody answers."""
    verb = subprocess.Popen(
        [*COMMAND, "status", "--json", "--data-dir", "data"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert verb.stderr is not None
    assert verb.stderr.readline() == (
        f"airboss: waiting for the Airboss that is starting (process {starting.pid})\n"
    )
    os.kill(starting.pid, signal.SIGCONT)
    out, _ = verb.communicate(timeout=60)
    assert verb.returncode in {0, 1}, "1: not all is up yet"
    assert '"running":true' in out


def test_a_start_that_takes_long_is_named(
    starting: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its process, and what to look at."""
    monkeypatch.setattr(api, "START_S", 0.2)
    with (
        pytest.raises(api.Unreachable, match=rf"process {starting.pid}\) is still starting"),
        api.reach(tmp_path / "data", None),
    ):
        pass


@pytest.mark.parametrize(
    "text",
    [
        CONFIG.replace("[models.small]", "[model.small]"),
        CONFIG + "[[",
        CONFIG + "[releases.r]\nmodel = 'small'\nprompt = 'none.md'\n",
        CONFIG + "[store]\nledger = 'x:/'",
    ],
)
def test_a_wrong_configuration_is_the_callers_to_mend(tmp_path: Path, text: str) -> None:
    """Its error says so to programs, as that of `apply` does."""
    (tmp_path / "airboss.toml").write_text(text)
    told = verb(tmp_path, "up", "--json", "--port", "0", "--console-port", "0")
    assert told.returncode == 2
    assert json.loads(told.stderr.splitlines()[-1])["error"]["type"] == "invalid_request_error"
