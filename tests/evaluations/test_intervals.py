"""Intervals and tests against scipy 1.17.1 and statsmodels 0.15.0, whose numbers are written here."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.evaluations.intervals import (
    ALPHA_MIN,
    holm,
    mcnemar_exact,
    mean_interval,
    minimum_detectable_effect,
    odd_alpha,
    paired_proportions_interval,
    sign_flip,
    wilson_interval,
)
from airboss.evaluations.quantiles import normal_quantile

VALUES = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4]


@pytest.mark.parametrize(
    ("successes", "trials", "wilson"),
    [
        (0, 20, (0.0, 0.1611251580528194)),
        (3, 20, (0.052368745896216595, 0.36041886474075696)),
        (20, 20, (0.8388748419471804, 1.0)),
        (95, 100, (0.8882495307680808, 0.9784563208456319)),
        (999, 1000, (0.9943574414020421, 0.9998234536293739)),
        (1, 2, (0.09453120573423068, 0.9054687942657693)),
    ],
)
def test_proportions(successes: int, trials: int, wilson: tuple[float, float]) -> None:
    """Wilson's interval is that of statsmodels."""
    found = wilson_interval(successes, trials)
    assert (found.low, found.high) == pytest.approx(wilson, abs=1e-12)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (0, 0, 1.0),
        (1, 9, 0.021484375),
        (5, 5, 1.0),
        (30, 12, 0.007915897334896727),
        (0, 6, 0.03125),
        (700, 900, 6.319484959450105e-07),
    ],
)
def test_mcnemar(only_a: int, only_b: int, p_value: float) -> None:
    """McNemar's test is scipy's binomial test on the pairs that differ, beyond a thousand of them too."""
    assert mcnemar_exact(only_a, only_b).p_value == pytest.approx(p_value, rel=1e-9)


def test_sign_flip_is_exact_for_few() -> None:
    """With nine differences all signs are tried; scipy's permutation_test gives the same."""
    found = sign_flip([0.5, -0.25, 1, 0.75, 0.3, 0.2, -0.1, 0, 0.6], rng=random.Random(0))
    assert (found.p_value, found.method, found.units) == (0.0546875, "sign-flip-exact", 8)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=16))
def test_sign_flip_of_yes_and_no_is_mcnemar(differences: list[float]) -> None:
    """On differences of one size the two exact tests are one."""
    flipped = sign_flip(differences, rng=random.Random(0)).p_value
    assert flipped == pytest.approx(mcnemar_exact(differences.count(-1), differences.count(1)).p_value)


def test_sign_flip_is_drawn_for_many() -> None:
    """Beyond sixteen, p comes from draws near the exact value, is the same for the same seed, and never 0."""
    differences = [1.0] * 12 + [-1.0] * 30
    found = sign_flip(differences, rng=random.Random(1))
    assert found.method == "sign-flip-drawn"
    assert found.p_value == pytest.approx(mcnemar_exact(30, 12).p_value, abs=0.003)
    assert found == sign_flip(differences, rng=random.Random(1))
    assert sign_flip([1.0] * 60, rng=random.Random(1)).p_value == 1 / 20_001


def test_means() -> None:
    """The t interval is scipy's; with clusters it is the cluster-robust one of statsmodels."""
    plain = mean_interval(VALUES)
    assert (plain.low, plain.high) == pytest.approx((0.24504363712183003, 0.72995636287817), abs=1e-9)
    clustered = mean_interval(VALUES, clusters=[0, 0, 1, 1, 1, 2, 3, 3])
    assert (clustered.low, clustered.high) == pytest.approx((0.17416217, 0.80083783), abs=1e-8)
    assert clustered.estimate == plain.estimate == pytest.approx(0.4875)


def test_what_cannot_have_an_interval() -> None:
    """Too few values, and counts that do not fit, are refused with what was seen."""
    for wrong in ([], [1.0]):
        with pytest.raises(ValueError, match="needs two"):
            mean_interval(wrong)
    with pytest.raises(ValueError, match="one key for each"):
        mean_interval([1.0, 2.0], clusters=[1])
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="must fit"):
        paired_proportions_interval(2, 2, 3)
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)
    with pytest.raises(ValueError, match="positive count"):
        minimum_detectable_effect(1.0, 0)


@pytest.mark.parametrize(("only_a", "only_b", "pairs"), [(2, 12, 54), (7, 3, 44), (0, 1, 30), (0, 0, 25)])
def test_tango_is_the_score_interval(only_a: int, only_b: int, pairs: int) -> None:
    """At each end the score statistic is the normal quantile, with the likeliest truth found here by search
    instead of by his formula."""
    found = paired_proportions_interval(only_a, only_b, pairs)
    for end, sign in ((found.low, 1), (found.high, -1)):
        share = likeliest(only_a, only_b, pairs, end)
        deviation = math.sqrt(pairs * (2 * share + end - end**2))
        assert (only_b - only_a - pairs * end) / deviation == pytest.approx(
            sign * normal_quantile(0.975), abs=1e-3
        )


def likeliest(only_a: int, only_b: int, pairs: int, difference: float) -> float:
    """The chance of a yes of A alone that makes the counts likeliest when B's share is `difference` more."""

    def log(count: int, chance: float) -> float:
        return count * math.log(chance) if count else 0.0

    low, high = max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
    for _ in range(200):  # the likelihood has one peak
        left, right = low + (high - low) / 3, high - (high - low) / 3
        values = [
            log(only_a, q)
            + log(only_b, q + difference)
            + log(pairs - only_a - only_b, 1 - 2 * q - difference)
            for q in (left, right)
        ]
        low, high = (left, high) if values[0] < values[1] else (low, right)
    return low


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_tango_mirrors(only_a: int, only_b: int, both: int) -> None:
    """Swapping A and B turns the interval around; it lies within -1 to 1 and holds its estimate."""
    pairs = max(1, only_a + only_b + both)
    found = paired_proportions_interval(only_a, only_b, pairs)
    turned = paired_proportions_interval(only_b, only_a, pairs)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)
    assert -1 <= found.low <= found.estimate <= found.high <= 1


def test_holm() -> None:
    """Adjusted p-values are those of statsmodels, in the order given."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.5))
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


def test_minimum_detectable_effect() -> None:
    """With a fifth of 400 pairs differing, 6.3 points are found with 80% probability."""
    assert minimum_detectable_effect(math.sqrt(0.2), 400) == pytest.approx(0.0626, abs=1e-4)


def test_every_alpha_that_may_be_asked_for_has_an_interval() -> None:
    """The least one too; with less than that a confidence is soon 1."""
    for alpha in (ALPHA_MIN, 0.05, 0.4999):
        assert not odd_alpha(alpha)[0]
        spread = mean_interval([1.0, 2.0], confidence=1 - alpha)
        assert math.isfinite(spread.low)
        assert math.isfinite(spread.high)
    assert all(odd_alpha(alpha)[0] for alpha in (0.0, -1.0, 1.3e-148, 0.5, math.nan, math.inf))
