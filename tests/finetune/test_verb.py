"""The verb with a model of this machine: trained, judged with an engine of its own, and put forward."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jax", reason="`make test-finetune` has JAX")

from tests.finetune.test_training import answer, question
from tests.journeys.configs import STARTER_MODEL
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.wait import until

PARTS = {"train": 12, "validation": 4, "holdout": 24}


def items(folder: Path) -> Path:
    """What the model shall say, in three parts."""
    lines = []
    for part, size in PARTS.items():
        for number in range(size):
            name = f"{part.title()} {number}"
            said = {"messages": [question(name)], "params": {"max_tokens": 12, "temperature": 0}}
            expected = answer(name)[:8]
            lines.append({"id": f"{part}-{number}", "input": said, "expected": expected, "part": part})
    path = folder / "zebra.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def finetune(airboss: Airboss, *more: str) -> str:
    """Begin one; returns its id."""
    command = ["finetune", "run", "--deployment", "assistant", "--dataset", "zebra", "--scorer", "contains"]
    return str(json.loads(airboss.verb(*command, *more, "--detach", "--json"))["id"])


def ended(airboss: Airboss, job: str) -> dict[str, Any]:
    """What came of it."""
    until(
        lambda: (airboss.api(f"jobs/{job}") or {}).get("state") in {"done", "failed"},
        timeout_s=400,
        every_s=1.0,
    )
    found: dict[str, Any] = json.loads(airboss.verb("finetune", "show", job, "--json"))
    assert found["state"] == "done", found
    return found


@pytest.mark.timeout(900)
def test_a_local_model_is_trained_judged_and_served(tmp_path: Path) -> None:
    """Killed in the middle of the training it goes on: the adapter stands in the configuration, with an
    engine that serves it. Of one that learns nothing the adapter is gone and nothing else changed."""
    with Airboss(tmp_path / "a", STARTER_MODEL, weights=starter_weights()) as airboss:
        airboss.verb("dataset", "create", "zebra", "--file", str(items(tmp_path)))
        told = finetune(airboss, "--learning-rate", "1e-3")
        until(lambda: airboss.api(f"finetunes/{told}")["summary"]["done"] > 2, timeout_s=240, every_s=0.3)
        pid = airboss.pid("controller")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: airboss.pid("controller") not in (None, pid), timeout_s=30)
        found = ended(airboss, told)
        assert found["better"], found
        held = tomllib.loads(airboss.verb("export"))
        name = found["proposed"]
        adapter = Path(held["models"][name]["adapter"].removeprefix("file:"))
        assert adapter.parent == airboss.data / "adapters"
        assert found["result"]["learned"]["trained"]["cost_usd"] == 0
        listed = [json.loads(line) for line in airboss.verb("release", "list", "--json").splitlines()]
        assert found["result"]["release"]["digest"] in {each["digest"] for each in listed}
        assert not list((airboss.data / "finetune").iterdir())
        until(
            lambda: [each["state"] for each in airboss.api("status")["replicas"]] == ["ready"] * 2,
            timeout_s=60,
        )
        flat = ended(airboss, finetune(airboss, "--learning-rate", "1e-9", "--epochs", "1", "--name", "flat"))
        assert not flat["better"]
        assert list((airboss.data / "adapters").iterdir()) == [adapter]
        assert "flat" not in tomllib.loads(airboss.verb("export"))["models"]
