"""The simulation in benchmarks/ simulates what runs, and what it shows holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.rollouts_paths import (
    Paths,
    World,
    beta,
    log_mean,
    ranked,
    requests,
    run,
    sticky,
    two_point,
    yes,
)

from airboss.rollouts.analysis import Outcome, Tally, begin, grid, observe, promote_log
from airboss.rollouts.betting import log_mean as log_mean_of_row
from airboss.rollouts.metrics import Metric

RUNS = 400
ALPHA = 0.05
AT_MOST = ALPHA + 2.6 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)
"""One in 200 tests of a rate of exactly alpha exceeds this; the true rates are far below."""


def harm_log(tally: Tally, metric: Metric) -> float:
    """The present log e-value of harm."""
    return log_mean_of_row(tally.harm[grid(metric).index(0.0)])


@pytest.mark.parametrize(
    "world",
    [
        requests(yes(0.9, 0.7), schedule=[(0.1, 100), (0.5, 200)]),
        requests(beta(8, 2, worse=0.1), schedule=[(0.05, 300)]),
        sticky(schedule=[(0.1, 150), (0.5, 150)], users=40),
    ],
    ids=["errors", "scores", "sticky"],
)
def test_the_benchmark_computes_what_the_product_does(world: World) -> None:
    """Outcome by outcome, the arrays hold the wealths of `analysis`."""
    metric = Metric(name="score:good", margin=0.05)
    # So small that harm, from which on a metric counts no more, is never found.
    states = [begin(alpha=1e-300, metrics=(metric,)) for _ in range(3)]
    paths = Paths(3, margin=0.05)
    for tick in world(np.random.default_rng(7), 3):
        paths.observe(tick)
        y, canary, p, counts = tick
        for at in np.flatnonzero(counts).tolist():
            seen = Outcome(
                metric=metric.name, canary=bool(canary[at]), chance=float(p[at]), value=float(y[at])
            )
            states[at] = observe(states[at], seen)
    for at, state in enumerate(states):
        tally = state.tallies[0]
        assert harm_log(tally, metric) == pytest.approx(log_mean(paths.harm)[at], abs=1e-9)
        assert promote_log(metric, tally) == pytest.approx(log_mean(paths.gain)[at], abs=1e-9)
        assert tally.canary_n == paths.canary_n[at]


@pytest.mark.parametrize("weight", [0.01, 0.5])
@pytest.mark.parametrize(
    "draw",
    [yes(0.5), yes(0.9), yes(0.99), yes(0.999), beta(8, 2), beta(0.5, 0.05), two_point(0.3, 0.9, 0.8)],
    ids=["0.5", "0.9", "0.99", "0.999", "beta", "beta at the end", "two points"],
)
def test_alike_arms_are_rarely_called_harmful(draw, weight: float) -> None:
    """Looking after every request, A/A rollouts abort at most in alpha of all cases."""
    world = requests(draw, schedule=[(weight, 1_500)])
    result = run(world, runs=RUNS, seed=11, alpha=ALPHA)
    assert np.isfinite(result.aborted_at).mean() <= AT_MOST


def test_heavy_tails_are_rarely_called_harmful() -> None:
    """Costs without a mean, as ranks: A/A rollouts abort at most in alpha of all cases."""
    world = ranked(lambda rng, n: rng.pareto(0.8, n), weight=0.3, count=800)
    result = run(world, runs=RUNS, seed=12, alpha=ALPHA)
    assert np.isfinite(result.aborted_at).mean() <= AT_MOST


@pytest.mark.parametrize("steps", [(0.1, 0.5), (0.01, 0.05, 0.25, 0.5)], ids=["10-50", "1-5-25-50"])
def test_sticky_users_count_once_at_their_own_chance(steps) -> None:
    """Users who fail at rates of their own and keep their arm across steps do not pass for harm."""
    world = sticky(schedule=[(weight, 600) for weight in steps])
    result = run(world, runs=RUNS, seed=13, alpha=ALPHA)
    assert np.isfinite(result.aborted_at).mean() <= AT_MOST


def test_the_simulation_sees_methods_that_fail() -> None:
    """The same worlds convict the repeated z-test, users counted at every request, and the step's weight."""
    even = run(requests(yes(0.9), schedule=[(0.5, 1_500)]), runs=RUNS, seed=14, alpha=ALPHA)
    assert even.z_aborted > 2 * AT_MOST
    schedule = [(weight / 100, 500) for weight in range(20, 55, 5)]
    aborted = {}
    for counting in ("conditional", "plain", "every"):
        world = sticky(schedule=schedule, counting=counting, rates=(0.05, 0.45))
        result = run(world, runs=2 * RUNS, seed=14, alpha=ALPHA)
        aborted[counting] = np.isfinite(result.aborted_at).mean()
    assert aborted["conditional"] < ALPHA < aborted["plain"] < aborted["every"]


@pytest.mark.parametrize(
    ("draw", "margin"),
    [(yes(0.9, 0.85), 0.05), (yes(0.99, 0.98), 0.01), (beta(8, 2, worse=0.05), 0.05)],
    ids=["0.9", "0.99", "beta"],
)
def test_worse_by_the_margin_is_rarely_promoted(draw, margin: float) -> None:
    """A canary worse by exactly the margin is called non-inferior at most in alpha of all cases."""
    world = requests(draw, schedule=[(0.1, 500), (0.5, 1_000)])
    result = run(world, runs=RUNS, seed=15, alpha=ALPHA, margin=margin)
    assert np.isfinite(result.promoted_at).mean() <= AT_MOST


def test_harm_is_found_soon() -> None:
    """From 0.9 to 0.7 at an even split, half of the rollouts abort within 70 canary requests."""
    world = requests(yes(0.9, 0.7), schedule=[(0.5, 300)])
    result = run(world, runs=RUNS, seed=16, alpha=ALPHA)
    assert np.median(result.aborted_at) <= 70
