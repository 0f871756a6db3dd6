"""Promise: after `kill -9` of any process at any moment, every call whose response ended has one record."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path

from airboss.testing import FakeProvider
from tests.journeys.configs import LIMITED, STARTER_MODEL, fake
from tests.supervisor.children import alive
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.killing import NAMES, WORKERS, bodies, check, kill_in_turn, no_open_calls
from tests.support.load import Load
from tests.support.wait import until

ROUNDS = 2 * len(NAMES)
SEED = int(os.environ.get("AIRBOSS_TEST_SEED", "20261123"))


def test_rounds_of_kill(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Gateways, controller, store, replica and counters killed under load, each twice in the seed's order:
    nothing lost, nothing double. `make soak` kills a hundred times."""
    config = fake(fake_process.url, LIMITED + STARTER_MODEL)
    options = ("--workers", str(WORKERS))
    with Airboss(tmp_path / "a", config, *options, weights=starter_weights()) as airboss:
        outcomes = kill_in_turn(airboss, ROUNDS, SEED, print)
        check(airboss, outcomes)
        statuses = Counter(record["error_type"] for record in airboss.records("--status", "error"))
        assert statuses["interrupted"] > 0, (
            "no round interrupted a call: the kills came too late to mean much"
        )
        assert sum(1 for each in outcomes if each.ended and each.status == 200) > 100


def test_a_gateway_that_hangs(fake_process: FakeProvider, tmp_path: Path) -> None:
    """`airboss status` names it, other workers serve, and what it had begun goes on with it."""
    with Airboss(tmp_path / "a", fake(fake_process.url), "--workers", "2") as airboss:
        pid = until(lambda: airboss.pid("gateway-0"))
        with Load(airboss.ready["base_url"], airboss.ready["api_key"], bodies()[:4]) as load:
            until(lambda: load.good > 8)
            states: dict[str, str] = {}

            def hangs() -> bool:
                states.update({each["name"]: each["state"] for each in airboss.status()["processes"]})
                return (states["gateway-0"], states["gateway-1"]) == ("silent", "ready")

            for last in (False, False, True):
                os.kill(pid, signal.SIGSTOP)
                try:
                    until(hangs, timeout_s=30)
                    assert airboss.chat(model="support").status_code == 200
                    break
                except AssertionError as error:  # it may have been stopped where others wait for it
                    if last:
                        raise AssertionError(states) from error
                finally:
                    os.kill(pid, signal.SIGCONT)
            until(lambda: all(each["state"] == "ready" for each in airboss.status()["processes"]))
        assert airboss.pid("gateway-0") == pid
        airboss.settled()
        check(airboss, load.outcomes)


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
