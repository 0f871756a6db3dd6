"""The story: a bad prompt is rolled out, caught and taken back; a better one is found, evaluated, rolled out
and promoted; a person is erased; the log still verifies. Every step is a verb, run as a person would type it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from airboss.demo.reviews import balanced, dataset, reviews
from airboss.demo.traffic import Traffic
from airboss.domain.errors import AirbossError

DEPLOYMENT, SCORE = "reviews", "score:correct"
GOOD = "You are told what a guest or a customer wrote. Say whether it is positive or negative, in one word."
BAD = "You are told what a guest or a customer wrote. Answer it with a warm and thankful letter of two pages."
SIZES = {"train": 60, "validation": 40, "holdout": 60}
BUDGET = 420
VERB_S = 3600.0
ROLLOUT_S = 1800.0
ANSWERS_S = 600.0
"""Bounds for what hangs, not for what is slow: a busy machine takes ten times as long as an idle one."""
TOLD_S = 60.0
"""So often it is said that something still goes on."""
POLL_S = 1.0
QUIET_S = 2.0
"""Between two calls of a reader while the machine is needed for tuning."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell. `step` numbers the chapter, `command` is what was typed, `text` is for people."""

    step: int
    title: str
    text: str
    command: str | None = None
    data: Mapping[str, Any] = {}


Tell = Callable[[Event], None]


def configuration(prompt: str, *, source: str, sha256: str) -> str:
    """The demo's configuration, with its one prompt."""
    return f"""# Written by `airboss demo`.
[providers.local]
kind = "local"

[models.smollm2]
provider = "local"
model = {json.dumps(source)}
sha256 = {json.dumps(sha256)}

[releases.{DEPLOYMENT}]
model = "smollm2"
prompt = {json.dumps(prompt)}
params = {{ temperature = 0, max_tokens = 6 }}

[deployments.{DEPLOYMENT}]
release = "{DEPLOYMENT}"

[deployments.{DEPLOYMENT}.rollout]
steps = [50]
metrics = ["{SCORE}"]
margin = {{ "{SCORE}" = 0.05 }}
step_units = 20
late_s = 3
"""


class Story:
    """Tells and does, on a running Airboss whose configuration is `configured(GOOD)`.

    Raises AirbossError where a step does not come out as it should.
    """

    def __init__(
        self, *, data_dir: Path, ready: Mapping[str, Any], configured: Callable[[str], str], tell: Tell
    ) -> None:
        self._data_dir = data_dir
        self._ready = ready
        self._configured = configured
        self._tell = tell
        self._step = 0
        self._title = ""
        self._began = time.monotonic()

    def run(self) -> None:
        """The whole story."""
        every = reviews()
        asked = balanced(every[: len(every) // 2], 400)
        key = str(self._ready["api_key"])
        with Traffic(str(self._ready["base_url"]), key, DEPLOYMENT, asked) as traffic:
            self._traffic(traffic)
            self._bad_prompt(traffic)
            self._tune(traffic, dataset(every, SIZES))
            self._evaluate()
            self._better_prompt(traffic)
        self._erase()
        self._audit()
        self._say(f"The story took {time.monotonic() - self._began:.0f} s.")

    def _traffic(self, traffic: Traffic) -> None:
        self._chapter(
            "Traffic: readers ask whether a review is positive, and say whether the answer was right"
        )
        self._until(lambda: sum(total for _, total in traffic.shares().values()) >= 40, "40 answers")
        self._say(self._shares(traffic), data={"shares": traffic.shares()})

    def _bad_prompt(self, traffic: Traffic) -> None:
        self._chapter("A bad prompt is rolled out, caught and taken back by itself")
        self._apply(BAD)
        traffic.forget()
        self._verb("rollout", "start", DEPLOYMENT)
        found = self._rollout_ends()
        if found["state"] != "aborted" or found["verdict"]["authority"] != "evidence":
            raise AirbossError(
                f"the bad prompt was to be aborted by evidence, and the rollout is {found['state']}"
            )
        self._say(f"{found['verdict']['reason']}; {self._shares(traffic)}", data=found)
        self._apply(GOOD)

    def _tune(self, traffic: Traffic, rows: str) -> None:
        self._chapter("A better prompt is searched for, and judged once on reviews that it has never seen")
        traffic.pause_s = QUIET_S
        file = self._data_dir / "demo-reviews.jsonl"
        file.write_text(rows, encoding="utf-8")
        self._verb("dataset", "create", "reviews", "--file", str(file))
        found = self._verb(
            *("tune", "run", "--deployment", DEPLOYMENT, "--dataset", "reviews"),
            *("--scorer", "contains", "--budget", str(BUDGET), "--name", "tuned"),
        )
        traffic.pause_s = 0.0
        judged = found["result"]["judgement"]
        self._say(
            f"right on {judged['items']} reviews of the holdout: {judged['before']['estimate']:.0%} before, "
            f"{judged['after']['estimate']:.0%} after; {found['done']} calls",
            data=found,
        )

    def _evaluate(self) -> None:
        self._chapter("What was found is held against today's prompt, item by item, at a gate")
        found = self._verb(
            *("eval", "run", "--deployment", DEPLOYMENT, "--dataset", "reviews", "--release", "tuned"),
            *("--scorer", "contains", "--gate", "contains:better"),
        )
        (finding,) = found["report"]["decision"]["findings"]
        self._say(f"the gate says {found['conclusion']}; {finding['reason']}", data=found)

    def _better_prompt(self, traffic: Traffic) -> None:
        self._chapter("The better prompt is rolled out, and promoted on evidence")
        traffic.forget()
        self._verb("rollout", "start", DEPLOYMENT, "--release", "tuned")
        found = self._rollout_ends()
        if found["state"] != "promoted":
            raise AirbossError(f"the tuned prompt was to be promoted, and the rollout is {found['state']}")
        self._say(f"{found['verdict']['reason']}; {self._shares(traffic)}", data=found)

    def _erase(self) -> None:
        self._chapter("A reader asks to be forgotten")
        found = self._verb("erase", "--user", "reader-3", "--yes")
        counted = (
            f"{found[what]} {what[:-1] if found[what] == 1 else what}" for what in ("records", "scores")
        )
        self._say(f"{found['state']}: {' and '.join(counted)} name nobody any more", data=found)

    def _audit(self) -> None:
        self._chapter("The log of all that was done still verifies")
        found = self._verb("audit", "verify")
        if not found["valid"]:
            raise AirbossError(f"the audit log does not verify: {found['problem']}")
        self._say(f"all {found['checked']} leaves fit", data=found)

    # -- the small parts

    def _apply(self, prompt: str) -> None:
        file = self._data_dir.parent / "airboss.toml"
        file.write_text(self._configured(prompt), encoding="utf-8")
        self._verb("apply", str(file))

    def _rollout_ends(self) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self._status())
            return found["state"] in {"aborted", "promoted", "inconclusive"}

        self._until(over, "the rollout's end", within_s=ROLLOUT_S)
        return found

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._run(("rollout", "status", DEPLOYMENT))[0]
        return found

    def _shares(self, traffic: Traffic) -> str:
        said = [f"{arm} {good} of {total} right" for arm, (good, total) in traffic.shares().items()]
        return ", ".join(said) or "no answer yet"

    def _chapter(self, title: str) -> None:
        self._step, self._title = self._step + 1, title
        self._tell(Event(step=self._step, title=title, text=""))

    def _say(self, text: str, *, data: Mapping[str, Any] | None = None) -> None:
        self._tell(Event(step=self._step, title=self._title, text=text, data=data or {}))

    def _verb(self, *words: str) -> dict[str, Any]:
        typed = shlex.join(("airboss", *words))
        self._tell(Event(step=self._step, title=self._title, text="", command=typed))
        found = self._run(words)
        return found[0] if found else {}

    def _run(self, words: tuple[str, ...]) -> list[dict[str, Any]]:
        """A verb's JSON. Raises AirbossError with its words where it does not exit 0."""
        command = [sys.executable, "-m", "airboss.cli.main", *words]
        command += ["--json", "--data-dir", str(self._data_dir)]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own verbs
            while True:
                try:
                    out, err = process.communicate(timeout=TOLD_S)
                    break
                except subprocess.TimeoutExpired:
                    self._goes_on(began, VERB_S, f"`{shlex.join(('airboss', *words))}`", process.kill)
                except BaseException:
                    process.kill()
                    raise
        if process.returncode != 0:
            said = (err or out).strip()[-600:]
            raise AirbossError(f"`{shlex.join(('airboss', *words))}` ended with {process.returncode}: {said}")
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def _goes_on(self, began: float, within_s: float, what: str, end: Callable[[], object]) -> None:
        """Say so; past its time, end it and raise AirbossError."""
        took = time.monotonic() - began
        if took > within_s:
            end()
            raise AirbossError(f"{what} did not end within {within_s:.0f} s; is the machine very busy?")
        self._say(f"still at it after {took:.0f} s; {self._ready['console_url']} shows how far it is")

    def _until(self, true: Callable[[], bool], what: str, *, within_s: float = ANSWERS_S) -> None:
        began = told = time.monotonic()
        while not true():
            if time.monotonic() > told + TOLD_S:
                told = time.monotonic()
                self._goes_on(began, within_s, what, lambda: None)
            time.sleep(POLL_S)
