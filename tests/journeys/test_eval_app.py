"""An app that is no release, evaluated by a running Airboss by what it answered."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider, ScriptStep
from tests.journeys.test_eval import (
    ITEMS,
    RIGHT_BY_CHANCE,
    answers,
    config,
    evaluate,
    jobs,
    kept_answers,
    questions,
)
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

GRADER = """
[models.judge]
provider = "fake"
model = "judge"
price = { input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }

[deployments.grader]
model = "judge"
"""
GRADED = 'ok;text={"reasoning": "", "grade": 4}'


def app(folder: Path, says: str = "yes", /, **other: Any) -> Path:
    """A file of answers to every question; `other` are lines of their own, by item."""
    path = folder / "answers.jsonl"
    names = [f"q{n:02}" for n in range(ITEMS)]
    lines = [other.get(name, {"item": name, "answer": says}) for name in names]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def judge(airboss: Airboss, *args: str) -> tuple[int, Any, str]:
    """`airboss eval run --json` of an app, without a deployment."""
    done = run_airboss(
        *("eval", "run", "--dataset", "golden", "--json", *args),
        *("--data-dir", str(airboss.data)),
        cwd=airboss.root,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_an_app_is_compared_as_a_release_is(provider: FakeProvider, tmp_path: Path) -> None:
    """With a release, with its last version, and in a contest of both; nothing of it is ever asked, and what
    is wrong with its file is told by line."""
    answers(provider)
    with Airboss(tmp_path / "a", config(provider.url)) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        slow = {"item": "q00", "answer": "yes", "latency_ms": 900, "cost_usd": 0.5}
        file = str(app(tmp_path, q00=slow, q59={"item": "q59", "error": "timed out"}))
        mine = ("--answers", file, "--name", "my-app", "--scorer", "exact")
        code, alone, said = judge(airboss, *mine, "--scorer", "latency", "--scorer", "cost")
        assert code == 0, said
        assert (alone["a"], alone["b"]["name"], alone["b"]["deployment"]) == (None, "my-app", "")
        by_name = {each["metric"]["name"]: each for each in alone["report"]["comparisons"]}
        assert [by_name[name]["unscored_b"] for name in ("exact", "latency", "cost")] == [1, 59, 59]
        assert provider.stats().requests == 0
        code, found, said = evaluate(airboss, *mine, "--gate", "exact:better", "--scorer", "latency")
        assert code == 0, said
        exact = found["report"]["comparisons"][0]
        assert (exact["pairs"], exact["better"], exact["worse"]) == (59, 44, RIGHT_BY_CHANCE)
        assert exact["test"]["p_value"] < 0.001
        assert (found["a"]["name"], found["not_judged"]) == ("plain", ["latency"])
        assert provider.stats().requests == ITEMS
        worse = ("--answers", str(app(tmp_path, "no")), "--name", "my-app", "--scorer", "exact")
        code, found, _ = judge(airboss, *worse, "--baseline", alone["id"], "--gate", "exact:better")
        assert (code, found["conclusion"]) == (1, "fail")
        assert provider.stats().requests == ITEMS
        both = ("--release", alone["id"], "--release", "sharp", "--scorer", "exact")
        code, table, said = evaluate(airboss, *both)
        assert code == 0, said
        assert [each["cells"][0]["standing"] for each in table["releases"]] == ["better", "better"]
        assert "app my-app" in airboss.verb("eval", "list")
        shown = airboss.verb("eval", "show", alone["id"])
        assert "60 items" in shown
        items = [
            json.loads(each) for each in airboss.verb("eval", "items", alone["id"], "--json").splitlines()
        ]
        assert (items[0]["answer"], items[0]["latency_ms"], items[1]["latency_ms"]) == ("yes", 900, None)
        assert items[59]["error"] == "the app says: timed out"
        Path(file).write_bytes(Path(file).read_bytes() + b'\n{"item": "q\xff"}')
        code, _, said = judge(airboss, *worse)
        assert (code, "answers.jsonl, line 62: not UTF-8" in said) == (2, True), said


def test_kill_9_in_the_middle_pays_for_no_judgement_twice(provider: FakeProvider, tmp_path: Path) -> None:
    """The controller goes on where it was: a judge is asked about what it had not graded."""
    some = ITEMS // 3
    provider.script(
        ScriptStep(behaviour=GRADED, calls=some, model="judge"), ScriptStep(behaviour="silence", forever=True)
    )
    with Airboss(tmp_path / "a", config(provider.url) + GRADER) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        # Answers of their own, so that no two are judged as one.
        path = app(
            tmp_path, **{f"q{n:02}": {"item": f"q{n:02}", "answer": f"it is {n}"} for n in range(ITEMS)}
        )
        order = ("eval", "run", "--dataset", "golden", "--answers", str(path), "--name", "my-app")
        told = json.loads(airboss.verb(*order, "--scorer", "llm_judge:grader", "--dry-run", "--json"))
        assert [(each["who"], each["calls"]) for each in told["lines"]] == [("judge", ITEMS)]
        assert provider.stats().requests == kept_answers(airboss) == 0
        job = airboss.verb(*order, "--scorer", "llm_judge:grader", "--concurrency", "2", "--detach").strip()
        until(lambda: provider.stats().answered == some and provider.stats().in_flight == 2)
        killed = airboss.pid("controller")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: provider.stats().in_flight == 0)
        asked, kept = provider.stats().requests, kept_answers(airboss)
        assert (asked, kept) == (some + 2, ITEMS + some)
        provider.script(ScriptStep(behaviour=GRADED, forever=True))
        until(lambda: jobs(airboss))
        found = json.loads(airboss.verb("eval", "show", job, "--wait", "--json"))
        assert provider.stats().requests - asked == ITEMS - some
        assert found["report"]["b"]["answers"] == ITEMS
        (graded,) = found["report"]["comparisons"]
        assert (graded["mean_b"]["estimate"], graded["unscored_b"]) == (0.75, 0)
