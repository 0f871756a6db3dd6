"""Whole rollouts in hostile worlds: calls of users drawn by the salted hash, folded, analysed and decided by
the product's own code (`rollouts.live`, `analysis`, `stages`), looked at after every fiftieth call.

Claims: with the metrics and steps of a configuration that says nothing of them, a canary like stable is
aborted in at most alpha of all rollouts, whatever its calls look like; one that is worse in any metric is
found, and none is promoted while a guard has not looked or nothing answers.

    python -m benchmarks.rollouts_whole [--runs 200] [--seed 1] [WORLD ...]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from benchmarks.rollouts import share
from benchmarks.stats import keep, median, table

from airboss.domain.ports import WatchedCall
from airboss.rollouts import analysis, assign, live, metrics
from airboss.rollouts.live import Rollout, SeenUnit
from airboss.rollouts.stages import Rules, Stage, decide

BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
STEPS = (0.01, 0.05, 0.25, 0.5)
DEFAULT = ("error_rate", "latency_p95", "cost")
LOOK_EVERY = 50
"""Harm is looked for after every call whatever this is: once it is found it stays."""
CALLS_MAX = 10_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A call before it is answered: its number, whose it is, and whether it is the canary's."""

    rng: random.Random
    number: int
    user: str
    canary: bool


Answer = Callable[[Asked], Mapping[str, Any]]
"""What a call shows, as fields of a `WatchedCall`."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of `users`, a `loudest` share of them by one user, and how they are answered."""

    answer: Answer
    names: tuple[str, ...] = DEFAULT
    margin: Mapping[str, float] = {}
    steps: tuple[float, ...] = STEPS
    users: int = 100_000
    loudest: float = 0.0
    calls: int = CALLS_MAX
    gap_s: float = 1.0


def usual(rng: random.Random, **said: Any) -> dict[str, Any]:
    """An answer as most are: one in fifty fails, latency and cost are lognormal."""
    found = {
        "fails": 0.02,
        "ms": rng.lognormvariate(6, 0.5),
        "usd": rng.lognormvariate(-7, 0.7),
    } | said
    if rng.random() < found.pop("fails"):
        return {"status": "error", "error_type": "upstream_error"}
    usd = found.pop("usd")
    cost = {} if usd is None else {"cost_usd": Decimal(repr(usd))}
    return {"status": "ok", "latency_ms": found.pop("ms"), **cost, **found}


def alike(on: Asked) -> Mapping[str, Any]:
    """Both arms as usual."""
    return usual(on.rng)


def worse(on: Asked, **how: float) -> Mapping[str, Any]:
    """The canary fails in `fails` of its calls, takes `slow` times as long, costs `dear` times as much; of
    its calls `stalls` take thirty times as long."""
    if not on.canary:
        return usual(on.rng)
    slow = 30.0 if on.rng.random() < how.get("stalls", 0.0) else how.get("slow", 1.0)
    return usual(
        on.rng,
        fails=how.get("fails", 0.02),
        ms=on.rng.lognormvariate(6, 0.5) * slow,
        usd=on.rng.lognormvariate(-7, 0.7) * how.get("dear", 1.0),
    )


def heavy(on: Asked) -> Mapping[str, Any]:
    """Costs and latencies without a mean."""
    return usual(on.rng, ms=on.rng.paretovariate(0.8), usd=on.rng.paretovariate(0.8))


def drifting(on: Asked) -> Mapping[str, Any]:
    """Over the hours failures go from 1 to 40 in 100 and back, and calls take up to four times as long."""
    hour = abs((on.number % 4_000) / 2_000 - 1.0)
    return usual(on.rng, fails=0.01 + 0.39 * hour, ms=on.rng.lognormvariate(6, 0.5) * (1 + 3 * hour))


def bursts(on: Asked) -> Mapping[str, Any]:
    """Traffic that remembers: spells of a hundred calls in which half fail and all are slow."""
    bad = random.Random(on.number // 100).random() < 0.2
    return usual(on.rng, fails=0.5 if bad else 0.01, ms=on.rng.lognormvariate(7 if bad else 6, 0.3))


def torn(on: Asked) -> Mapping[str, Any]:
    """Users of whom each has a rate of failures and a speed of its own."""
    own = random.Random(on.user)
    return usual(on.rng, fails=own.betavariate(0.05, 0.45), ms=on.rng.lognormvariate(own.gauss(6, 1), 0.3))


def down(on: Asked, *, arms: str) -> Mapping[str, Any]:
    """Every call of these arms fails."""
    return usual(on.rng, fails=1.0 if ("canary" if on.canary else "stable") in arms else 0.02)


def unpriced(on: Asked, *, arms: str) -> Mapping[str, Any]:
    """The model of these arms has no price."""
    return usual(on.rng, usd=None) if ("canary" if on.canary else "stable") in arms else usual(on.rng)


def scored(on: Asked, *, less: float = 0.0, comes: float = 1.0) -> Mapping[str, Any]:
    """A score about 0.8, the canary's `less`, which comes for that share of the calls."""
    value = on.rng.betavariate(8, 2) * (1 - less / 0.8 * on.canary)
    return usual(on.rng, scores={"tone": value} if on.rng.random() < comes else {})


def breaking(on: Asked) -> Mapping[str, Any]:
    """A scorer that fails from the 500th call on."""
    return usual(on.rng, scores={"tone": on.rng.betavariate(8, 2)} if on.number < 500 else {"tone": None})


def rollout(world: World, salt: str) -> Rollout:
    """One that begins now."""
    watched = metrics.standards(world.names, world.margin)
    return Rollout(
        id=salt,
        deployment="support",
        release="new",
        baseline="old",
        name="new",
        by="benchmark",
        started_at=BEGAN,
        salt=salt,
        rules=Rules(steps=world.steps),
        late_s=300.0,
        stage=Stage(state="running", since=BEGAN),
        analysis=analysis.begin(alpha=0.05, metrics=watched),
        lanes=live.lanes(watched, after=""),
    )


def called(world: World, now: Rollout, rng: random.Random, number: int) -> WatchedCall:
    """The next call under the plan of the present step."""
    user = "loud" if rng.random() < world.loudest else f"u{rng.randrange(world.users)}"
    arm = assign.arm(now.salt, f"user:{user}", now.rules.steps[now.stage.step])
    return WatchedCall(
        id=f"{number:032d}",
        started_at=BEGAN + timedelta(seconds=number * world.gap_s),
        release="",
        arm=arm,
        plan=now.stage.step,
        user=user,
        session=None,
        **world.answer(Asked(rng=rng, number=number, user=user, canary=arm == "canary")),
    )


def looked(now: Rollout, at: datetime) -> Rollout:
    """The rollout after a look."""
    decided = decide(now.rules, now.stage, live.look(now, at=at))
    return msgspec.structs.replace(now, stage=decided.stage, verdict=decided.verdict)


def play(world: World, seed: str) -> Iterator[Rollout]:
    """A rollout after each look, to its end or the last call."""
    rng, now = random.Random(seed), rollout(world, seed)
    seen: dict[str, dict[str, SeenUnit]] = {lane.name: {} for lane in now.lanes}
    weights = dict(enumerate(world.steps))
    for first in range(0, world.calls, LOOK_EVERY):
        calls = [called(world, now, rng, number) for number in range(first, first + LOOK_EVERY)]
        at = calls[-1].started_at
        for lane in now.lanes:
            known = {
                unit: seen[lane.name][unit] for unit in map(live.unit_of, calls) if unit in seen[lane.name]
            }
            late = at + timedelta(days=1)  # what has not come by now never does
            folded = live.fold(now, lane, calls, weights=weights, seen=known, now=late)
            seen[lane.name] |= folded.units
            now = folded.rollout
        now = looked(now, at)
        yield now
        if now.final:
            return


def row(name: str, world: World, *, runs: int, seed: int) -> dict[str, Any]:
    """Play a world and say what came out."""
    ends: Counter[str] = Counter()
    by: Counter[str] = Counter()
    canary, calls = [], []
    for run in range(runs):
        looks = list(play(world, f"{name} {seed} {run}"))
        end = looks[-1]
        ends[end.stage.state] += 1
        if end.stage.state != "running" and end.verdict is not None:
            canary.append(max(each.canary_n for each in end.verdict.metrics))
            calls.append(len(looks) * LOOK_EVERY)
            by.update(each.metric for each in end.verdict.metrics if each.finding == "harm")
    return {
        "world": name,
        "aborted": share(ends["aborted"] / runs, runs),
        "by": ", ".join(f"{each} {count}" for each, count in by.most_common(2)) or "-",
        "promoted": share(ends["promoted"] / runs, runs),
        "median canary units": f"{median(canary):,.0f}" if canary else "-",
        "median calls": f"{median(calls):,.0f}" if calls else "-",
    }


SCORED = ("error_rate", "latency_p95", "score:tone")
FLAT = (0.5,)
WORLDS: Mapping[str, World] = {
    "alike": World(answer=alike),
    "alike, 50% at once": World(answer=alike, steps=FLAT),
    "alike, heavy tails": World(answer=heavy, steps=FLAT),
    "alike, drift over the day": World(answer=drifting),
    "alike, bursts": World(answer=bursts, steps=FLAT),
    "alike, 300 users of their own kind": World(answer=torn, users=300, steps=FLAT),
    "alike, one user makes 90%": World(answer=torn, users=2_000, loudest=0.9, steps=FLAT),
    "alike, scored": World(answer=scored, names=SCORED, steps=FLAT),
    "alike, half of the scores never come": World(
        answer=partial(scored, comes=0.5), names=SCORED, steps=FLAT
    ),
    "10 points more errors": World(answer=partial(worse, fails=0.12)),
    "10 points more errors, 50%": World(answer=partial(worse, fails=0.12), steps=FLAT),
    "3 points more errors, 50%": World(answer=partial(worse, fails=0.05), steps=FLAT),
    "twice as slow": World(answer=partial(worse, slow=2.0)),
    "twice as slow, 50%": World(answer=partial(worse, slow=2.0), steps=FLAT),
    "1.3 times as slow, 50%": World(answer=partial(worse, slow=1.3), steps=FLAT),
    "one in ten stalls, 50%": World(answer=partial(worse, stalls=0.1), steps=FLAT),
    "twice as dear": World(answer=partial(worse, dear=2.0)),
    "twice as dear, 50%": World(answer=partial(worse, dear=2.0), steps=FLAT),
    "1.2 times as dear, 50%": World(answer=partial(worse, dear=1.2), steps=FLAT),
    "scores 0.1 lower, 50%": World(answer=partial(scored, less=0.1), names=SCORED, steps=FLAT),
    "both arms down": World(answer=partial(down, arms="stable canary"), steps=FLAT),
    "stable down": World(answer=partial(down, arms="stable"), steps=FLAT),
    "canary down": World(answer=partial(down, arms="canary")),
    "no price": World(answer=partial(unpriced, arms="stable canary"), steps=FLAT),
    "canary without a price": World(answer=partial(unpriced, arms="canary"), steps=FLAT),
    "no score ever": World(answer=partial(scored, comes=0.0), names=SCORED, steps=FLAT),
    "a scorer breaks": World(answer=breaking, names=SCORED, steps=FLAT),
    "60 users": World(answer=alike, users=60, steps=FLAT),
    "60 users, 30 points": World(
        answer=partial(worse, fails=0.0), users=60, margin={"error_rate": 0.3}, steps=FLAT
    ),
    "60 users, 30 points, four times as slow": World(
        answer=partial(worse, fails=0.0, slow=4.0), users=60, margin={"error_rate": 0.3}, steps=FLAT
    ),
    "200 users, 10 points": World(answer=alike, users=200, margin={"error_rate": 0.1}, steps=FLAT),
    "a call an hour": World(answer=alike, gap_s=3_600.0, calls=400),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the worlds, print the table and keep it."""
    parser = argparse.ArgumentParser(description="Whole rollouts in hostile worlds.")
    parser.add_argument("--runs", type=int, default=200, help="simulated rollouts of each world")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("worlds", nargs="*", help=", ".join(WORLDS))
    chosen = parser.parse_args(arguments)
    rows = []
    for name in chosen.worlds or WORLDS:
        rows.append(row(name, WORLDS[name], runs=chosen.runs, seed=chosen.seed))
        print(rows[-1], flush=True)
    print(f"\n{table(rows)}")
    if not chosen.worlds:
        keep("rollouts_whole", {"runs": chosen.runs, "seed": chosen.seed, "rows": rows})


if __name__ == "__main__":
    main()
