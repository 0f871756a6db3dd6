"""What tuning gains for the starter model, on two small tasks of our own.

Claims: `airboss tune run`, under a budget of calls, finds a prompt that beats the plain one on 300 items that
it has never seen, and says by how much.

    python -m benchmarks.tuning [--budget 1800] [--seed 0] [--task sentiment] [--task intent] [--reflector]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stats import keep, table
from benchmarks.tuning_tasks import TASKS, labels, rows
from tests.support.airboss import Airboss
from tests.support.engine import SHA256, SOURCE, starter_weights

BUDGET = 1_800
"""Of which the judgement takes 600: 300 items, asked of both releases."""


def config() -> str:
    """The starter model, with a release for each task that says what a person would write first. A grammar
    leaves the model no other words than the answers: before and after, the question is only which."""
    text = f"""
[providers.local]
kind = "local"

[models.smollm2]
provider = "local"
model = "{SOURCE}"
sha256 = "{SHA256}"

[deployments.writer]
model = "smollm2"
"""
    for task in TASKS:
        answers = labels(task)
        prompt = f"Answer with exactly one of these words: {', '.join(answers)}."
        grammar = f'root ::= " "? ({" | ".join(json.dumps(each) for each in answers)})'
        text += f"""
[releases.{task}]
model = "smollm2"
prompt = {json.dumps(prompt)}
params = {{ temperature = 0, max_tokens = 6, grammar = {json.dumps(grammar)} }}

[deployments.{task}]
release = "{task}"
"""
    return text


def tuned(airboss: Airboss, task: str, *, budget: int, seed: int, reflector: bool) -> dict[str, Any]:
    """Make the task's dataset, tune on it, and return what `tune run --json` prints, with the seconds."""
    path = airboss.root / f"{task}.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows(task)), encoding="utf-8")
    airboss.verb("dataset", "create", task, "--file", str(path))
    command = ["tune", "run", "--deployment", task, "--dataset", task, "--json", "--detach"]
    command += ["--budget", str(budget), "--seed", str(seed)]
    if reflector:
        command += ["--reflector", "writer"]
    began = time.monotonic()
    job = json.loads(airboss.verb(*command))["id"]
    while True:
        found: dict[str, Any] = json.loads(airboss.verb("tune", "show", job, "--json"))
        if found["state"] not in {"queued", "running"}:
            break
        time.sleep(2)
    if found["state"] != "done":
        raise SystemExit(f"{job} is {found['state']}: {found['error']}\n{airboss.log[-3000:]}")
    return {**found["result"], "seconds": time.monotonic() - began}


def row(task: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a tuning found, in a line."""
    judged = found["judgement"]
    if judged is None:
        return {"task": task, "better": "no", "calls": found["calls"], "seconds": round(found["seconds"])}
    gain = judged["gain"]
    form = f"{found['chosen']['form']}, {found['chosen']['examples']} examples"
    return {
        "task": task,
        "holdout items": judged["items"],
        "before": f"{judged['before']['estimate']:.1%}",
        "after": f"{judged['after']['estimate']:.1%}",
        "gain (points)": f"{100 * gain['estimate']:.1f} [{100 * gain['low']:.1f}, {100 * gain['high']:.1f}]",
        "p": f"{judged['p_value']:.2g}",
        "better": "yes" if found["better"] else "no",
        "found": form,
        "tried": found["tried"] - 1,
        "calls": found["calls"],
        "seconds": round(found["seconds"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune on every task, print the table and keep it."""
    parser = argparse.ArgumentParser(description="What tuning gains for the starter model.")
    parser.add_argument("--budget", type=int, default=BUDGET, help="calls for each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", action="append", choices=sorted(TASKS), help="only this one; repeatable")
    parser.add_argument("--reflector", action="store_true", help="let the model itself write instructions")
    chosen = parser.parse_args(arguments)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "airboss"
        with Airboss(root, config(), weights=starter_weights()) as airboss:
            for task in chosen.task or sorted(TASKS):
                found[task] = tuned(
                    airboss, task, budget=chosen.budget, seed=chosen.seed, reflector=chosen.reflector
                )
    lines = [row(task, each) for task, each in found.items()]
    print(f"SmolLM2-135M, a budget of {chosen.budget} calls, seed {chosen.seed}; 95% intervals\n")
    print(table(lines))
    kept = keep("tuning", {"budget": chosen.budget, "seed": chosen.seed, "rows": lines, "found": found})
    print(f"\nkept in {kept.name}")


if __name__ == "__main__":
    main()
