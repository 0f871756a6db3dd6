"""Engines of a model come and go under load: no stream is cut, no call fails."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.journeys.configs import shallow_model
from tests.support.airboss import Airboss
from tests.support.load import Load
from tests.support.wait import until

STREAM = {
    "model": "assistant",
    "stream": True,
    "max_tokens": 40,
    "messages": [{"role": "user", "content": "Tell me a story of the sea."}],
}


def replicas(airboss: Airboss) -> list[dict[str, Any]]:
    """As `airboss replica list` has them; empty while the controller is away."""
    found: list[dict[str, Any]] = (airboss.api("status") or {"replicas": []})["replicas"]
    return found


def states(airboss: Airboss) -> list[str]:
    """The state of each replica."""
    return [each["state"] for each in replicas(airboss)]


def both_answer(airboss: Airboss) -> bool:
    """Whether two engines have calls."""
    return sum((each["running"] or 0) > 0 for each in replicas(airboss)) == 2


def streams(airboss: Airboss, at_once: int, *, pause_s: float = 0.0) -> Load:
    """So many at once, one after the other."""
    return Load(airboss.ready["base_url"], airboss.ready["api_key"], [STREAM], at_once, pause_s=pause_s)


def all_whole(load: Load) -> bool:
    """Whether every stream came to its end."""
    return bool(load.outcomes) and load.good == len(load.outcomes)


def test_one_two_one_under_load(tmp_path: Path) -> None:
    """Five streams at once bring a second engine; with one at a time it goes again, though the controller is
    killed in between. Every stream comes whole, and both engines have served."""
    scaled = "threads = 1\nslots = 2\nreplicas = { min = 1, max = 2, window_s = 5 }"
    with Airboss(tmp_path / "a", shallow_model().replace("threads = 1", scaled)) as airboss:
        until(lambda: states(airboss) == ["ready"], every_s=0.3)
        with streams(airboss, 5) as heavy:
            until(lambda: states(airboss) == ["ready", "ready"], every_s=0.3)
            # Calls that begin alike go to one engine as long as it is not the busier by far.
            until(lambda: both_answer(airboss), every_s=0.2)
            killed = airboss.pid("controller")
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
        with streams(airboss, 1, pause_s=0.3) as light:
            until(lambda: states(airboss) == ["ready"], every_s=0.3)
        assert all_whole(heavy), heavy.outcomes
        assert all_whole(light), light.outcomes
        airboss.settled()
        records = airboss.records()
        assert {each["status"] for each in records} == {"ok"}
        assert len({attempt["url"] for each in records for attempt in each["attempts"]}) == 2


def test_weights_that_do_not_load_take_nothing_down(tmp_path: Path) -> None:
    """Another engine starts beside the one that serves, and takes over when it is ready. With a wrong hash it
    never is: calls go on as before, and the reason is told. A deployment that has no other engine answers
    503 with the reason at once."""
    model = shallow_model()
    with Airboss(tmp_path / "a", model) as airboss:
        file = tmp_path / "next.toml"
        wrong = model.replace("threads = 1", f'threads = 1\nsha256 = "{"ab" * 32}"')
        broken = '[models.gone]\nprovider = "local"\nmodel = "file:/nowhere.gguf"\n'
        file.write_text(wrong + broken + '[deployments.gone]\nmodel = "gone"\n')
        with streams(airboss, 1, pause_s=0.3) as load:
            airboss.verb("apply", str(file))
            until(lambda: states(airboss).count("failed") == 2, every_s=0.3)
            found = {each["name"]: each for each in airboss.status()["deployments"]}
            assert found["assistant"]["state"] == "ready"
            assert "has the sha256" in found["assistant"]["detail"]
            assert found["gone"]["state"] == "down"
            assert "there is no file /nowhere.gguf" in found["gone"]["detail"]
            until(lambda: airboss.chat(model="gone").status_code == 503)
            began = time.monotonic()
            answer = airboss.chat(model="gone")
            assert time.monotonic() - began < airboss.soon_s(2)
            assert "there is no file /nowhere.gguf" in answer.json()["error"]["message"]
            before = replicas(airboss)[-1]["url"]
            file.write_text(model.replace("threads = 1", "threads = 1\nslots = 2"))
            airboss.verb("apply", str(file))
            until(lambda: states(airboss) == ["ready"], every_s=0.3)
            assert replicas(airboss)[0]["url"] != before
        assert all_whole(load), load.outcomes
