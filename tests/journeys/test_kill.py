"""Promise: after `kill -9` of any process at any moment, every call whose response ended has one record."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

from airboss.testing import FakeProvider
from tests.journeys.configs import STARTER_MODEL, fake
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.load import Load, Outcome
from tests.support.wait import until

ROUNDS = 20
SEED = int(os.environ.get("AIRBOSS_TEST_SEED", "20261123"))


def _bodies() -> list[dict[str, object]]:
    slow = 'fake:{"words": 12, "tokens_per_s": 60}'
    quick = 'fake:{"words": 5}'
    calls: list[dict[str, object]] = []
    for content, stream in ((slow, True), (quick, False), (slow, False), (quick, True)):
        calls.append(
            {"model": "support", "stream": stream, "messages": [{"role": "user", "content": content}]}
        )
    local = [{"role": "user", "content": "Say hello."}]
    calls.append({"model": "assistant", "stream": True, "max_tokens": 8, "messages": local})
    return calls


def _kill(airboss: Airboss, name: str, load: Load) -> None:
    pid = until(lambda: airboss.pid(name), timeout_s=20)
    os.kill(pid, signal.SIGKILL)
    until(lambda: airboss.pid(name) not in {pid, None}, timeout_s=20)
    good = load.good
    until(lambda: load.good > good + 8, timeout_s=40)


def _check(airboss: Airboss, outcomes: list[Outcome]) -> None:
    records = airboss.records()
    ids = Counter(record["id"] for record in records)
    assert not [i for i, n in ids.items() if n > 1], "a call is recorded twice"
    by_id = {record["id"]: record for record in records}
    for outcome in outcomes:
        if outcome.id is None:
            continue
        assert outcome.id in by_id, f"no record of {outcome}"
        record = by_id[outcome.id]
        if outcome.ended and outcome.status == 200:
            assert record["status"] == "ok", (outcome, record)
        elif outcome.ended:
            assert record["status"] == "error", (outcome, record)
        else:
            # The worker died: before the end was written, or after it and before the client had it all.
            assert record["error_type"] == "interrupted" or record["status"] == "ok", (outcome, record)
    known = {o.id for o in outcomes}
    for record in records:
        if record["id"] not in known:
            # Its client never saw a head: it was waiting for a whole answer.
            assert record["error_type"] == "interrupted" or not record["stream"], record
        if record["error_type"] == "interrupted":
            assert record["status"] == "error"
            assert record["usage_estimated"]


def test_twenty_rounds_of_kill(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Gateway, controller, store and replica killed in turn under load: nothing lost, nothing double."""
    rng = random.Random(SEED)
    names = ["gateway-0", "controller", "store", "replica-smollm2"] * (ROUNDS // 4)
    rng.shuffle(names)
    config = fake(fake_process.url, STARTER_MODEL)
    with Airboss(tmp_path / "a", config, weights=starter_weights()) as airboss:
        with Load(airboss.ready["base_url"], airboss.ready["api_key"], _bodies()) as load:
            for round_number, name in enumerate(names):
                target = load.good + rng.randrange(2, 25)
                until(lambda target=target: load.good >= target, timeout_s=40)  # type: ignore[misc]
                print(f"seed {SEED} round {round_number}: kill -9 {name} after {load.good} answers")  # noqa: T201 - shown when it fails
                _kill(airboss, name, load)
        airboss.settled()
        # An interrupted call is closed once its worker is known to be dead.
        until(lambda: _no_open_calls(airboss), timeout_s=20)
        _check(airboss, load.outcomes)
        statuses = Counter(record["error_type"] for record in airboss.records("--status", "error"))
        assert statuses["interrupted"] > 0, (
            "no round interrupted a call: the kills came too late to mean much"
        )
        assert load.good > 100


def _no_open_calls(airboss: Airboss) -> bool:
    directories = [
        d for d in (airboss.data / "journal").iterdir() if d.is_dir() and d.name.startswith("gateway")
    ]
    return len(directories) == 1


def test_kill_of_the_supervisor(fake_process: FakeProvider, tmp_path: Path) -> None:
    """With the supervisor killed, its children stop; started again it has every record."""
    airboss = Airboss(tmp_path / "a", fake(fake_process.url))
    airboss.start()
    assert airboss.process is not None
    with Load(airboss.ready["base_url"], airboss.ready["api_key"], _bodies()[:4]) as load:
        until(lambda: load.good > 20, timeout_s=20)
        children = [airboss.pid(name) for name in ("gateway-0", "controller", "store")]
        airboss.process.kill()
        airboss.process.wait()
        for pid in children:
            assert pid is not None
            until(lambda pid=pid: not _alive(pid), timeout_s=40)  # type: ignore[misc]
    assert not airboss.status()["running"], "a killed Airboss is said to run"
    with airboss:
        airboss.settled()
        until(lambda: _no_open_calls(airboss), timeout_s=20)
        _check(airboss, load.outcomes)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text()
