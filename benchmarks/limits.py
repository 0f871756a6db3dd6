"""What limits cost a call, and what one key's flood does to another key.

    python -m benchmarks.limits [--rounds 3] [--seconds 6]

The flood comes at 30% of what the worker answers at most, on a timetable, by a key that is let in and by one
that is over its limit; beside it another key makes 50 calls a second. Rounds take turns, and the median of
their p99s counts. The limiter's own cost is processor time a call, in this process, with the state on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.stats import keep, machine, median, table

from airboss.domain.plan import Budget, Limits
from airboss.governance.owner import Owner
from airboss.store.state_log import StateLog

SHARE = 0.3
RATE = 50
KEYS = {"beside": (), "flooding": (), "limited": ("--requests-per-minute", "600")}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args(arguments)
    costs = [cost(name, limits, budget) for name, limits, budget in KINDS]
    print(table(costs))
    with peers.direct(1, "ok") as direct, peers.airboss(0, direct.url, rest_core=1) as peer:
        secrets = {name: create(peer, name, *terms) for name, terms in KEYS.items()}
        most = load(peer, secrets["flooding"], "closed", "--connections", "32", "--seconds", "3")
        rate = SHARE * most["requests_per_s"]
        kinds: dict[str, str | None] = {
            "alone": None,
            "a flood let in": "flooding",
            "a flood refused": "limited",
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
        for _ in range(options.rounds):
            for name, flooding in kinds.items():
                found[name].append(beside(peer, secrets, flooding, rate, options.seconds))
    rows = [
        {
            "": name,
            "p50_ms": median([each["p50_ms"] for each in rounds]),
            "p99_ms": median([each["p99_ms"] for each in rounds]),
            "errors": sum(each["errors"] for each in rounds),
        }
        for name, rounds in found.items()
    ]
    for row in rows:
        row["times p99 alone"] = row["p99_ms"] / rows[0]["p99_ms"]
    info = machine()
    print(f"\n{most['requests_per_s']:,.0f} requests/s at most; the flood is {rate:,.0f}/s beside {RATE}/s")
    print(table(rows))
    print(json.dumps(info))
    print(keep("limits", {"machine": info, "most": most, "flood_rate": rate, "rows": rows, "costs": costs}))


def create(peer: peers.Peer, name: str, *terms: str) -> str:
    """A new key's secret, once the gateway knows it."""
    command = [sys.executable, "-m", "airboss.cli.main", "keys", "create", name, "--json", *terms]
    command += ["--data-dir", str(peer.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=peers.ROOT)
    secret: str = json.loads(done.stdout)["key"]
    while not peers.answers(peer.url, secret):
        time.sleep(0.1)
    return secret


def load_command(peer: peers.Peer, key: str, *arguments: str) -> list[str]:
    """One load, from the other core."""
    command = [sys.executable, "-m", "benchmarks.load", arguments[0], peer.url, "--key", key]
    return [*command, "--model", peers.MODEL, "--cpu", "1", "--warm-s", "0.5", *arguments[1:]]


def load(peer: peers.Peer, key: str, *arguments: str) -> dict[str, Any]:
    """What it found."""
    command = load_command(peer, key, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=peers.ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def beside(
    peer: peers.Peer, secrets: dict[str, str], flooding: str | None, rate: float, seconds: float
) -> dict[str, Any]:
    """Latencies of the key beside, with a flood or without one."""
    calm = ("open", "--connections", "8", "--rate", str(RATE), "--seconds", str(seconds))
    if flooding is None:
        return load(peer, secrets["beside"], *calm)
    flood = ("open", "--connections", "64", "--rate", str(rate), "--seconds", str(seconds + 2))
    command = load_command(peer, secrets[flooding], *flood)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=peers.ROOT) as process:
        time.sleep(1.0)
        found = load(peer, secrets["beside"], *calm)
        process.wait()
    return found


REQUESTS = Limits(requests_per_minute=10**7)
ALL = Limits(requests_per_minute=10**7, tokens_per_minute=10**10, concurrency=10**5)
KINDS: tuple[tuple[str, Limits | None, Budget | None], ...] = (
    ("none; another key has some", None, None),
    ("requests", REQUESTS, None),
    ("requests, tokens, concurrency", ALL, None),
    ("these and a budget", ALL, Budget(usd=Decimal(800_000))),
    ("a tight one, asked for each time", Limits(concurrency=50), None),
)


def cost(name: str, limits: Limits | None, budget: Budget | None, *, calls: int = 20_000) -> dict[str, Any]:
    """Processor microseconds that one call's limits take: entering, reserving, headers, settling."""
    from tests.gateway.limited import House, body, closed  # noqa: PLC0415 - the tests' house is the smallest

    house = House(key=limits, budget=budget)
    with tempfile.TemporaryDirectory() as folder:
        kept = StateLog(Path(folder) / "state")
        house.owner = Owner(kept, now=house.clock.epoch())
        for port, limiter in zip(house.ports, house.limiters, strict=True):
            port.owner = house.owner
            house.owner.hello(port.worker, limiter.held(), now=house.clock.epoch())
        asked = body(max_tokens=50)
        branch, ended = house.branch(), closed(30, "0.00003")

        async def run() -> float:
            began = time.process_time()
            for n in range(calls):
                held = await house.enter()
                if held is not None:
                    await held.reserve(asked, branch)
                    assert held.headers is not None
                    held.settle(ended)
                if n % 100 == 0:
                    house.clock.s += 0.01
            return time.process_time() - began

        spent = asyncio.run(run())
        kept.close()
    return {"limits of the key": name, "µs a call": 1e6 * spent / calls, "asked": house.ports[0].asked}


if __name__ == "__main__":
    main()
