"""Quantiles and tails that intervals are made of. Pure Python; the relative error is below 1e-9 where tested.

Sources: NIST DLMF 8.17 (incomplete beta function) with the continued fraction 8.17.22, evaluated by Lentz's
method as in Press et al., Numerical Recipes, section 5.2; quantiles by bisection. Checked against scipy in
tests/evaluations/test_quantiles.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

_TERMS_MAX: Final = 10_000
"""The fraction needs about sqrt(max(a, b)) terms, so this reaches parameters of 10^7 and more."""
_TINY: Final = 1e-300
_EPSILON: Final = 1e-15
_HALVINGS: Final = 200
"""More than enough to bring any start interval of doubles down to neighbours."""


def normal_quantile(probability: float) -> float:
    """The standard normal distribution's quantile; 0 < probability < 1."""
    return NormalDist().inv_cdf(probability)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): how likely a Beta(a, b) variable is at most `x`.

    `a` and `b` are positive. Raises ValueError for others, or where the fraction does not settle.
    """
    if a <= 0 or b <= 0:
        raise ValueError(f"a beta distribution with a={a}, b={b}; both must be positive")
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The fraction settles fast on this side of the mean; the other side is its mirror (8.17.4).
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _fraction(x, a, b) / a
    return 1.0 - math.exp(log_front) * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, _away_from_zero(1 - (a + b) * x / (a + 1))
    d = 1 / d
    value = d
    for m in range(1, _TERMS_MAX):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            value *= c * d
        if abs(c * d - 1) < _EPSILON * 10:
            return value
    raise ValueError(f"I_{x}({a}, {b}) did not settle in {_TERMS_MAX} terms")


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The `x` with I_x(a, b) = probability; 0 <= probability <= 1."""
    if probability <= 0:
        return 0.0
    if probability >= 1:
        return 1.0
    return solve_rising(lambda x: beta_cdf(x, a, b) - probability, 0.0, 1.0)


def t_quantile(probability: float, degrees: float) -> float:
    """Student's t distribution's quantile; 0 < probability < 1, `degrees` of freedom > 0.

    By the beta distribution: t squared / (degrees + t squared) is Beta(1/2, degrees/2).
    """
    if probability == 0.5:
        return 0.0
    tail = min(probability, 1 - probability)
    # 1 - B is Beta(degrees/2, 1/2); asked for this side, a far tail keeps its digits.
    rest = beta_quantile(2 * tail, degrees / 2, 0.5)
    size = math.sqrt(degrees * (1 - rest) / rest)
    return size if probability > 0.5 else -size


def solve_rising(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero between `low` and `high`, to the last bit or so."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
