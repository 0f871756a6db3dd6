"""Processes that neither serve nor end, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airboss.supervisor.process import Command
from airboss.supervisor.silence import LOOKS_MAX
from airboss.supervisor.supervisor import Spec
from tests.supervisor.children import ok, python
from tests.supervisor.watched import PACE, Watched, supervised
from tests.support.wait import hold_still, until

SPEAKS = """
import os, signal
from threading import Event
print("here", flush=True)
never = Event()
while not never.wait(0.01):
    os.write(int(os.environ["AIRBOSS_SERVES_FD"]), b"\\n")
"""


def speaking(name: str, code: str = SPEAKS) -> Spec:
    """A process that tells, many times between two looks."""
    return Spec(command=Command(name=name, argv=python(name, code).argv, tells=True), probe=ok)


def test_one_that_falls_silent_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    """It neither serves nor ends: it is killed, the log and its state say why, and its neighbours go on."""

    async def scenario(watched: Watched) -> None:
        watched.supervisor.want([speaking("kid"), speaking("other")])
        await watched.supervisor.until_ready()
        before = dict(watched.statuses)
        pid = before["kid"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await watched.until(lambda now: now["kid"].state == "backing_off")
        assert watched.statuses["kid"].detail == "said nothing for 60 s and hangs, and was killed"
        await watched.until(lambda now: now["kid"].state == "ready")
        assert watched.statuses["kid"].restarts == 1
        assert watched.statuses["other"] == before["other"]

    supervised(scenario)
    assert "kid said nothing for 60 s and hangs; it is killed" in [each.message for each in caplog.records]


STANDS_STILL = """
import asyncio, sys
from airboss.supervisor.supervisor import Pace, Supervisor, Spec
from airboss.supervisor.process import Command

async def ok(pid):
    print("looked", flush=True)
    return "ok"

async def main():
    def on_change(now):
        print(now["kid"].state, now["kid"].pid, flush=True)
    pace = Pace(ready_s=0.05, look_s=0.05)
    supervisor = Supervisor(on_line=lambda *_: None, on_change=on_change, pace=pace)
    kid = Command(name="kid", argv=(sys.executable, "-S", "-c", sys.argv[1]), tells=True)
    supervisor.want([Spec(command=kid, probe=ok, watch=True)])
    await supervisor.run()

asyncio.run(main())
"""


def test_who_stood_still_himself_kills_nobody() -> None:
    """Ctrl-Z, a container that is paused: what was silent meanwhile goes on, under the same id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL, SPEAKS], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    try:
        lines = iter(parent.stdout.readline, "")
        pid = int(next(line for line in lines if line.startswith("ready")).split()[1])
        hold_still(pid)
        hold_still(parent.pid)
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 3 * LOOKS_MAX * PACE.look_s)
        os.kill(parent.pid, signal.SIGCONT)
        os.kill(pid, signal.SIGCONT)
        assert {next(lines) for _ in range(3 * LOOKS_MAX)} == {"looked\n"}
        hold_still(pid)
        assert next(line for line in lines if line != "looked\n") == "backing_off None\n"
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
