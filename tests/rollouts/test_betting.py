"""Bets that nobody wins by luck: by exact enumeration, not by trial."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.rollouts import betting
from airboss.rollouts.analysis import AnalysisState, Outcome, Tally, begin, grid, observe
from airboss.rollouts.metrics import Metric

chances = st.floats(0.001, 0.999)
shares = st.floats(0, 1)


@given(
    p=chances,
    centre=shares,
    spread=st.floats(1e-6, 1),
    seen=st.tuples(shares, st.booleans()),
    d=st.floats(-0.5, 0.5),
)
def test_nobody_goes_bankrupt(
    p: float, centre: float, spread: float, seen: tuple[float, bool], d: float
) -> None:
    """Every factor, at every outcome and candidate within reach, keeps a quarter of the wealth at least."""
    placed = betting.bet(p=p, centre=centre, spread=spread)
    y, canary = seen
    x, v = (canary - p) * (y - centre), p * (1 - p)
    for harm, gain in zip(placed.harm, placed.gain, strict=True):
        assert 1 + harm * (v * d - x) >= 1 - betting.CAP - 1e-9
        assert 1 + gain * (x - v * d) >= 1 - betting.CAP - 1e-9


@given(p=chances, centre=shares, spread=st.floats(1e-3, 1), stable=shares, effect=st.floats(-0.5, 0.5))
def test_a_bet_is_fair_at_the_true_effect(
    p: float, centre: float, spread: float, stable: float, effect: float
) -> None:
    """The mean factor is 1 where the candidate is the effect, for every gambler on both sides."""
    rates = {False: stable, True: min(max(stable + effect, 0.0), 1.0)}
    d, v = rates[True] - rates[False], p * (1 - p)
    placed = betting.bet(p=p, centre=centre, spread=spread)
    mean_x = sum(
        (p if canary else 1 - p) * (rates[canary] if y else 1 - rates[canary]) * (canary - p) * (y - centre)
        for canary, y in product((False, True), (0, 1))
    )
    for one in (*placed.harm, *placed.gain):
        assert one * (mean_x - v * d) == pytest.approx(0, abs=1e-9)


def wealth(tally: Tally, metric: Metric, d: float, side: str) -> float:
    """A side's mean wealth at a candidate."""
    rows = tally.harm if side == "harm" else tally.gain
    return math.exp(betting.log_mean(rows[grid(metric).index(d)]))


def expected(
    metric: Metric, schedule: list[float], rates: tuple[float, float], d: float, side: str
) -> list[float]:
    """The exact mean wealth after each outcome, over every way that arms and outcomes 0 or 1 can come."""
    alive: list[tuple[AnalysisState, float]] = [(begin(alpha=0.05, metrics=(metric,)), 1.0)]
    means = []
    for p in schedule:
        after = []
        for state, chance in alive:
            for canary, y in product((False, True), (0, 1)):
                rate = rates[canary]
                share = (p if canary else 1 - p) * (rate if y else 1 - rate)
                seen = Outcome(metric=metric.name, canary=canary, chance=p, value=float(y))
                after.append((observe(state, seen), chance * share))
        alive = after
        means.append(math.fsum(chance * wealth(state.tallies[0], metric, d, side) for state, chance in alive))
    return means


SCHEDULES = [[0.5] * 5, [0.01, 0.05, 0.25, 0.5, 0.5], [0.9, 0.1, 0.3, 0.7, 0.5]]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.999, 0.0, 1.0])
def test_wealth_of_alike_arms_is_a_martingale(schedule: list[float], rate: float) -> None:
    """Summed over all 1,024 ways that five outcomes can come, the mean wealth of harm stays exactly 1."""
    metric = Metric(name="m", margin=0.05)
    for mean in expected(metric, schedule, (rate, rate), 0.0, "harm"):
        assert mean == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("stable", "canary"), [(0.9, 0.95), (0.5, 0.6), (0.2, 1.0)])
def test_wealth_of_a_better_canary_falls(schedule: list[float], stable: float, canary: float) -> None:
    """A canary that is better makes the wealth of harm a supermartingale: its mean never rises."""
    means = [1.0, *expected(Metric(name="m", margin=0.05), schedule, (stable, canary), 0.0, "harm")]
    assert all(after <= before + 1e-12 for before, after in pairwise(means))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("stable", "canary"), [(0.9, 0.85), (0.9, 0.7), (0.5, 0.45), (0.05, 0.0)])
def test_wealth_of_a_canary_worse_by_the_margin_does_not_rise(
    schedule: list[float], stable: float, canary: float
) -> None:
    """At the margin the mean wealth for promotion stays 1; beyond it, it falls."""
    means = [1.0, *expected(Metric(name="m", margin=0.05), schedule, (stable, canary), -0.05, "gain")]
    if stable - canary == pytest.approx(0.05):
        assert means == pytest.approx([1.0] * len(means), abs=1e-12)
    assert all(after <= before + 1e-12 for before, after in pairwise(means))


def test_a_stickier_chance_than_stated_is_not_fair() -> None:
    """The enumeration can fail: with a chance other than the one arms are drawn with, the mean leaves 1."""
    metric, p, stated = Metric(name="m", margin=0.05), 0.5, 0.1
    state = observe(
        begin(alpha=0.05, metrics=(metric,)), Outcome(metric="m", canary=False, chance=0.5, value=1.0)
    )
    mean = sum(
        p
        * (0.2 if y else 0.8)
        * wealth(
            observe(state, Outcome(metric="m", canary=canary, chance=stated, value=float(y))).tallies[0],
            metric,
            0.0,
            "harm",
        )
        for canary, y in product((False, True), (0, 1))
    )
    before = wealth(state.tallies[0], metric, 0.0, "harm")
    assert abs(mean - before) > 1e-3


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), shares), max_size=30))
def test_wealth_is_monotone_in_the_candidate(seen: list[tuple[bool, float]]) -> None:
    """Harm grows with the candidate and gain falls with it: what is refused is a half-line."""
    metric = Metric(name="m", margin=0.02)
    state = begin(alpha=0.05, metrics=(metric,))
    for canary, y in seen:
        state = observe(state, Outcome(metric="m", canary=canary, chance=0.3, value=y))
    tally = state.tallies[0]
    harm = [betting.log_mean(row) for row in tally.harm]
    gain = [betting.log_mean(row) for row in tally.gain]
    assert harm == sorted(harm)
    assert gain == sorted(gain, reverse=True)


def test_bets_are_sizes_in_spreads_up_to_the_cap() -> None:
    """Rare failures at a small chance are bet on 40 to 1; where more can be lost, the cap holds."""
    rare = betting.bet(p=0.01, centre=0.999, spread=0.05)
    assert rare.harm == pytest.approx([0.625, 1.25, 2.5, 5, 10, 20, 40])
    assert rare.gain[-1] == pytest.approx(0.75 / (0.99 * 0.999 + 0.0099 / 2))


def test_e_values_stay_numbers() -> None:
    """Evidence beyond what a float holds is cut, not infinite."""
    assert betting.e_value(0.0) == 1.0
    assert math.isfinite(betting.e_value(1e9))
