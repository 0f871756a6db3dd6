"""Tuning of a running Airboss: a better prompt is found, none is made up, a kill costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider
from tests.journeys.configs import sorting
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

LABELS = ("left", "right", "up")
SIZES = {"train": 20, "validation": 20, "holdout": 40}
BETTER = "exactly one of these"
"""What an instruction must say for the fake model to be right; tuning's own instructions do."""


def items(folder: Path, name: str, **said: Any) -> Path:
    """A file of items; `said` goes into what the fake model is told in each."""
    lines = []
    for part, size in SIZES.items():
        for number in range(size):
            label = LABELS[number % len(LABELS)]
            told = json.dumps({"text": label} | said)
            text = f"{name} {part} {number} fake:{told}"
            lines.append({"id": f"{part}-{number}", "input": text, "expected": label, "part": part})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def tune(airboss: Airboss, dataset: str, *more: str, forms: tuple[str, ...] = ("system", "turns")) -> Any:
    """The verb's process, ended."""
    command = ["tune", "run", "--deployment", "support", "--dataset", dataset, "--budget", "300"]
    command += [word for form in forms for word in ("--form", form)]
    command += ["--json", *more, "--data-dir", str(airboss.data)]
    return run_airboss(*command, cwd=airboss.root)


def test_a_better_prompt_is_found_and_rolled_out(provider: FakeProvider, tmp_path: Path) -> None:
    """Exit 0, a release in the configuration with the digest that was judged, the budget held by the
    provider's own count; a rollout takes it. Where no prompt is better, exit 1 and nothing is put forward."""
    with Airboss(tmp_path / "a", sorting(provider.url)) as airboss:
        airboss.verb("dataset", "create", "steer", "--file", str(items(tmp_path, "steer", when=BETTER)))
        before = provider.stats().requests
        done = tune(airboss, "steer")
        assert done.returncode == 0, done.stderr + airboss.log[-3000:]
        found = json.loads(done.stdout)["result"]
        assert provider.stats().requests - before == found["calls"] <= 300
        assert (found["better"], found["proposed"]) == (True, "support-tuned")
        assert found["judgement"]["gain"]["low"] > 0.5
        assert BETTER in found["release"]["prompt"]
        assert found["cost_usd"] > 0
        listed = [json.loads(line) for line in airboss.verb("release", "list", "--json").splitlines()]
        digest = found["release"]["digest"]
        assert digest in {each["digest"] for each in listed if each["name"] == "support-tuned"}
        shown = json.loads(airboss.verb("dataset", "show", "steer", "--json"))
        assert shown["holdout_reads"] == 1 or len(shown["reads"]) == 1
        airboss.verb("rollout", "start", "support", "--release", "support-tuned")
        again = tune(airboss, "steer")
        assert again.returncode == 0
        assert json.loads(again.stdout)["result"]["judgement"]["reads_before"] == 1
        airboss.verb(
            "dataset", "create", "flat", "--file", str(items(tmp_path, "flat", when="no such words"))
        )
        said = tune(airboss, "flat", forms=("turns",))
        assert said.returncode == 1, said.stdout + said.stderr
        assert json.loads(said.stdout)["better"] is False
        names = [json.loads(line)["id"] for line in airboss.verb("tune", "list", "--json").splitlines()]
        assert len(names) == 3
        assert "not better" in airboss.verb("tune", "show", names[0])
        audited = airboss.verb("audit", "list", "--json")
        assert audited.count('"tune.run"') == 3


def test_a_killed_controller_goes_on(provider: FakeProvider, tmp_path: Path) -> None:
    """`kill -9` in the middle: the job goes on in the next controller, within the budget by the provider's
    count, and reads the holdout once."""
    with Airboss(tmp_path / "a", sorting(provider.url)) as airboss:
        path = items(tmp_path, "steer", when=BETTER, delay_s=0.05)
        airboss.verb("dataset", "create", "steer", "--file", str(path))
        job = json.loads(tune(airboss, "steer", "--detach").stdout)["id"]

        def under_way() -> bool:
            return int(airboss.api(f"tunes/{job}")["summary"]["done"]) > 40

        until(under_way, timeout_s=60)
        airboss.begun_anew("controller")
        airboss.leases_run_out()
        done = run_airboss(
            "tune", "show", job, "--wait", "--json", "--data-dir", str(airboss.data), cwd=tmp_path
        )
        found = json.loads(done.stdout)["result"]
        assert found["better"], done.stdout + done.stderr
        assert provider.stats().requests <= found["calls"] <= 300
        shown = json.loads(airboss.verb("dataset", "show", "steer", "--json"))
        assert shown["holdout_reads"] == 1 or len(shown["reads"]) == 1
