"""Verbs on an Airboss whose controller ended and is to be started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from airboss.cli import api
from airboss.supervisor.procfs import has_ended
from tests.cli.running import COMMAND, Running, environment, up
from tests.support.wait import hold_still, until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the module; the last test kills it."""
    with up(tmp_path_factory.mktemp("up")) as airboss:
        yield airboss


@pytest.fixture
def away(running: Running) -> Iterator[Running]:
    """It has no controller: whoever would start it again is stopped, until the end of the test."""
    controller = until(lambda: running.pids().get("controller"))
    hold_still(running.process.pid)
    try:
        os.kill(controller, signal.SIGKILL)
        until(lambda: has_ended(controller))  # with all its threads: one may keep a port open
        yield running
    finally:
        os.kill(running.process.pid, signal.SIGCONT)
    if running.process.poll() is None:
        until(lambda: running.pids().get("controller") not in {controller, None})


@pytest.fixture
def asked(away: Running) -> subprocess.Popen[str]:
    """A verb that has said that it waits for the console of this one."""
    verb = subprocess.Popen(
        [*COMMAND, "keys", "list", "--json", "--data-dir", "data"],
        cwd=away.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert verb.stderr is not None
    told = verb.stderr.readline()
    assert told == f"airboss: waiting for the console at {away.ready['console_url']}, which is away\n"
    return verb


def spaced(table: str) -> str:
    """What a cell of a table says, which may go over several lines."""
    return " ".join(table.split())


def answers(verb: subprocess.Popen[str]) -> None:
    """It ends with what it was asked for."""
    out, told = verb.communicate(timeout=60)
    assert verb.returncode == 0, told
    assert [json.loads(line)["name"] for line in out.splitlines()]


def test_a_verb_waits_for_the_controller_that_is_started_again(
    away: Running, asked: subprocess.Popen[str]
) -> None:
    """It says for whom it waits, and is answered as soon as somebody answers."""
    os.kill(away.process.pid, signal.SIGCONT)
    answers(asked)


def test_a_controller_that_stays_away_is_told(away: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the process that should have one, and where to look."""
    monkeypatch.setattr(api, "AGAIN_UP_S", 0.2)
    with (
        pytest.raises(api.Unreachable, match=rf"process {away.process.pid}\) runs, but nobody has answered"),
        api.reach(away.data_dir, None),
    ):
        pass


def test_status_does_not_wait_for_it(away: Running) -> None:
    """It tells at once what the processes have said of themselves, and that this is all; it is no success."""
    done = away.verb("status", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["running"], found["console_away"]) == (True, True)
    assert found["console_url"] == away.ready["console_url"]
    processes = {each["name"]: (each["state"], each["pid"]) for each in found["processes"]}
    assert processes["gateway-0"] == ("ready", away.pids()["gateway-0"])
    assert processes["controller"][0] == "stopped", "also where nobody writes that it has ended"
    assert "deployments" not in found
    done = away.verb("status")
    assert done.returncode == 1
    assert f"the console is away: nobody answers at {away.ready['console_url']}" in done.stdout
    assert "gateway-0" in done.stdout
    assert f"process {away.process.pid}, which would start it again, stands still" in spaced(done.stdout)


def test_status_does_not_wait_for_one_that_hangs(running: Running) -> None:
    """Its port is open, and nobody speaks there."""
    controller = running.pids()["controller"]
    hold_still(controller)
    try:
        done = running.verb("status", "--json")
    finally:
        os.kill(controller, signal.SIGCONT)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["console_away"]
    assert json.loads(running.verb("status", "--json").stdout)["deployments"]


def test_another_machines_console_is_not_waited_for(away: Running) -> None:
    """One that has joined only says that it cannot be reached: by way of a proxy perhaps it can."""
    node = away.data_dir / "node"
    node.write_text("second")
    try:
        with (
            pytest.raises(api.Unreachable, match="no connection to"),
            api.reach(away.data_dir, None) as found,
        ):
            found.get("/api/v1/status")
    finally:
        node.unlink()


def test_one_that_ends_meanwhile_is_waited_for_no_longer(away: Running, asked: subprocess.Popen[str]) -> None:
    """Killed while a verb waits for its console, it runs no more: the verb reads what it left."""
    away.process.kill()
    answers(asked)
