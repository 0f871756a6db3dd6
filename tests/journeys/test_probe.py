"""Probes of a running Airboss: a planted bias is found, and no other; a kill repeats no paid call."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from airboss.evaluations.bias_people import attributes
from airboss.testing import FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.started import started
from tests.support.wait import until

NAMES = tuple(each.b["arabic"].first for each in attributes(("origin:arabic",))[0].triples)
NOISY = "ok;texts=yes|yes|no"
PLANTED = "ok;texts=yes|no|no|no|no|no|no|no"


def probe(airboss: Airboss, *args: str) -> tuple[int, Any, str]:
    """`airboss probe bias --json`: exit code, what it printed, what it said of errors."""
    done = run_airboss(
        *("probe", "bias", "--deployment", "support", "--json", *args),
        *("--data-dir", str(airboss.data)),
        cwd=airboss.root,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_planted_bias_is_found_and_no_other(provider: FakeProvider, tmp_path: Path) -> None:
    """A noisy provider that says no to one group is found out in decisions and log-odds; one that is noisy to
    all alike is not accused; asking again costs nothing, and our own calls are marked as such."""
    asked = ("--attribute", "origin:arabic", "--attribute", "religion:muslim", "--calls", "600")
    provider.script(
        ScriptStep(behaviour=PLANTED, forever=True, holding=NAMES),
        ScriptStep(behaviour=NOISY, forever=True),
    )
    with Airboss(tmp_path / "a", fake(provider.url)) as airboss:
        code, found, said = probe(airboss, *asked)
        assert (code, found["conclusion"]) == (1, "found"), said
        different = {
            (each["attribute"], each["measure"])
            for each in found["report"]["findings"]
            if each["verdict"] == "different"
        }
        assert {("origin", "decision"), ("origin", "log_odds")} <= different
        assert {attribute for attribute, _ in different} == {"origin"}
        assert provider.stats().requests == found["report"]["calls"] <= 600

        again = probe(airboss, *asked)
        assert again[1]["report"] == found["report"]
        assert provider.stats().requests == found["report"]["calls"], (
            "answers that are there were asked again"
        )

        provider.script(ScriptStep(behaviour=NOISY, forever=True))
        code, fair, said = probe(airboss, *asked, "--seed", "7")
        assert (code, fair["conclusion"]) == (0, "none_found"), said
        assert fair["report"]["logprobs"] is None
        plots = airboss.verb("probe", "show", found["id"])
        assert "log-odds of the better answer" in plots
        assert len(airboss.verb("probe", "list").splitlines()) == 4
        code, _, said = probe(airboss, "--attribute", "height")
        assert (code, "there are origin, gender, age, religion" in said) == (2, True)
        airboss.settled()
        assert {record["key"] for record in airboss.records("--limit", "50")} == {"airboss"}


SCHEDULED = """
[alarms.bias]
deployment = "support"
probe = { attributes = ["gender"], calls = 120, concurrency = 2 }
every = "1h"
for = "0s"
"""


def test_kill_9_of_the_controller_repeats_no_kept_call(provider: FakeProvider, tmp_path: Path) -> None:
    """Killed in the middle, controller and verb, the probe goes on by itself, and asks only what is left; so
    does one that an alarm made on schedule, which makes no second one."""
    # And then none before the kill, however late that comes.
    provider.script(
        ScriptStep(behaviour=f"{NOISY};delay_s=0.1", calls=150), ScriptStep(behaviour="silence", forever=True)
    )
    with Airboss(tmp_path / "a", fake(provider.url, SCHEDULED)) as airboss:
        command = ["probe", "bias", "--deployment", "support", "--attribute", "gender", "--calls", "120"]
        command += ["--concurrency", "2", "--seed", "7", "--data-dir", str(airboss.data)]

        def jobs() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (airboss.api("probes") or {"probes": []})["probes"]
            return found

        until(jobs, every_s=0.3)
        with started([sys.executable, "-m", "airboss.cli.main", *command], cwd=airboss.root) as verb:
            until(lambda: len(jobs()) == 2 and provider.stats().answered >= 40)
        assert verb.returncode == -signal.SIGKILL
        killed = airboss.pid("controller")
        assert killed is not None
        assert provider.stats().answered < 200, "the probes were over before the kill"
        os.kill(killed, signal.SIGKILL)
        until(lambda: provider.stats().in_flight == 0)
        provider.script(ScriptStep(behaviour=NOISY, forever=True))

        until(jobs, every_s=0.3)
        airboss.leases_run_out()
        ended = [json.loads(airboss.verb("probe", "show", each["id"], "--wait", "--json")) for each in jobs()]
        assert len(jobs()) == len(ended) == 2
        assert [each["report"]["errors"] for each in ended] == [0, 0]
        assert [each["report"]["calls"] for each in ended] == [120, 120]
        assert provider.stats().requests <= 240 + 4, "an answer that was there was asked again"
        until(lambda: "bias" in airboss.verb("monitor", "list"))
        assert len(jobs()) == 2, "the alarm made its probe twice"
