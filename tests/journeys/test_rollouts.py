"""Rollouts on a whole Airboss: harm is found and taken back, no harm is promoted, people's word takes effect
at once, and a killed controller goes on."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss, run_airboss
from tests.support.load import Load
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.good]
provider = "fake"
model = "up"

[models.bad]
provider = "fake"
model = "fake-status;status=422"

[releases.support]
model = "{model}"
prompt = "{prompt}"

[deployments.support]
release = "support"
rollout = {{ steps = [50], metrics = ["error_rate"], margin = {{ error_rate = 0.45 }}, step_units = 5 }}
"""


MANY = 30
"""So many users are on both arms, however a rollout draws: of ten, all are on one in 500 rollouts once."""


def config(provider: FakeProvider, prompt: str = "Be kind.", model: str = "good") -> str:
    """The configuration, with its one release."""
    return CONFIG.format(url=provider.url, prompt=prompt, model=model)


@pytest.fixture
def airboss(provider: FakeProvider, tmp_path: Path) -> Iterator[Airboss]:
    """One whose deployment is careful."""
    with Airboss(tmp_path / "a", config(provider)) as airboss:
        yield airboss


def applied(airboss: Airboss, text: str) -> dict[str, Any]:
    """What applying a configuration says."""
    file = airboss.root / "changed.toml"
    file.write_text(text)
    found: dict[str, Any] = json.loads(airboss.verb("apply", str(file), "--json"))
    return found


def ordered(airboss: Airboss, action: str, *args: str) -> dict[str, Any]:
    """The rollout after a verb on it."""
    found: dict[str, Any] = json.loads(airboss.verb("rollout", action, "support", *args, "--json"))
    return found


def state(airboss: Airboss) -> dict[str, Any]:
    """The newest rollout; without a state while the controller is away."""
    found: list[dict[str, Any]] = (airboss.api("rollouts") or {"rollouts": []})["rollouts"]
    return found[0] if found else {"state": None}


def arms(airboss: Airboss, calls: int = MANY) -> set[tuple[str, str]]:
    """Arm and release of some calls, each by another user."""
    seen = set()
    for number in range(calls):
        headers = airboss.chat(model="support", user=f"someone-{number}").headers
        if "x-airboss-arm" in headers:
            seen.add((headers["x-airboss-arm"], headers["x-airboss-release"]))
    return seen


def load(airboss: Airboss) -> Load:
    """Many users that keep calling."""
    bodies = [
        {"model": "support", "user": f"u{number}", "messages": [{"role": "user", "content": "hi"}]}
        for number in range(3_000)
    ]
    return Load(airboss.ready["base_url"], airboss.ready["api_key"], bodies, threads=2)


def test_harm_is_taken_back_and_a_kill_of_the_controller_changes_nothing(
    airboss: Airboss, provider: FakeProvider
) -> None:
    """A release whose model fails is a candidate, is exposed, and is aborted by its errors; a restart, and
    applying the same file again, do not revive it."""
    before = arms(airboss, 3)
    text = config(provider, model="bad")
    applied(airboss, text)
    assert arms(airboss, 5) == before, "a candidate gets no traffic"
    ordered(airboss, "start")
    with load(airboss):
        until(lambda: len(arms(airboss)) == 2)
        airboss.begun_anew("controller")
        final = until(
            lambda: found if (found := state(airboss))["state"] == "aborted" else None,
            every_s=0.5,
        )
    assert final["verdict"]["authority"] == "evidence"
    metric = final["verdict"]["metrics"][0]
    assert metric["finding"] == "harm"
    assert metric["canary_mean"] == 1.0
    assert metric["stable_mean"] == 0.0
    until(lambda: arms(airboss, 10) == before, timeout_s=airboss.soon_s(2))
    applied(airboss, text)
    airboss.stop()
    airboss.start()
    assert arms(airboss, 20) == before, "restarting never revives an aborted release"
    assert state(airboss)["state"] == "aborted"


def test_a_release_that_is_no_worse_is_promoted_and_can_be_taken_back(
    airboss: Airboss, provider: FakeProvider
) -> None:
    """Promotion makes it stable; an export says so; applying the old file brings the old release back within
    two seconds."""
    ((_, old),) = arms(airboss, 2)
    began = time.monotonic()
    applied(airboss, config(provider, prompt="Be kinder."))
    usual_s = time.monotonic() - began
    started = ordered(airboss, "start")
    with load(airboss):
        until(lambda: state(airboss)["state"] == "promoted", every_s=0.5)
    new = started["release"]
    until(lambda: arms(airboss, 10) == {("stable", new)}, timeout_s=airboss.soon_s(2))
    assert "Be kinder." in airboss.verb("export")
    places = [json.loads(line) for line in airboss.verb("release", "list", "--json").splitlines()]
    stands = {each["digest"]: [one["place"] for one in each["stands"]] for each in places}
    assert stands[new] == ["stable"]
    assert stands[old] == ["promoted before"]
    began = time.monotonic()
    applied(airboss, config(provider))
    until(lambda: arms(airboss, 3) == {("stable", old)}, timeout_s=airboss.soon_s(2))
    assert time.monotonic() - began < 2 * usual_s + airboss.soon_s(2)


def test_a_promotion_is_undone_at_once(airboss: Airboss, provider: FakeProvider) -> None:
    """By one verb, through a restart, and applying the same file again revives nothing; what cannot be undone
    is told."""
    ((_, old),) = arms(airboss, 2)
    text = config(provider, prompt="Be kinder.")
    applied(airboss, text)
    new = ordered(airboss, "start")["release"]
    ordered(airboss, "promote", "--reason", "in a hurry")
    assert "stable any more" not in airboss.verb("rollout", "status", "support")
    until(lambda: arms(airboss, 3) == {("stable", new)}, timeout_s=airboss.soon_s(2))
    undone = ordered(airboss, "undo", "--reason", "too kind")
    assert (undone["stable"], undone["undone"]) == (old, new)
    until(lambda: arms(airboss, 3) == {("stable", old)}, timeout_s=airboss.soon_s(2))
    assert "Be kinder." not in airboss.verb("export")
    assert f"it is not stable any more: {old[:12]} is" in airboss.verb("rollout", "status")
    applied(airboss, text)
    assert arms(airboss, 10) == {("stable", old)}
    airboss.stop()
    airboss.start()
    assert arms(airboss, 10) == {("stable", old)}
    assert json.loads(airboss.verb("audit", "verify", "--json"))["valid"]
    told = run_airboss("rollout", "undo", "support", "--data-dir", str(airboss.data), cwd=airboss.root)
    assert told.returncode == 2
    assert "nothing to undo" in told.stderr


def test_a_persons_word_takes_effect_within_two_seconds(airboss: Airboss, provider: FakeProvider) -> None:
    """Abort, and before it pause; a second rollout at once is refused; streams in flight end on what they
    began with."""
    ((_, old),) = arms(airboss, 2)
    applied(airboss, config(provider, prompt="fake"))
    new = ordered(airboss, "start")["release"]
    until(lambda: {each[1] for each in arms(airboss)} == {old, new}, timeout_s=airboss.soon_s(3))
    again = run_airboss("rollout", "start", "support", "--data-dir", str(airboss.data), cwd=airboss.root)
    assert again.returncode == 2
    assert "is running" in again.stderr
    assert ordered(airboss, "pause")["state"] == "paused"
    assert ordered(airboss, "resume")["state"] == "running"
    user = next(
        f"u{number}"
        for number in itertools.count()
        if airboss.chat(model="support", user=f"u{number}").headers["x-airboss-arm"] == "canary"
    )
    stall = 'fake:{"fault":"stall","after":2,"for_s":2}'
    body = {
        "model": "support",
        "user": user,
        "stream": True,
        "messages": [{"role": "user", "content": stall}],
    }
    with airboss.client() as client, client.stream("POST", "/chat/completions", json=body) as stream:
        assert stream.headers["x-airboss-arm"] == "canary"
        ordered(airboss, "abort", "--reason", "enough")
        until(lambda: arms(airboss, 10) == {("stable", old)}, timeout_s=airboss.soon_s(2))
        assert stream.read().rstrip().endswith(b"[DONE]")
    found = state(airboss)
    assert found["verdict"]["authority"] == "person"
    assert "enough" in found["verdict"]["reason"]
    late = run_airboss("rollout", "abort", "support", "--data-dir", str(airboss.data), cwd=airboss.root)
    assert late.returncode == 2


def test_only_our_own_key_may_name_a_release(airboss: Airboss, provider: FakeProvider) -> None:
    """An app's key is refused; ours is served by exactly that release, and the record says override."""
    applied(airboss, config(provider, prompt="Another."))
    candidate = next(
        each["digest"]
        for each in map(json.loads, airboss.verb("release", "list", "--json").splitlines())
        if any(one["place"] == "candidate" for one in each["stands"])
    )
    body = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
    with airboss.client() as client:
        refused = client.post("/chat/completions", json=body, headers={"x-airboss-release": candidate})
        assert refused.status_code == 403
        own = (airboss.data / "secrets" / "internal_key").read_text().strip()
        headers = {"x-airboss-release": candidate, "authorization": f"Bearer {own}"}
        served = client.post("/chat/completions", json=body, headers=headers)
        assert served.status_code == 200
        assert served.headers["x-airboss-release"] == candidate
        assert json.loads(provider.last().body)["messages"][0]["content"] == "Another."
        unknown = client.post(
            "/chat/completions", json=body, headers=headers | {"x-airboss-release": "0" * 64}
        )
        assert unknown.status_code == 404
    airboss.settled()
    assert airboss.records("--id", served.headers["x-request-id"])[0]["arm"] == "override"
