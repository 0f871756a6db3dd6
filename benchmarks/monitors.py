"""How often the default alarms err, and how soon they find what is wrong, over simulated weeks of traffic.

Claims: in a week like the week before (A/A: days and nights, weekends, busy and quiet deployments, failures
that come in bunches) each default alarm fires falsely at most once in 100 weeks; and what is planted is found
within the time that is printed. The alarms' own code looks every five minutes, through a log of counts.

    python -m benchmarks.monitors [--weeks 200] [--seed 1] [--only errors]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
from benchmarks.stats import keep, table

from airboss.config.alarms_default import all_alarms
from airboss.config.types import Config, DeploymentConfig, ReleaseConfig
from airboss.controller import alarm_tests
from airboss.controller.alarm_measures import Measures
from airboss.controller.alarms import begun, decide
from airboss.domain.ports import RecordLog, UsageQuery
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.domain.usage import UsageRow
from airboss.store.alert_rows import AlarmRule
from airboss.store.alert_rules import rule_of

MINUTE = timedelta(minutes=1)
WEEK = timedelta(days=7)
MINUTES = int(WEEK / MINUTE)
LOOK = 5
"""Minutes between two looks; the tests inside go by the minute all the same."""

START = datetime(2026, 1, 5, tzinfo=UTC)
CONFIG = Config(
    releases={"r": ReleaseConfig(model="m", fallbacks=("f",))},
    deployments={"d": DeploymentConfig(release="r")},
)
ALARMS = {
    name.partition(".")[2]: rule_of(name, alarm)
    for name, alarm in all_alarms(CONFIG, []).items()
    if alarm.kind not in ("drift", "recording")  # those look at no traffic, or at bodies: test_drift.py
}


@dataclass(frozen=True)
class World:
    """Traffic: calls a minute on average, shares of failures (and as large ones of answers that are a
    fallback's) and of refusals, how bunched failures are, and how much slower the busiest hour is than the
    mean. `office`: by day, on working days, alone; `clocks` are put forward by so many minutes (back, below
    0) between the two weeks."""

    name: str
    rate: float
    errors: float
    refused: float
    bunched: float = 0.0
    busy_slower: float = 0.0
    office: bool = False
    clocks: int = 0


@dataclass(frozen=True)
class Planted:
    """What becomes of the traffic from the middle of the second week."""

    errors: float | None = None
    refused: float | None = None
    fell_back: float | None = None
    slower: float = 1.0
    dearer: float = 1.0
    traffic: float = 1.0


WORLDS = (
    World("busy", 6.0, 0.005, 0.01),
    World("busy, slow at noon", 6.0, 0.005, 0.01, busy_slower=0.25),
    World("failing often, in bunches", 3.0, 0.03, 0.02, bunched=0.3),
    World("quiet", 0.2, 0.01, 0.01),
    World("office, clocks forward", 8.0, 0.005, 0.01, office=True, clocks=60),
    World("office, clocks back", 8.0, 0.005, 0.01, office=True, clocks=-60),
)
PLANTS: Mapping[str, Planted] = {
    "errors": Planted(errors=0.10),
    "latency": Planted(slower=2.0),
    "cost": Planted(dearer=2.0),
    "refusals": Planted(refused=0.20),
    "fallbacks": Planted(fell_back=0.20),
    "traffic": Planted(traffic=0.0),
}


@dataclass
class Counts:
    """Two weeks of calls as a log: `usage` alone is answered, of one deployment."""

    world: World
    rng: np.random.Generator
    planted: Planted | None = None
    beyond: dict[tuple[str, float], Any] = field(default_factory=dict)
    rows: dict[Hashable, UsageRow] = field(default_factory=dict)
    """Those that were asked for: the next look asks for most of them again."""

    def __post_init__(self) -> None:
        minutes = np.arange(2 * MINUTES)
        by_the_clock = minutes + np.where(minutes >= MINUTES, self.world.clocks, 0)
        day = np.sin(2 * np.pi * (minutes / 1440 - 0.25))
        weekend = np.where(minutes // 1440 % 7 >= 5, 0.5, 1.0)
        late = minutes >= MINUTES + MINUTES // 2
        plant = self.planted or Planted()
        rate = self.world.rate * (1 + 0.8 * day) * weekend
        if self.world.office:
            at_work = (by_the_clock % 1440 // 60 >= 8) & (by_the_clock % 1440 // 60 < 18)
            rate = self.world.rate * np.where(at_work & (by_the_clock // 1440 % 7 < 5), 1.0, 0.002)
        rate = rate * np.where(late, plant.traffic, 1.0)
        self.n = self.rng.poisson(rate)
        hours = (
            self.rng.gamma(1 / self.world.bunched, self.world.bunched, 2 * MINUTES // 60)
            if (self.world.bunched)
            else np.ones(2 * MINUTES // 60)
        )
        errors = np.minimum(0.9, self.world.errors * np.repeat(hours, 60))
        errors = np.where(late & (plant.errors is not None), plant.errors or 0.0, errors)
        refused = np.where(late & (plant.refused is not None), plant.refused or 0.0, self.world.refused)
        self.errors = self.rng.binomial(self.n, errors)
        self.refused = self.rng.binomial(self.n - self.errors, refused)
        answered = self.n - self.errors - self.refused
        self.ends = np.concatenate([[0], np.cumsum(answered)])
        slower = np.repeat((1 + self.world.busy_slower * day) * np.where(late, plant.slower, 1.0), answered)
        dearer = np.repeat(np.where(late, plant.dearer, 1.0), answered)
        self.took = 800 * self.rng.lognormal(0, 0.6, self.ends[-1]) * slower
        self.cost = 0.002 * self.rng.lognormal(0, 0.8, self.ends[-1]) * dearer
        fell_back = np.minimum(0.9, self.world.errors * np.repeat(hours, 60))
        fell_back = np.where(late & (plant.fell_back is not None), plant.fell_back or 0.0, fell_back)
        self.fell_back = self.rng.binomial(answered, fell_back)
        self.sums = {
            name: np.concatenate([[0], np.cumsum(each)])
            for name, each in (("n", self.n), ("errors", self.errors), ("refused", self.refused))
        }
        self.fallen = np.concatenate([[0], np.cumsum(self.fell_back)])

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`."""
        first = max(0, int((asked.since - START) / MINUTE))
        last = min(2 * MINUTES, int((asked.until - START) / MINUTE))
        if asked.step_s is None:
            rows = [self.row(asked, first, last, first)]
        else:
            wide = asked.step_s // 60
            rows = [self.row(asked, at, min(at + wide, last), at) for at in range(first, last, wide)]
        return [row for row in rows if row.requests]

    def row(self, asked: UsageQuery, first: int, last: int, at: int) -> UsageRow:
        """What happened in these minutes."""
        theirs = asked.where.error_type is not None
        key = (first, last, at, asked.step_s is None, bool(asked.by), asked.slow_ms, asked.costly_usd, theirs)
        found = self.rows.get(key)
        if found is None:
            found = self.rows[key] = self.made(asked, first, last, at)
        return found

    def made(self, asked: UsageQuery, first: int, last: int, at: int) -> UsageRow:
        """A row, made anew."""
        n, errors, refused = (int(each[last] - each[first]) for each in self.sums.values())
        if asked.where.error_type == ANSWERED_BY_FALLBACK:
            n, errors, refused = int(self.fallen[last] - self.fallen[first]), 0, 0
        whole = asked.step_s is None and last - first == MINUTES
        answered = slice(self.ends[first], self.ends[last])
        start = START + at * MINUTE
        given: dict[str, Any] = dict.fromkeys(UsageRow.__struct_fields__, 0) | {
            "group": ("d",) if asked.by else (),
            "start": start if asked.step_s is not None else None,
            "requests": n,
            "errors": errors,
            "refused": refused,
            "answered": n - errors - refused,
            "priced": n - errors - refused,
            "latency_p95_ms": float(np.quantile(self.took[answered], 0.95)) if whole else None,
            "cost_p95_usd": float(np.quantile(self.cost[answered], 0.95)) if whole else None,
            "first_at": start,
            "last_at": start,
            "slow": self.over("took", asked.slow_ms, first, last),
            "costly": self.over("cost", asked.costly_usd, first, last),
        }
        return UsageRow(**given)

    def over(self, what: str, bound: float | None, first: int, last: int) -> int:
        """How many answers lie beyond a bound."""
        if bound is None:
            return 0
        key = (what, bound)
        if key not in self.beyond:
            over = np.concatenate([[0], np.cumsum(getattr(self, what) > bound)])
            self.beyond[key] = over[self.ends]
        return int(self.beyond[key][last] - self.beyond[key][first])


def watched(name: str, log: Counts) -> float | None:
    """When an alarm first fires in the second week, in minutes from its begin; None: never."""
    rule: AlarmRule = ALARMS[name]
    row = begun(rule, START + WEEK)
    records = cast("RecordLog", log)
    measures = Measures(records)
    for minute in range(0, MINUTES, LOOK):
        now = START + WEEK + minute * MINUTE + timedelta(seconds=30)
        if rule.kind == "sequential":
            reading = alarm_tests.look(rule, row.memory, records, now)
        else:
            measures.forget_old(now)
            reading = measures.read(rule, row.memory, now)
        row = decide(row, rule, reading, now=now, silence=None).row
        if row.phase == "firing":
            return float(minute)
    return None


def false_alarms(
    weeks: int, seed: int, worlds: Sequence[World] = WORLDS, *, only: Sequence[str] = tuple(ALARMS)
) -> dict[str, dict[str, int]]:
    """How many of so many weeks had a false alarm, by alarm and world."""
    found: dict[str, dict[str, int]] = {}
    for at, world in enumerate(worlds):
        for week in range(weeks):
            log = Counts(world, np.random.default_rng([seed, at, week]))
            for name in only:
                hit = watched(name, log) is not None
                found.setdefault(name, {}).setdefault(world.name, 0)
                found[name][world.name] += hit
    return found


def delays(runs: int, seed: int, *, only: Sequence[str] = tuple(PLANTS)) -> dict[str, list[float | None]]:
    """Minutes from what was planted to the alarm that is for it; None where it was not found, or before."""
    found: dict[str, list[float | None]] = {}
    for name in only:
        planted = PLANTS[name]
        for run in range(runs):
            log = Counts(WORLDS[0], np.random.default_rng([seed, 99, run]), planted)
            at = watched(name, log)
            late = None if at is None else at - MINUTES // 2
            found.setdefault(name, []).append(late if late is not None and late >= 0 else None)
    return found


def main(argv: Sequence[str] | None = None, *, say: Callable[[str], None] = print) -> None:
    """Simulate, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--weeks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=ALARMS, default=None, help="one alarm; all if left out")
    given = parser.parse_args(argv)
    only = tuple(ALARMS) if given.only is None else (given.only,)
    began = time.monotonic()
    found = false_alarms(given.weeks, given.seed, only=only)
    rows = [
        {"alarm": name, **{world: 100 * hits / given.weeks for world, hits in of.items()}}
        for name, of in found.items()
    ]
    say(f"false alarms in 100 A/A weeks, of {given.weeks} simulated each (seed {given.seed}):")
    say(table(rows))
    late = delays(max(3, given.weeks // 20), given.seed, only=only)
    shown = []
    for name, minutes in late.items():
        seen = sorted(each for each in minutes if each is not None)
        middle = f"{seen[len(seen) // 2]:.0f}" if seen else "-"
        shown.append({"alarm": name, "found": f"{len(seen)} of {len(minutes)}", "median minutes": middle})
    say("minutes until 10 % errors, twice as slow or dear, 20 % refused or fallbacks, and no calls are seen:")
    say(table(shown))
    say(f"{time.monotonic() - began:.0f} s")
    keep(
        "monitors" if given.only is None else f"monitors-{given.only}",
        {"false": found, "weeks": given.weeks, "delays": late},
    )


if __name__ == "__main__":
    main()
