"""Promise: after `kill -9` of any process at any moment, every call whose response ended has one record."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path

from airboss.testing import FakeProvider
from tests.journeys.configs import LIMITED, fake, shallow_model
from tests.supervisor.children import alive
from tests.support.airboss import Airboss
from tests.support.killing import (
    NAMES,
    TELLING,
    WORKERS,
    bodies,
    check,
    finds_hangs_sooner,
    kill_in_turn,
    no_open_calls,
)
from tests.support.load import Load
from tests.support.wait import until

ROUNDS = 2 * len(NAMES)
SEED = int(os.environ.get("AIRBOSS_TEST_SEED", "20261123"))


def test_rounds_of_kill(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Gateways, controller, store, replica and counters killed under load, each twice in the seed's order:
    nothing lost, nothing double. `make soak` kills a hundred times."""
    config = fake(fake_process.url, LIMITED + shallow_model())
    options = ("--workers", str(WORKERS))
    with Airboss(tmp_path / "a", config, *options) as airboss:
        outcomes = kill_in_turn(airboss, ROUNDS, SEED, print)
        check(airboss, outcomes)
        statuses = Counter(record["error_type"] for record in airboss.records("--status", "error"))
        assert statuses["interrupted"] > 0, (
            "no round interrupted a call: the kills came too late to mean much"
        )
        assert sum(1 for each in outcomes if each.ended and each.status == 200) > 100


def test_rounds_of_hangs(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Gateways, controller, store and counters stopped under load, each once in the seed's order: they are
    found, killed and started again, and nothing is lost nor double."""
    env = finds_hangs_sooner(tmp_path / "sooner")
    options = ("--workers", str(WORKERS))
    with Airboss(tmp_path / "a", fake(fake_process.url, LIMITED), *options, env=env) as airboss:
        outcomes = kill_in_turn(airboss, len(TELLING), SEED, print, stop=True)
        check(airboss, outcomes)
        restarts = {each["name"]: each["restarts"] for each in airboss.status()["processes"]}
        assert restarts == dict.fromkeys(TELLING, 1), "who did not hang goes on"
    for name in TELLING:
        assert f"{name} said nothing for 6 s and hangs; it is killed" in airboss.log


def test_a_gateway_that_hangs(fake_process: FakeProvider, tmp_path: Path) -> None:
    """`airboss status` names it, other workers serve, and what it had begun goes on with it."""
    with Airboss(tmp_path / "a", fake(fake_process.url), "--workers", "2") as airboss:
        pid = until(lambda: airboss.pid("gateway-0"))
        with Load(airboss.ready["base_url"], airboss.ready["api_key"], bodies()[:4]) as load:
            until(lambda: load.good > 8)
            os.kill(pid, signal.SIGSTOP)
            try:
                until_gateways(airboss, "silent", "ready")
                assert airboss.chat(model="support").status_code == 200
            finally:
                os.kill(pid, signal.SIGCONT)
            until(lambda: all(each["state"] == "ready" for each in airboss.status()["processes"]))
        assert airboss.pid("gateway-0") == pid
        airboss.settled()
        check(airboss, load.outcomes)


HANGS = """
import os, signal, sys
from pathlib import Path

first = "--worker 0" in " ".join(sys.orig_argv)
if first and Path(__file__).with_name("hang").exists():
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_gateway_that_hangs_as_it_starts(fake_process: FakeProvider, tmp_path: Path) -> None:
    """It is not ready because another one answers at their socket."""
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with Airboss(tmp_path / "a", fake(fake_process.url), "--workers", "2", env=env) as airboss:
        (tmp_path / "hang").touch()
        airboss.begun_anew("gateway-0")
        pid = until(lambda: airboss.pid("gateway-0"))
        try:
            until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            for _ in range(20):
                assert airboss.chat(model="support").status_code == 200
                assert gateways(airboss) == ["starting", "ready"]
        finally:
            (tmp_path / "hang").unlink()
            os.kill(pid, signal.SIGCONT)
        until_gateways(airboss, "ready", "ready")
        assert airboss.pid("gateway-0") == pid


def gateways(airboss: Airboss) -> list[str]:
    """How they stand."""
    processes = airboss.status()["processes"]
    return [each["state"] for each in processes if each["name"].startswith("gateway")]


def until_gateways(airboss: Airboss, *states: str) -> None:
    """Wait until they stand so; a failure tells how they do."""
    seen: list[str] = []

    def stand() -> bool:
        seen[:] = gateways(airboss)
        return seen == list(states)

    try:
        until(stand)
    except AssertionError as error:
        raise AssertionError(seen) from error


def test_kill_of_the_supervisor(fake_process: FakeProvider, tmp_path: Path) -> None:
    """With the supervisor killed, its children stop; started again it has every record."""
    airboss = Airboss(tmp_path / "a", fake(fake_process.url))
    with (
        closing(airboss.start()),
        Load(airboss.ready["base_url"], airboss.ready["api_key"], bodies()[:4]) as load,
    ):
        until(lambda: load.good > 20)
        children = [airboss.pid(name) for name in ("gateway-0", "controller", "store")]
        airboss.close()  # kill -9
        for pid in children:
            assert pid is not None
            until(lambda pid=pid: not alive(pid))  # type: ignore[misc]
    assert not airboss.status()["running"], "a killed Airboss is said to run"
    with airboss:
        airboss.settled()
        until(lambda: no_open_calls(airboss))
        check(airboss, load.outcomes)
