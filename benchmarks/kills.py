"""Whether `kill -9` of any process, at any moment and again and again, loses or doubles a record.

    python -m benchmarks.kills [--rounds 100] [--seed N] [--stop]

Gateway, controller, store, replica and the process that counts limits are killed in turn under load, in the
order and at the moments of a seed, by the code of `tests/journeys/test_kill.py`. With `--stop` those that say
themselves that they go on are stopped by SIGSTOP instead, and have to be found.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stats import machine
from tests.journeys.configs import LIMITED, STARTER_MODEL, fake
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.killing import WORKERS, check, finds_hangs_sooner, kill_in_turn

from airboss.testing import FakeProvider

AT_ONCE = 50
"""Rounds of one Airboss: what a check reads stays within the 10,000 records that a list gives."""


def rounds(count: int, seed: int, *, stop: bool) -> dict[str, int]:
    """Kill so many times, or `stop`. Raises AssertionError where a record is lost, double or wrong."""
    with tempfile.TemporaryDirectory(prefix="airboss-kills-") as folder, FakeProvider() as provider:
        config = fake(provider.url, LIMITED + STARTER_MODEL)
        options = ("--workers", str(WORKERS))
        env = finds_hangs_sooner(Path(folder) / "sooner") if stop else {}
        with Airboss(Path(folder) / "a", config, *options, weights=starter_weights(), env=env) as airboss:
            outcomes = kill_in_turn(airboss, count, seed, lambda line: print(line, flush=True), stop=stop)
            check(airboss, outcomes)
            said = Counter(record["error_type"] for record in airboss.records())
    return {
        "rounds": count,
        "calls": len(outcomes),
        "answered": sum(1 for each in outcomes if each.ended and each.status == 200),
        "interrupted": said["interrupted"],
        "lost or double": 0,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, check and print; ends with an AssertionError where something is lost or double."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--stop", action="store_true")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**8)
    print(f"{json.dumps(machine())}\nseed {seed}", flush=True)
    began, left, done = time.monotonic(), given.rounds, 0
    total: Counter[str] = Counter()
    while left > 0:
        count = min(left, AT_ONCE)
        total.update(rounds(count, seed + done, stop=given.stop))
        left, done = left - count, done + 1
    print(", ".join(f"{name} {n}" for name, n in total.items()), f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
