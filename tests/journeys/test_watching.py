"""Live calls watched: feedback, online scores and alarms, through kills of the processes that do it."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.receiver import Receiver
from tests.support.wait import until

SEED = int(os.environ.get("AIRBOSS_TEST_SEED", "20261124"))
BAD = 'fake:{"fault": "status", "status": 400}'
JUDGE = """
[models.judge]
provider = "fake"
model = "judge"

[deployments.judge]
model = "judge"
"""


def _judged(airboss: Airboss) -> dict[str, Any]:
    """Scores of the calls to `support`, by call."""
    return {
        each["id"]: each["scores"]
        for each in airboss.records("--deployment", "support")
        if each["status"] == "ok"
    }


SCORING = (
    'scoring = { sample = 1.0, judge_per_minute = 600, scorers = ["refusal", '
    '{ kind = "llm_judge", deployment = "judge", name = "quality" }] }'
)


@pytest.fixture(scope="module")
def judged(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One whose calls are all scored and judged."""
    root = tmp_path_factory.mktemp("judged") / "a"
    with Airboss(root, fake(fake_process.url, SCORING + JUDGE)) as airboss:
        yield airboss


@pytest.mark.timeout(900)
def test_alarms_tell_each_change_once_through_kills(provider: FakeProvider, tmp_path: Path) -> None:
    """A fire, its end and another fire, with the controller killed at random moments and a receiver that
    fails for a while: one notification for each change, in order, and none lost."""
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    rng = random.Random(SEED)
    with Receiver(tmp_path) as receiver:
        alarm = f"""
default_alarms = []

[notifiers.ops]
webhook = "{receiver.url}"
secret = "env:HOOK_SECRET"

[alarms.errors]
metric = "error_rate"
deployment = "support"
above = 0.5
window = "10s"
for = "0s"
notify = ["ops"]
"""
        env = {"HOOK_SECRET": "s3cret"}
        with Airboss(tmp_path / "a", fake(provider.url, alarm), env=env) as airboss:
            changes = [("firing", BAD), ("resolved", "hi"), ("firing", BAD)]
            for number, (wanted, content) in enumerate(changes, 1):
                receiver.answer(500)
                _until_state(airboss, wanted, content, rng)
                receiver.answer(204)
                until(_told(airboss, receiver, number, content), timeout_s=120, every_s=0.3)
                if rng.random() < 0.5:
                    airboss.ready_anew("controller")
            states = [each["state"] for each in receiver.told]
            assert states == ["firing", "resolved", "firing"]
            assert all("x-airboss-signature" in each["headers"] for each in receiver.got)
            show = ("monitor", "show", "errors", "--json", "--data-dir", str(airboss.data))

            def kept() -> list[str]:  # what became of a try, which the receiver knows of before Airboss does
                page = json.loads(run_airboss(*show, cwd=tmp_path).stdout)  # exit 1: it fires
                return [each["state"] for each in page["notifications"]]

            until(lambda: set(kept()) == {"sent"})
            assert len(kept()) == 3
            said = receiver.told[0]
            assert said["link"].startswith(airboss.ready["console_url"] + "/records?deployment=support")


def _until_state(airboss: Airboss, wanted: str, content: str, rng: random.Random) -> None:
    """Send calls until the alarm is in a state; the controller is killed somewhere on the way."""
    kill_at = time.monotonic() + rng.uniform(0, 6)
    killed = False

    def there() -> bool:
        nonlocal killed
        airboss.chat(content, model="support")
        if not killed and time.monotonic() > kill_at:
            killed = True
            airboss.ready_anew("controller")
        return _state(airboss) in ({"resolved", "ok"} if wanted == "resolved" else {wanted})

    until(there, timeout_s=180, every_s=0.3)


def _told(airboss: Airboss, receiver: Receiver, changes: int, content: str) -> Callable[[], bool]:
    """Whether so many changes were told; calls go on meanwhile, so that there is something to measure."""

    def there() -> bool:
        airboss.chat(content, model="support")
        return len(receiver.told) >= changes

    return there


def _state(airboss: Airboss) -> str:
    """Where the alarm stands; empty while nobody answers."""
    listed = airboss.api("alarms") or {"alarms": []}
    return next((str(each["state"]) for each in listed["alarms"] if each["name"] == "errors"), "")


def _get(airboss: Airboss, path: str) -> Any:
    """An answer of the admin API."""
    headers = {"authorization": f"Bearer {airboss.ready['admin_key']}"}
    answer = httpx2.get(airboss.ready["console_url"] + path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_scores_of_people_and_scorers(judged: Airboss, provider: FakeProvider) -> None:
    """Feedback and sampled scorers reach the record once each, while gateway, store and controller are
    killed; a judge is asked through the gateway, and its own calls are never scored."""
    grade = '{"reasoning": "fine", "grade": 4}'
    provider.script(ScriptStep(behaviour=Behaviour(text=grade), forever=True, model="judge"))
    airboss = judged
    given: dict[str, list[str]] = {}
    for name in ("controller", "store", "gateway-0", "controller"):
        answers = [airboss.chat(model="support") for _ in range(6)]
        assert {each.status_code for each in answers} == {200}
        ids = [each.headers["x-request-id"] for each in answers]
        with airboss.client() as client:
            for number, record_id in enumerate(ids):
                body = {"record_id": record_id, "name": "stars", "value": number, "user": "ann"}
                answer = client.post("/feedback", json=body)
                assert answer.status_code == 202
                given.setdefault(record_id, []).append(answer.json()["id"])
        airboss.ready_anew(name)
    airboss.settled()

    def all_scored() -> bool:
        found = _judged(airboss)
        return set(found) >= set(given) and all(
            {"stars", "refusal", "quality"} <= set(found[record_id]) for record_id in given
        )

    until(all_scored, timeout_s=120, every_s=0.5)
    found = _judged(airboss)
    assert {each["quality"] for each in found.values()} == {0.75}
    for record_id, ids in given.items():
        scores = _get(airboss, f"/api/v1/records/{record_id}/scores")["scores"]
        assert Counter(each["name"] for each in scores) == {"stars": 1, "refusal": 1, "quality": 1}
        assert [each["id"] for each in scores if each["source"] == "human"] == ids
    ours = [each for each in airboss.records("--deployment", "judge") if each["key"] == "airboss"]
    assert len(ours) >= len(given)
    assert all(each["scores"] == {} for each in ours)
    metrics = airboss.ready["base_url"].removesuffix("/v1") + "/metrics"
    until(lambda: "airboss_scoring_lag_seconds 0" in httpx2.get(metrics).text)
    low = airboss.records("--score", "stars<2")
    assert {each["scores"]["stars"] for each in low} == {0, 1}


def test_who_is_forgotten_is_so_in_what_judges_were_asked(judged: Airboss, provider: FakeProvider) -> None:
    """A judge's call is a record of its own, with the words of the call that it judges in it."""
    words = "unmistakable words of ann"
    provider.script(ScriptStep(behaviour=Behaviour(text='{"grade": 4}'), forever=True, model="judge"))
    airboss = judged
    made = airboss.chat(words, model="support", user="ann").headers["x-request-id"]
    scored = ("--user", "ann", "--score", "scorer:quality")
    until(lambda: airboss.records(*scored), timeout_s=120, every_s=0.5)
    airboss.settled()
    found = airboss.records("--search", words)
    assert sorted(each["key"] for each in found) == ["airboss", "default"]
    airboss.verb("erase", "--user", "ann", "--yes")
    assert airboss.records("--search", words) == []
    assert [each["scores"]["quality"] for each in airboss.records("--id", made)] == [0.75]
