"""Rounds of `kill -9` and of SIGSTOP under load, and what must be true of the records after them."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.support.airboss import Airboss
from tests.support.load import Load, Outcome
from tests.support.wait import hold_still, until

WORKERS: Final = 2
"""So that their limits are counted in a process of its own, which is killed too."""
NAMES: Final = ("gateway-0", "controller", "gateway-1", "store", "replica-smollm2", "counters")
"""Both gateways: kept connections of a killed one move to the other, and stay there."""
TELLING: Final = ("gateway-0", "controller", "gateway-1", "store", "counters")
"""Those that say themselves that they go on, and are found hanging when they do not."""
SOONER: Final = "import airboss.supervisor.silence as silence\nsilence.LOOK_S = 0.5\n"
"""A tenth of the time that a supervisor gives them else."""


def bodies() -> list[dict[str, Any]]:
    """Calls of two deployments, `support` at the fake provider and `assistant`, streamed and not."""
    slow = 'fake:{"words": 12, "tokens_per_s": 60}'
    quick = 'fake:{"words": 5}'
    calls: list[dict[str, Any]] = []
    for content, stream in ((slow, True), (quick, False), (slow, False), (quick, True)):
        calls.append(
            {"model": "support", "stream": stream, "messages": [{"role": "user", "content": content}]}
        )
    local = [{"role": "user", "content": "Say hello."}]
    calls.append({"model": "assistant", "stream": True, "max_tokens": 8, "messages": local})
    return calls


def finds_hangs_sooner(folder: Path) -> dict[str, str]:
    """The environment of one that finds in six seconds that a process hangs; `folder` is for that alone."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SOONER)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def kill_in_turn(
    airboss: Airboss, rounds: int, seed: int, say: Callable[[str], object], *, stop: bool = False
) -> list[Outcome]:
    """So many kills under load, each followed by answers; every process of NAMES in turn, in the seed's
    order. With `stop` those of TELLING are only stopped by SIGSTOP, and left so: who supervises them has to
    kill them. Returns how each call ended for its client, once all records are moved and no call is open."""
    rng, chosen = random.Random(seed), TELLING if stop else NAMES
    names = [chosen[at % len(chosen)] for at in range(rounds)]
    rng.shuffle(names)
    calls = bodies()[:4] if stop else bodies()
    with Load(airboss.ready["base_url"], airboss.ready["api_key"], calls) as load:
        for number, name in enumerate(names):
            target = load.good + rng.randrange(2, 25)
            until(lambda target=target: load.good >= target)  # type: ignore[misc]
            how = "stop" if stop else "kill -9"
            say(f"seed {seed} round {number}: {how} {name} after {load.good} answers")
            kill(airboss, name, load, stop=stop)
    airboss.settled()
    # An interrupted call is closed once its worker is known to be dead.
    until(lambda: no_open_calls(airboss, WORKERS))
    return load.outcomes


def kill(airboss: Airboss, name: str, load: Load, *, stop: bool) -> None:
    """Kill a process, or stop it, and wait until there is another and calls are answered."""
    if stop:
        pid = until(lambda: airboss.pid(name, ready=True))  # a start may take as long as it takes
        hold_still(pid)
        until(lambda: airboss.pid(name) not in {pid, None})
    else:
        airboss.begun_anew(name)
    good = load.good
    until(lambda: load.good > good + 8)


def check(airboss: Airboss, outcomes: list[Outcome]) -> None:
    """Every call whose response began has one record, which says how it ended."""
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


def no_open_calls(airboss: Airboss, workers: int = 1) -> bool:
    """Whether the journals of dead workers are done with."""
    return len([path for path in journals(airboss) if path.is_dir()]) == workers


def journals(airboss: Airboss) -> list[Path]:
    """The folders of gateways' journals."""
    return list((airboss.data / "journal").glob("gateway*"))
