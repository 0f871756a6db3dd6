"""Evaluations of a running Airboss: the better release is found, and a kill repeats no paid call."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider, ScriptStep
from tests.support.airboss import Airboss, run_airboss
from tests.support.started import started
from tests.support.wait import until

ITEMS = 60
RIGHT_BY_CHANCE = 15
"""Of the items, so many are answered rightly by the worse release too."""


def config(url: str) -> str:
    """Two releases of one deployment, each a model of its own at the fake provider."""
    return f"""
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.plain]
provider = "fake"
model = "plain"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}

[models.sharp]
provider = "fake"
model = "sharp"

[releases.plain]
model = "plain"

[releases.sharp]
model = "sharp"

[deployments.support]
release = "plain"
timeout = {{ total_s = 30, first_token_s = 20, idle_s = 10 }}
"""


def answers(provider: FakeProvider, *, delay_s: float = 0.0, calls: int | None = None) -> None:
    """`sharp` says yes and `plain` says no, to everything; or to so many `calls` each, and then nothing."""
    steps = []
    for model, text in (("plain", "no"), ("sharp", "yes")):
        line = f"ok;text={text}" + (f";delay_s={delay_s}" if delay_s else "")
        steps.append(ScriptStep(behaviour=line, forever=calls is None, calls=calls, model=model))
    provider.script(*steps, *[ScriptStep(behaviour="silence", forever=True)] * (calls is not None))


def questions(folder: Path) -> Path:
    """A file of questions to which yes is mostly right."""
    path = folder / "golden.jsonl"
    lines = [
        {
            "id": f"q{n:02}",
            "input": f"Is {n} right?",
            "expected": "no" if n < RIGHT_BY_CHANCE else "yes",
            "part": "validation",
        }
        for n in range(ITEMS)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluate(airboss: Airboss, *args: str) -> tuple[int, Any, str]:
    """`airboss eval run --json`: exit code, what it printed, what it said of errors."""
    done = run_airboss(
        *("eval", "run", "--dataset", "golden", "--deployment", "support", "--json", *args),
        *("--data-dir", str(airboss.data)),
        cwd=airboss.root,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_the_better_release_is_found(provider: FakeProvider, tmp_path: Path) -> None:
    """Paired by item, with interval and exact test; gates answer by exit code; asking again costs nothing."""
    answers(provider)
    with Airboss(tmp_path / "a", config(provider.url)) as airboss:
        made = json.loads(
            airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)), "--json")
        )
        assert made["dataset"]["sizes"] == {"train": 0, "validation": ITEMS, "holdout": 0}
        code, found, said = evaluate(
            airboss,
            "--release",
            "sharp",
            "--scorer",
            "exact",
            "--scorer",
            "latency",
            "--gate",
            "exact:better",
        )
        assert code == 0, said
        exact = found["report"]["comparisons"][0]
        assert (exact["units"], exact["better"], exact["worse"]) == (ITEMS, ITEMS - RIGHT_BY_CHANCE, 15)
        assert exact["difference"]["low"] > 0.2
        assert exact["test"]["p_value"] < 0.001
        assert (found["conclusion"], found["a"]["name"], found["b"]["name"]) == ("pass", "plain", "sharp")
        assert provider.stats().requests == 2 * ITEMS

        code, found, _ = evaluate(
            *(airboss, "--release", "plain", "--baseline", "sharp", "--scorer", "exact"),
            *("--gate", "exact:non-inferior:0.02"),
        )
        assert (code, found["conclusion"]) == (1, "fail")
        assert provider.stats().requests == 2 * ITEMS, "answers that are there were asked for again"
        assert len(airboss.verb("eval", "list", "--json").splitlines()) == 2
        assert "worse" in airboss.verb("eval", "show", found["id"])
        airboss.settled()
        records = airboss.records()
        assert {record["key"] for record in records} == {"airboss"}
        assert {record["arm"] for record in records} == {"override"}


def test_kill_9_of_the_controller_repeats_no_kept_call(provider: FakeProvider, tmp_path: Path) -> None:
    """Killed in the middle, controller and verb, the evaluation goes on by itself, and asks only what had not
    been answered."""
    answers(provider, calls=ITEMS // 3)  # and not all, however late the kill comes
    with Airboss(tmp_path / "a", config(provider.url)) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        command = ["eval", "run", "--dataset", "golden", "--deployment", "support", "--release", "sharp"]
        command += ["--scorer", "exact", "--concurrency", "2", "--data-dir", str(airboss.data)]
        with started([sys.executable, "-m", "airboss.cli.main", *command], cwd=airboss.root) as verb:
            until(lambda: provider.stats().answered == 2 * (ITEMS // 3) and provider.stats().in_flight == 2)
        assert verb.returncode == -signal.SIGKILL
        killed = airboss.pid("controller")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: provider.stats().in_flight == 0)
        asked, kept = provider.stats().requests, kept_answers(airboss)
        assert (kept, asked) == (2 * (ITEMS // 3), kept + 2), "more was asked than was kept and was in flight"
        answers(provider)
        job = until(lambda: jobs(airboss))[0]["id"]
        done = airboss.verb("eval", "show", job, "--wait", "--json")
        found = json.loads(done)
        assert found["report"]["a"]["answers"] == found["report"]["b"]["answers"] == ITEMS
        assert provider.stats().requests - asked == 2 * ITEMS - kept
        assert found["report"]["comparisons"][0]["better"] == ITEMS - RIGHT_BY_CHANCE


def test_an_evaluation_outlives_a_stop_and_ends_when_cancelled(
    provider: FakeProvider, tmp_path: Path
) -> None:
    """Stopped in the middle, Airboss gives the job back and goes on with it at its next start, at once; a job
    that is cancelled asks nothing more."""
    answers(provider, delay_s=0.05)
    root = tmp_path / "a"
    run = ["eval", "run", "--dataset", "golden", "--deployment", "support", "--scorer", "exact", "--detach"]
    run += ["--release", "sharp", "--concurrency", "2"]
    with Airboss(root, config(provider.url)) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        job = airboss.verb(*run).strip()
        until(lambda: provider.stats().answered >= ITEMS // 2)
    until(lambda: provider.stats().in_flight == 0)
    with Airboss(root, config(provider.url)) as airboss:
        found = json.loads(airboss.verb("eval", "show", job, "--wait", "--json"))
        assert found["report"]["b"]["answers"] == ITEMS
        assert provider.stats().requests <= 2 * ITEMS + 2, "more was asked twice than was in flight"
        asked = provider.stats().requests
        endless = airboss.verb(*run, "--repeats", "20").strip()
        until(lambda: provider.stats().requests > asked + 10)
        assert "is cancelled" in airboss.verb("job", "cancel", endless)
        until(lambda: provider.stats().in_flight == 0 and f"{endless} is left" in airboss.log)
        asked = provider.stats().requests
        assert json.loads(airboss.verb("job", "show", endless, "--json"))["state"] == "cancelled"
        # What the gateway was just sending on may still arrive.
        assert provider.stats().requests <= asked + 2


def jobs(airboss: Airboss) -> list[Any]:
    """The jobs there are, once the controller answers again."""
    found: list[Any] = (airboss.api("jobs") or {"jobs": []})["jobs"]
    return found


def kept_answers(airboss: Airboss) -> int:
    """How many answers are on disk."""
    with sqlite3.connect(airboss.data / "ledger.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM eval_answers").fetchone()
    connection.close()
    return int(count)


def contenders(provider: FakeProvider, *, calls: int | None = None) -> None:
    """`plain` says no and the other models say yes, to everything or to so many `calls` each."""
    steps = [
        ScriptStep(behaviour=f"ok;text={text}", forever=calls is None, calls=calls, model=model)
        for model, text in (("plain", "no"), ("sharp", "yes"), ("keen", "yes"), ("dull", "no"))
    ]
    provider.script(*steps, *[ScriptStep(behaviour="silence", forever=True)] * (calls is not None))


def test_several_releases_pay_once_for_the_baseline_through_a_kill(
    provider: FakeProvider, tmp_path: Path
) -> None:
    """Three releases, two of them at work at the same time; the controller is killed in the middle. In the
    end each release and the baseline were asked each item once, but for what was in flight at the kill."""
    more = "".join(
        f'[models.{name}]\nprovider = "fake"\nmodel = "{name}"\n[releases.{name}]\nmodel = "{name}"\n'
        for name in ("keen", "dull")
    )
    contenders(provider, calls=ITEMS // 3)
    with Airboss(tmp_path / "a", config(provider.url) + more) as airboss:
        airboss.verb("dataset", "create", "golden", "--file", str(questions(tmp_path)))
        command = ["eval", "run", "--dataset", "golden", "--deployment", "support", "--scorer", "exact"]
        for name in ("sharp", "keen", "dull"):
            command += ["--release", name]
        contest = airboss.verb(*command, "--concurrency", "2", "--detach").strip()
        # By then two are in the middle, and soon each of their places waits for an answer that does not come.
        until(lambda: provider.stats().answered >= ITEMS // 4 * 3 and provider.stats().in_flight > 1)
        killed = airboss.pid("controller")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: provider.stats().in_flight == 0)
        asked, kept = provider.stats().requests, kept_answers(airboss)
        assert asked - kept <= 4, "more was asked than was kept and was in flight"
        contenders(provider)
        until(lambda: jobs(airboss))
        found = json.loads(airboss.verb("eval", "show", contest, "--wait", "--json"))
        assert provider.stats().requests - asked == 4 * ITEMS - kept
        assert kept_answers(airboss) == 4 * ITEMS
        rows = [(each["release"]["name"], each["cells"][0]["standing"]) for each in found["releases"]]
        assert rows == [("sharp", "better"), ("keen", "better"), ("dull", "open")]
        assert [each["took"]["answers"] for each in found["releases"]] == [ITEMS] * 3
        code, _, said = evaluate(airboss, "--release", "sharp", "--release", "sharp", "--scorer", "exact")
        assert (code, "'sharp' is named twice" in said) == (2, True)
