"""Evaluations on schedule on a running Airboss: a release that answers worse is told of, with the items."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airboss.evaluations.run import CONCURRENCY
from airboss.store.alert_runs import EvalOutcome
from airboss.testing import FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.journeys.test_alarms import an_hour_passes, becomes, begun_anew, told
from tests.journeys.test_eval import ITEMS, RIGHT_BY_CHANCE, questions
from tests.support.airboss import Airboss, run_airboss
from tests.support.receiver import Receiver
from tests.support.wait import until

WORSE = tuple(f"Is {n} right?" for n in range(20, 40))
RIGHT = (ITEMS - RIGHT_BY_CHANCE) / ITEMS

ALARMS = """
[alarms.answers]
deployment = "support"
eval = {{ dataset = "golden", scorer = "{scorer}", max_usd = 1.0 }}
every = "1h"
for = "0s"
notify = ["ops"]

[alarms.floor]
deployment = "support"
eval = {{ dataset = "gone", scorer = "exact" }}
below = 0.5
"""


def applied(airboss: Airboss, more: str, *, provider: FakeProvider, receiver: Receiver) -> tuple[int, str]:
    """`airboss apply` with more in the configuration: exit code, and what it said."""
    notifier = f'\n[notifiers.ops]\nwebhook = "{receiver.url}"\n'
    (airboss.root / "airboss.toml").write_text(fake(provider.url, f"default_alarms = []\n{notifier}{more}"))
    done = run_airboss("apply", "airboss.toml", "--data-dir", str(airboss.data), cwd=airboss.root)
    return done.returncode, done.stdout + done.stderr


def seen(airboss: Airboss, alarm: str) -> dict[str, Any]:
    """An alarm as the API shows it."""
    listed = airboss.api("alarms") or {"alarms": []}
    return next((each for each in listed["alarms"] if each["name"] == alarm), {})


def evals(airboss: Airboss) -> list[dict[str, Any]]:
    """The evaluations that alarms have made, the newest first."""
    found = until(lambda: airboss.api("evals"), timeout_s=60)["evals"]  # away while the controller starts
    assert all(each["by"] == "alarm" for each in found)
    return list(found)


AN_HOUR_PASSES = partial(an_hour_passes, of="answers", run=EvalOutcome)


@pytest.mark.timeout(600)
def test_a_release_that_answers_worse_is_told_of(provider: FakeProvider, tmp_path: Path) -> None:
    """The first run is the baseline. One that is killed goes on, once, and fires: who is told gets the items
    that got worse. One that is under way ends with its alarm."""
    provider.script(ScriptStep(behaviour="ok;text=yes", forever=True))
    with Receiver(tmp_path) as receiver, Airboss(tmp_path / "a", fake(provider.url)) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        given: Any = {"provider": provider, "receiver": receiver}
        code, words = applied(airboss, ALARMS.format(scorer="exct"), **given)
        assert code != 0
        assert "alarms.answers.eval.scorer: no scorer is of kind 'exct'" in words
        code, words = applied(airboss, ALARMS.format(scorer="exact"), **given)
        assert code == 0, words
        assert 'alarms.floor.eval.dataset: there is no dataset "gone" yet' in words

        until(lambda: seen(airboss, "answers").get("value") == RIGHT, timeout_s=120, every_s=0.5)
        (first,) = evals(airboss)
        assert seen(airboss, "answers")["state"] == "ok"
        assert provider.stats().requests == ITEMS
        becomes(airboss, "floor", "no_data")
        assert "no dataset is called 'gone'" in seen(airboss, "floor")["why"]

        slow = ";delay_s=0.5"
        provider.script(
            ScriptStep(behaviour=f"ok;text=maybe{slow}", forever=True, holding=WORSE),
            ScriptStep(behaviour=f"ok;text=yes{slow}", forever=True),
        )
        begun_anew(airboss, meanwhile=AN_HOUR_PASSES)
        until(lambda: provider.stats().requests > ITEMS, timeout_s=120, every_s=0.1)
        begun_anew(airboss)
        becomes(airboss, "answers", "firing")
        second, same = evals(airboss)
        assert (same["id"], second["state"]) == (first["id"], "done")
        assert 2 * ITEMS <= provider.stats().requests <= 2 * ITEMS + CONCURRENCY
        found = airboss.api(f"evals/{second['id']}")
        assert found["plan"]["held_to"] == first["id"]
        assert (found["report"]["comparisons"][0]["worse"], found["report"]["a"]["answers"]) == (20, ITEMS)
        until(lambda: told(receiver, "answers") == ["firing"], timeout_s=60)
        said = receiver.told[-1]
        assert said["link"].endswith(f"/evaluations/{second['id']}?side=worse#items")
        assert "20 worse, 0 better" in said["text"]
        shown = run_airboss("monitor", "show", "answers", "--data-dir", str(airboss.data), cwd=tmp_path)
        assert f"airboss eval show {second['id']}" in shown.stdout

        provider.script(ScriptStep(behaviour="silence", forever=True))
        begun_anew(airboss, meanwhile=AN_HOUR_PASSES)
        until(lambda: evals(airboss)[0]["state"] == "running", timeout_s=120, every_s=0.5)
        assert applied(airboss, "", **given)[0] == 0
        until(lambda: evals(airboss)[0]["state"] == "cancelled", timeout_s=60, every_s=0.5)
        until(lambda: told(receiver, "answers") == ["firing", "resolved"], timeout_s=60)
        assert len(evals(airboss)) == 3
