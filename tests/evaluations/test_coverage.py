"""How often intervals miss: computed exactly where that can be done, simulated with a seed where not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.evaluations.betting import bounded_interval
from airboss.evaluations.intervals import paired_proportions_interval

CHANCES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)


def most_missed(pairs: int, chances: Iterable[tuple[float, float]], confidence: float = 0.95) -> float:
    """How often at most, over true chances that A alone and that B alone is right, the interval of so many
    pairs lies above their difference: exactly, by the multinomial."""
    logs = [math.lgamma(each + 1) for each in range(pairs + 1)]
    ends = {
        (a, b): paired_proportions_interval(a, b, pairs, confidence=confidence).low
        for a in range(pairs + 1)
        for b in range(pairs + 1 - a)
    }
    worst = 0.0
    for only_a, only_b in chances:
        rest = math.log1p(-only_a - only_b)
        missed = math.fsum(
            math.exp(
                logs[pairs] - logs[a] - logs[b] - logs[pairs - a - b]
                + a * math.log(only_a) + b * math.log(only_b) + (pairs - a - b) * rest
            )
            for (a, b), low in ends.items()
            if low > only_b - only_a
        )  # fmt: skip
        worst = max(worst, missed)
    return worst


@pytest.mark.parametrize("pairs", [20, 50])
def test_tango_passes_no_worse_release_too_often(pairs: int) -> None:
    """Whatever the truth on a grid, the 95% interval lies above a difference of zero or less at most 5%
    of the time, which is what a gate promises."""
    chances = ((a, b) for a in CHANCES for b in CHANCES if b <= a and b + a < 1)
    assert 0.02 < most_missed(pairs, chances) <= 0.05


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.betavariate(9, 1) - rng.betavariate(9, 1),
        lambda rng: -1.0 if rng.random() < 0.02 else 0.02 / 0.98,
        lambda rng: rng.choice([-1.0, 1.0]),
    ],
    ids=["beta", "a rare loss among small gains", "two-point"],
)
def test_betting_holds_its_rate(draw: Callable[[random.Random], float]) -> None:
    """On shapes where a t interval misses up to 15% of the time, each end misses at most 2.5% (300 runs of
    60 values, so at most 14 misses but for a chance of 1%)."""
    rng = random.Random(20261101)
    above = below = 0
    for _ in range(300):
        found = bounded_interval([draw(rng) for _ in range(60)], low=-1, high=1, rng=rng)
        above += found.low > 0
        below += found.high < 0
    assert max(above, below) <= 14


def test_betting_bets_as_published() -> None:
    """At the lower end the capital of the published bets, worked out here step by step, is forty times the
    stake: one over 2.5%."""
    values = [0.9, 0.4, 0.7, 1.0, 0.6, 0.8, 0.2, 0.9, 0.9, 0.5] * 4
    found = bounded_interval(values, low=0, high=1, rng=random.Random(3))
    random.Random(3).shuffle(values)
    capital, seen = 1.0, [0.5]
    means, variance = [0.5], 0.25
    for value in values:
        bet = math.sqrt(2 * math.log(1 / 0.025) / (len(values) * variance))
        capital *= 1 + min(bet, 0.75 / found.low) * (value - found.low)
        seen.append(value)
        means.append(sum(seen) / len(seen))
        squares = 0.25 + sum((x - m) ** 2 for x, m in zip(seen[1:], means[1:], strict=True))
        variance = squares / len(seen)
    assert capital == pytest.approx(40, rel=1e-6)


def test_betting_narrows() -> None:
    """It is near the exact interval for yes and no, and says something about values that are all alike."""
    values = [1.0] * 140 + [0.0] * 60
    found = bounded_interval(values, low=0, high=1, rng=random.Random(1))
    exact = 0.762610 - 0.631350  # Clopper and Pearson's interval for 140 of 200
    assert found.high - found.low < 1.5 * exact
    alike = bounded_interval([5.0] * 50, low=0, high=5, rng=random.Random(1))
    assert (alike.estimate, alike.high) == (5, 5)
    assert 4 < alike.low < 4.9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 99))
def test_betting_holds_the_mean(values: list[float], seed: int) -> None:
    """Any values in range give ends in range about their mean; turned around they give it turned around."""
    found = bounded_interval(values, low=0, high=1, rng=random.Random(seed))
    assert -1e-9 <= found.low <= found.estimate <= found.high <= 1 + 1e-9
    turned = bounded_interval([1 - each for each in values], low=0, high=1, rng=random.Random(seed))
    assert turned.low == pytest.approx(1 - found.high, abs=1e-6)


def test_betting_takes_only_what_is_in_range() -> None:
    """A value out of range would break its promise, so it is refused, as none at all is."""
    for wrong in ([], [0.5, 1.1]):
        with pytest.raises(ValueError, match="in range"):
            bounded_interval(wrong, low=0, high=1, rng=random.Random(1))
