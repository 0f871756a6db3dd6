"""How sure a number is: intervals, exact paired tests, and what a sample can show at all.

Everything here is a pure function of numbers. Confidence 0.95 means a two-sided 95% interval: each of its
ends is missed with probability 2.5%. Golden values from scipy and statsmodels, and exact coverage, are in
tests/evaluations/test_intervals.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from typing import Final, Literal

import msgspec

from airboss.evaluations.quantiles import (
    beta_cdf,
    normal_quantile,
    solve_rising,
    t_quantile,
)

ALPHA_MIN: Final = 0.000_001
CONFIDENCE: Final = 0.95
"""Of an interval for which nobody asks for another."""

EXACT_FLIPS_MAX: Final = 16
"""Up to so many differences other than zero, all 2^n signs are tried."""
FLIP_DRAWS: Final = 20_000
"""Beyond that so many are drawn; the standard error at p = 0.05 is then 0.0015."""
EXACT_TRIALS_MAX: Final = 1_000
"""Up to so many trials a binomial tail at one half is summed in whole numbers."""

TestMethod = Literal["mcnemar-exact", "sign-flip-exact", "sign-flip-drawn"]
"""How a p-value came about."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """`low <= estimate <= high` where `estimate` is the plain one; `method` names how the ends were found."""

    estimate: float
    low: float
    high: float
    confidence: float
    method: str


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with its interval, as `Interval`; of too few units for one there is `estimate` alone."""

    estimate: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    method: str | None = None

    @classmethod
    def of(cls, found: Interval) -> Mean:
        """A mean with this interval."""
        return cls(**msgspec.structs.asdict(found))

    @property
    def interval(self) -> Interval | None:
        """What a verdict may rest on; None where there are too few units."""
        if self.low is None or self.high is None or self.confidence is None or self.method is None:
            return None
        return Interval(
            estimate=self.estimate,
            low=self.low,
            high=self.high,
            confidence=self.confidence,
            method=self.method,
        )


class PairedTest(msgspec.Struct, frozen=True, kw_only=True):
    """A two-sided test of no difference. `units` is how many independent differences other than zero it
    rests on."""

    p_value: float
    method: TestMethod
    units: int


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """The score interval for a proportion; 0 <= low <= high <= 1.

    Raises ValueError if trials < 1 or successes are not in 0..trials. Source: E. B. Wilson, Probable
    inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212.
    """
    _check_counts(successes, trials)
    z2 = normal_quantile((1 + confidence) / 2) ** 2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * trials)) / trials) / (1 + z2 / trials)
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return Interval(estimate=share, low=low, high=high, confidence=confidence, method="wilson")


def mcnemar_exact(only_a: int, only_b: int) -> PairedTest:
    """Whether two yes-or-no answers to the same items differ: the exact test on the items where they do.

    `only_a` counts the items where A alone says yes. With none that differ, p is 1. Source: Q. McNemar,
    Psychometrika 12 (1947), 153-157, in its binomial form (two-sided: twice the smaller tail).
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"counts of {only_a} and {only_b}; they cannot be negative")
    trials, fewer = only_a + only_b, min(only_a, only_b)
    return PairedTest(
        p_value=min(1.0, 2 * _half_binomial_tail(fewer, trials)), method="mcnemar-exact", units=trials
    )


def sign_flip(differences: Sequence[float], *, rng: random.Random, draws: int = FLIP_DRAWS) -> PairedTest:
    """Whether paired differences centre on zero: the two-sided randomisation test on their sum.

    If A and B are exchangeable within each pair, every way of flipping signs was equally likely. All are
    tried up to EXACT_FLIPS_MAX differences other than zero; beyond, `draws` of them with the observed one
    counted in, p = (1 + at least as far) / (1 + draws), which is valid for any number of draws. Sources:
    R. A. Fisher, The Design of Experiments (1935), section 21; B. Phipson and G. K. Smyth, Permutation
    p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 9 (2010), 39.
    """
    moving = [abs(each) for each in differences if each != 0]
    total = math.fsum(moving)
    # Sums that are equal on paper may differ in their last bits; they count as "at least as far".
    reached = abs(math.fsum(differences)) - 1e-12 * total
    if len(moving) <= EXACT_FLIPS_MAX:
        sums = _all_sums(moving)
        share = sum(abs(each) >= reached for each in sums) / len(sums)
        return PairedTest(p_value=share, method="sign-flip-exact", units=len(moving))
    far = sum(abs(each) >= reached for each in _drawn_sums(moving, rng, draws))
    return PairedTest(p_value=(1 + far) / (1 + draws), method="sign-flip-drawn", units=len(moving))


def mean_interval(
    values: Sequence[float], *, confidence: float = CONFIDENCE, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """A t interval for a mean whose values may come in clusters (the turns of one person, say).

    The variance of the mean is G/(G-1) times the sum over the G clusters of (their sum of deviations)
    squared, over n squared: the cluster-robust (CR1) variance; without clusters it is the usual one. It rests
    on the central limit, so it is for values without bounds (milliseconds, USD); bounded ones have
    `bounded_interval`. Raises ValueError for fewer than two clusters, or a length that does not match.
    Sources: K.-Y. Liang and S. L. Zeger, Biometrika 73 (1986), 13-22; for evaluations of language models,
    E. Miller, arXiv 2411.00640.
    """
    keys: Sequence[Hashable] = range(len(values)) if clusters is None else clusters
    if len(keys) != len(values):
        raise ValueError(f"{len(values)} values with {len(keys)} cluster keys; give one key for each value")
    groups = len(set(keys))
    if groups < 2:
        raise ValueError(f"{groups} independent values; an interval needs two")
    mean = math.fsum(values) / len(values)
    deviations: dict[Hashable, float] = {}
    for value, key in zip(values, keys, strict=True):
        deviations[key] = deviations.get(key, 0.0) + value - mean
    variance = groups / (groups - 1) * math.fsum(each**2 for each in deviations.values()) / len(values) ** 2
    half = t_quantile((1 + confidence) / 2, groups - 1) * math.sqrt(variance)
    method = "t" if clusters is None else "t-clustered"
    return Interval(estimate=mean, low=mean - half, high=mean + half, confidence=confidence, method=method)


def paired_proportions_interval(
    only_a: int, only_b: int, pairs: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """The score interval for B's share of yes minus A's over the same items; -1 <= low <= high <= 1.

    `only_a` of the `pairs` have a yes of A alone, `only_b` of B alone. Computed exactly over a grid of truths
    (test_coverage.py), an end of the 95% interval lies beyond the truth with at most 5% from 20 pairs on, and
    mostly with 2.5%. Raises ValueError for counts that do not fit. Source: T. Tango, Equivalence test and
    confidence interval for the difference in proportions for the paired-sample design, Statistics in
    Medicine 17 (1998), 891-908.
    """
    if pairs < 1 or min(only_a, only_b) < 0 or only_a + only_b > pairs:
        raise ValueError(f"{only_a} and {only_b} differing pairs of {pairs}; they must fit, and one be there")
    z = normal_quantile((1 + confidence) / 2)
    estimate = (only_b - only_a) / pairs
    # The statistic falls as the supposed difference rises.
    low, high = -1.0, 1.0
    if only_a < pairs:
        low = solve_rising(lambda d: z - _tango(only_a, only_b, pairs, d), -1.0, estimate)
    if only_b < pairs:
        high = solve_rising(lambda d: -z - _tango(only_a, only_b, pairs, d), estimate, 1.0)
    return Interval(estimate=estimate, low=low, high=high, confidence=confidence, method="tango")


def _tango(only_a: int, only_b: int, pairs: int, difference: float) -> float:
    """The score statistic for a supposed difference, at the likeliest truth that has it (his equation 9)."""
    d = difference
    linear = (2 * pairs - only_b + only_a) * d - only_a - only_b
    root = math.sqrt(max(0.0, linear**2 + 8 * pairs * only_a * d * (1 - d)))
    share = max(0.0, (root - linear) / (4 * pairs))
    variance = pairs * max(0.0, 2 * share + d * (1 - d))
    distance = only_b - only_a - pairs * d
    if variance == 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for being several, in the order given: whoever calls significant what is at most
    alpha errs with at most alpha over the whole family, however they hang together. Source: S. Holm, A simple
    sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979), 65-70."""
    adjusted = [1.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = reached
    return tuple(adjusted)


POWER = 0.8
"""The usual chance of finding a difference, by which studies are planned."""


def minimum_detectable_effect(deviation: float, count: float, *, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided test at `alpha` finds with probability POWER.

    `deviation` is the standard deviation of one independent paired difference (for yes-or-no about the root
    of the share of items that differ), `count` how many there are. Normal approximation: (z_(1-alpha/2) +
    z_POWER) * deviation / sqrt(count); J. Cohen, Statistical Power Analysis (1988), section 2.
    """
    if count <= 0 or deviation < 0:
        raise ValueError(f"{count} differences of deviation {deviation}; give a positive count")
    return (normal_quantile(1 - alpha / 2) + normal_quantile(POWER)) * deviation / math.sqrt(count)


def odd_alpha(alpha: float) -> tuple[bool, str]:
    """Whether nobody may ask for intervals of confidence 1 - alpha, and why not: with less than ALPHA_MIN
    that is soon 1 in numbers of 64 bits, and an interval without an end."""
    return not ALPHA_MIN <= alpha < 0.5, f"alpha is {alpha}; give {ALPHA_MIN:f} or more, and less than 0.5"


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes in {trials} trials; give 0 <= successes <= trials, trials >= 1"
        )


def _half_binomial_tail(at_most: int, trials: int) -> float:
    """P(X <= at_most) of a binomial with probability one half."""
    if at_most >= trials:
        return 1.0
    if trials <= EXACT_TRIALS_MAX:
        return sum(math.comb(trials, each) for each in range(at_most + 1)) / (1 << trials)
    return beta_cdf(0.5, trials - at_most, at_most + 1)


def _all_sums(sizes: Sequence[float]) -> list[float]:
    sums = [0.0]
    for size in sizes:
        sums = [each + sign for each in sums for sign in (size, -size)]
    return sums


def _drawn_sums(sizes: Sequence[float], rng: random.Random, draws: int) -> list[float]:
    """Sums under random signs. Eight signs make one byte, whose 256 sums are worked out once."""
    tables = [_all_sums(sizes[start : start + 8]) for start in range(0, len(sizes), 8)]
    # A last table of fewer than eight is shorter by powers of two, so that a byte modulo its length is fair.
    lengths = [len(table) for table in tables]
    drawn = []
    for _ in range(draws):
        signs = rng.randbytes(len(tables))
        drawn.append(
            math.fsum(
                table[byte % length] for table, byte, length in zip(tables, signs, lengths, strict=True)
            )
        )
    return drawn
