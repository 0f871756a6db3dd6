"""The interval that is drawn."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.rollouts import betting, sequences
from airboss.rollouts.analysis import Outcome, begin, conclude, evidence, observe
from airboss.rollouts.metrics import Metric

METRIC = Metric(name="m", margin=0.05)


def play(seed: int, count: int, stable: float, canary: float, *, metric: Metric = METRIC, p: float = 0.5):
    """Every state of a rollout with outcomes 0 and 1."""
    rng, state = random.Random(seed), begin(alpha=0.05, metrics=(metric,))
    for _ in range(count):
        side = rng.random() < p
        value = float(rng.random() < (canary if side else stable))
        state = observe(state, Outcome(metric=metric.name, canary=side, chance=p, value=value))
        yield state


def test_nothing_is_known_at_first() -> None:
    """Before the first outcome the interval is everything and there are no means."""
    one = evidence(begin(alpha=0.05, metrics=(METRIC,)))[0]
    assert (one.low, one.high, one.effect, one.stable_mean) == (-1.0, 1.0, None, None)


@pytest.mark.parametrize(("stable", "canary"), [(0.9, 0.6), (0.7, 0.72), (0.5, 0.8)])
def test_what_is_drawn_is_what_is_done(stable: float, canary: float) -> None:
    """At every look, promotion is the low end above minus the margin, and harm the high end below 0."""
    top = 0.0
    for state in play(3, 250, stable, canary):
        one, tally = evidence(state)[0], state.tallies[0]
        assert one.promote_e is not None
        assert (one.promote_e >= 20) == (one.low >= -0.05 - 1e-9)
        top = max(top, tally.harm_top)
        now = betting.log_mean(tally.harm[sorted({-0.5, -0.1, -0.05, 0.0, 0.1, 0.5}).index(0.0)])
        assert (now >= math.log(20)) == (one.high <= 1e-9)
        assert one.harm_e == pytest.approx(math.exp(top))


def test_the_sequence_covers_and_shrinks() -> None:
    """In 90% of rollouts and more the interval holds the effect at every tenth look, and it narrows."""
    missed = 0
    for seed in range(60):
        looks = [evidence(state)[0] for state in list(play(seed, 400, 0.7, 0.8))[9::10]]
        missed += not all(one.low <= 0.1 <= one.high for one in looks)
        harmed = looks[-1].finding == "harm"  # from there on it counts no more
        assert harmed or looks[-1].high - looks[-1].low < 0.5
    assert missed <= 6  # two ends at 5% each


@settings(max_examples=60)
@given(
    wealths=st.lists(st.floats(-5, 12), min_size=2, max_size=5),
    falls=st.lists(st.floats(0, 8), min_size=2, max_size=2),
)
def test_chords_understate(wealths: list[float], falls: list[float]) -> None:
    """The end that is read from chords is one at which the wealth on the chord is 1 / alpha or more."""
    width = len(betting.SIZES)
    top = [wealths[at % len(wealths)] for at in range(width)]
    rows = (
        tuple(top),
        tuple([one - falls[0] for one in top]),
        tuple([one - falls[0] - falls[1] for one in top]),
    )
    points = (-0.5, 0.0, 0.5)
    end = sequences.lower(rows, points, alpha=0.05)
    logs = [betting.log_mean(row) for row in rows]
    if logs[0] < math.log(20):
        assert end == -1.0
    elif logs[2] >= math.log(20):
        assert end == 0.5
    else:
        at = 0 if end < 0 else 1
        share = (end - points[at]) / 0.5
        chord = tuple([a + share * (b - a) for a, b in zip(rows[at], rows[at + 1], strict=True)])
        assert betting.log_mean(chord) >= math.log(20) - 1e-6
    mirrored = sequences.upper(rows[::-1], points, alpha=0.05)
    assert mirrored == pytest.approx(-end)


def test_ends_are_in_the_metrics_units_and_direction() -> None:
    """A canary with more errors has a positive effect on the error rate, all above zero once it is shown."""
    metric = Metric(name="error_rate", higher_is_better=False, margin=0.01)
    *_, state = play(5, 600, 0.02, 0.4, metric=metric)
    one = evidence(state)[0]
    assert one.finding == "harm"
    assert conclude(state) == "abort"
    assert 0 < one.low < 0.38 < one.high
    assert one.canary_mean == pytest.approx(0.4, abs=0.07)
    assert one.effect == pytest.approx(0.38, abs=0.1)
