"""How often rollouts err, and how soon they find harm, over 2,000 simulated rollouts each.

Claims: looking after every request, a canary that is like stable is aborted in at most alpha of all rollouts,
whatever the base rate, the shape of scores, the weight and the stickiness of users; one that is worse by the
margin is promoted in at most alpha; and harm is found with few canary requests.

    python -m benchmarks.rollouts [--runs 2000] [--seed 1] [--scale 1.0]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.rollouts_paths import (
    Draw,
    Floats,
    World,
    beta,
    ranked,
    requests,
    run,
    sticky,
    two_point,
    yes,
)
from benchmarks.stats import keep, table
from rich.progress import Progress

ALPHA = 0.05
STEPS: Mapping[str, Sequence[float]] = {
    "10/50": (0.1, 0.5),
    "1/5/25/50": (0.01, 0.05, 0.25, 0.5),
    "20/25/30/35/40/45/50": (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
}
ATTAINABLE = {0.02: 3_900, 0.05: 690, 0.1: 160, 0.2: 52}
"""Medians of canary requests to abort from 0.9 that an earlier trial of such methods reached, by drop."""


@dataclass(frozen=True)
class Case:
    """One row: a world, and what is asked of it. `table` is where it is printed; `notes` come first there."""

    table: str
    notes: Mapping[str, Any]
    world: World
    margin: float = 0.0
    until_abort: bool = False


def share(hits: float, runs: int) -> str:
    """A share of runs in per cent with its 95% Wilson interval."""
    z = 1.96
    middle = (hits + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs) * (hits * (1 - hits) / runs + z * z / (4 * runs * runs)) ** 0.5
    return f"{hits:.1%} [{max(middle - half, 0):.1%}, {middle + half:.1%}]"


def middle(at: Floats) -> str:
    """A median with a 95% interval from the order of the runs; `-` where less than half got there."""
    ordered, half = np.sort(at), 0.98 * len(at) ** 0.5
    low, centre, high = (
        ordered[min(max(int(len(at) / 2 + shift), 0), len(at) - 1)] for shift in (-half, 0, half)
    )
    return "-" if np.isinf(centre) else f"{centre:,.0f} [{low:,.0f}, {high:,.0f}]"


def alike(scale: float) -> list[Case]:
    """A/A: every abort is false."""
    lengths = {0.01: int(20_000 * scale), 0.5: int(4_000 * scale)}
    draws: dict[str, Draw] = {f"rate {rate}": yes(rate) for rate in (0.5, 0.9, 0.99, 0.999)}
    draws |= {
        "beta(8, 2)": beta(8, 2),
        "beta(0.5, 0.05)": beta(0.5, 0.05),
        "0.3 or 0.9": two_point(0.3, 0.9, 0.8),
    }
    cases = [
        Case(
            "alike, each request a unit",
            {"outcomes": name, "canary": f"{weight:.0%}", "requests": lengths[weight]},
            requests(draw, schedule=[(weight, lengths[weight])]),
        )
        for name, draw in draws.items()
        for weight in lengths
    ]
    each = int(1_500 * scale)
    cases += [
        Case(
            "alike, each request a unit",
            {"outcomes": f"rate {rate}", "canary": "1/5/25/50", "requests": 4 * each},
            requests(yes(rate), schedule=[(weight, each) for weight in STEPS["1/5/25/50"]]),
        )
        for rate in (0.9, 0.99)
    ]
    costs = {
        "Pareto(0.8), ranks": lambda rng, n: rng.pareto(0.8, n),
        "lognormal(0, 2), ranks": lambda rng, n: rng.lognormal(0, 2, n),
    }
    count = int(2_000 * scale)
    return cases + [
        Case(
            "alike, each request a unit",
            {"outcomes": name, "canary": f"{weight:.0%}", "requests": count},
            ranked(values, weight=weight, count=count),
        )
        for name, values in costs.items()
        for weight in (0.1, 0.5)
    ]


def users(scale: float) -> list[Case]:
    """A/A with 200 users who keep their arm: how they are counted decides."""
    count = int(1_500 * scale)
    mild, torn = (
        (1.0, 9.0),
        (0.05, 0.45),
    )  # failure rates about 10%; and users who fail nearly always or never
    ways = {
        "once a step, chance given earlier arms": "conditional",
        "once a step, the step's weight": "plain",
        "every request": "every",
    }
    worlds = [("10/50", mild), ("1/5/25/50", mild), ("10/50", torn), ("20/25/30/35/40/45/50", torn)]
    return [
        Case(
            "alike, 200 sticky users with failure rates of their own",
            {
                "steps": name,
                "rates": f"beta({rates[0]:g}, {rates[1]:g})",
                "counted": way,
                "requests": count * len(STEPS[name]),
            },
            sticky(
                schedule=[(weight, count) for weight in STEPS[name]],
                counting=counting,
                rates=rates,
            ),
        )
        for name, rates in worlds
        for way, counting in ways.items()
    ]


def worse(scale: float) -> list[Case]:
    """Worse by exactly the margin: every promotion is false."""
    count = int(4_000 * scale)
    draws: list[tuple[str, Draw, float]] = [
        ("rate 0.9 to 0.85", yes(0.9, 0.85), 0.05),
        ("rate 0.9 to 0.88", yes(0.9, 0.88), 0.02),
        ("rate 0.99 to 0.98", yes(0.99, 0.98), 0.01),
        ("rate 0.999 to 0.989", yes(0.999, 0.989), 0.01),
        ("beta(8, 2) less 0.05", beta(8, 2, worse=0.05), 0.05),
    ]
    return [
        Case(
            "worse by the margin",
            {"outcomes": name, "margin": margin, "canary": f"{weight:.0%}", "requests": count},
            requests(draw, schedule=[(weight, count)]),
            margin=margin,
        )
        for name, draw, margin in draws
        for weight in (0.05, 0.5)
    ]


def power(scale: float) -> list[Case]:
    """How soon harm is found, and how soon a canary like stable is promoted."""
    cases = [
        Case(
            "harm from 0.9",
            {"drop": drop, "canary": f"{weight:.0%}", "attainable": known},
            requests(
                yes(0.9, 0.9 - drop),
                schedule=[(weight, int(known * scale * (4 if drop < 0.1 else 6) / weight))],
            ),
            until_abort=True,
        )
        for drop, known in ATTAINABLE.items()
        for weight in ((0.5, 0.1) if drop < 0.05 else (0.5, 0.1, 0.01))
    ]
    same = [(0.9, 0.05), (0.99, 0.01), (0.999, 0.01)]
    return cases + [
        Case(
            "no harm, to be promoted",
            {"rate": rate, "margin": margin, "canary": f"{weight:.0%}"},
            requests(yes(rate), schedule=[(weight, int(4_000 * scale / weight))]),
            margin=margin,
        )
        for rate, margin in same
        for weight in (0.5, 0.25)
    ]


def row(case: Case, *, runs: int, seed: int) -> dict[str, Any]:
    """Play a case and say what came out."""
    result = run(
        case.world, runs=runs, seed=seed, alpha=ALPHA, margin=case.margin, until_abort=case.until_abort
    )
    if case.until_abort:
        return {**case.notes, "median canary requests to abort": middle(result.aborted_at)}
    aborted = {"aborted": share(float(np.isfinite(result.aborted_at).mean()), runs)}
    if not case.margin:
        return {**case.notes, **aborted, "repeated z-test": share(result.z_aborted, runs)}
    promoted = {"promoted": share(float(np.isfinite(result.promoted_at).mean()), runs)}
    if case.table == "worse by the margin":
        return {**case.notes, **promoted, **aborted}
    return {**case.notes, "median canary requests": middle(result.promoted_at), **promoted, **aborted}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every case, print the tables and keep them."""
    parser = argparse.ArgumentParser(description="How often rollouts err, and how soon they find harm.")
    parser.add_argument("--runs", type=int, default=2_000, help="simulated rollouts for each row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="shortens or lengthens every rollout")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    cases = alike(chosen.scale) + users(chosen.scale) + worse(chosen.scale) + power(chosen.scale)
    tables: dict[str, list[dict[str, Any]]] = {}
    with Progress() as progress:
        bar = progress.add_task("rollouts", total=len(cases))
        for at, case in enumerate(cases):
            progress.update(bar, description=f"{case.table}: {next(iter(case.notes.values()))}")
            rows = tables.setdefault(case.table, [])
            rows.append(row(case, runs=chosen.runs, seed=chosen.seed * 1_000 + at))
            progress.advance(bar)
    print(f"{chosen.runs} rollouts a row, alpha {ALPHA:.0%}, looked at after every request; 95% intervals\n")
    for name, rows in tables.items():
        print(f"{name}\n\n{table(rows)}\n")
    kept = keep("rollouts", {"runs": chosen.runs, "seed": chosen.seed, "alpha": ALPHA, "tables": tables})
    print(f"{time.monotonic() - began:.0f} s; kept in {kept.name}")


if __name__ == "__main__":
    main()
