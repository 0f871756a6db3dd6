"""An interval for the mean of bounded values that holds for every sample size and every shape.

Suppose the mean were m, and bet against it: a fair game's capital grows twentyfold with probability 5% at
most. The supposed means that the bets make us rich against are left out of the interval.

Source: I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86
(2024), 1-27: the predictable plug-in bets of their section 4, one game for each side. For yes-or-no values it
is about a third wider than the exact interval, and unlike a t interval it does not claim to be certain when
all values seen are alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from airboss.evaluations.intervals import CONFIDENCE, Interval
from airboss.evaluations.quantiles import solve_rising

_STAKE_MAX: Final = 0.75
"""No bet stakes more than this share of the capital, so that it never runs out."""
_LEAST_MEAN: Final = 1e-9


def bounded_interval(
    values: Sequence[float], *, low: float, high: float, rng: random.Random, confidence: float = CONFIDENCE
) -> Interval:
    """The interval for the mean of independent values in [low, high]; each end is missed with at most
    (1 - confidence) / 2.

    The values are bet on in an order drawn from `rng`: in the order of a file neighbours are alike. Raises
    ValueError for none, or for one out of range.
    """
    if not values or not all(low <= value <= high for value in values) or not low < high:
        raise ValueError(f"{len(values)} values, not all in [{low}, {high}]; give one at least, in range")
    scaled = [(value - low) / (high - low) for value in values]
    rng.shuffle(scaled)
    tail = (1 - confidence) / 2
    mean = math.fsum(values) / len(values)
    below = _lower(scaled, tail)
    above = 1 - _lower([1 - value for value in scaled], tail)
    return Interval(
        estimate=mean,
        low=min(mean, low + below * (high - low)),
        high=max(mean, low + above * (high - low)),
        confidence=confidence,
        method="betting",
    )


def _lower(values: Sequence[float], tail: float) -> float:
    """The largest mean that bets on "more" make rich against; `values` are in [0, 1]."""
    goal = math.log(1 / tail)
    stakes = _stakes(values, goal)

    def short_of_goal(mean: float) -> float:
        # A stake is bounded by the supposed mean, so that the capital stays positive whatever comes.
        return goal - math.fsum(
            math.log1p(min(stake, _STAKE_MAX / mean) * (value - mean))
            for stake, value in zip(stakes, values, strict=True)
        )

    if short_of_goal(_LEAST_MEAN) > 0:
        return 0.0
    return solve_rising(short_of_goal, _LEAST_MEAN, 1.0)


def _stakes(values: Sequence[float], goal: float) -> list[float]:
    """What to stake on each value, from those before it alone."""
    total, squares = 0.5, 0.25  # one value at the middle, with the largest spread there is
    stakes = []
    for seen, value in enumerate(values, 1):
        stakes.append(math.sqrt(2 * goal / (len(values) * squares / seen)))
        total += value
        squares += (value - total / (seen + 1)) ** 2
    return stakes
