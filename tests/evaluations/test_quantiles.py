"""Quantiles against scipy 1.17.1, whose numbers are written here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.evaluations.quantiles import beta_cdf, beta_quantile, normal_quantile, t_quantile


@pytest.mark.parametrize(
    ("x", "a", "b", "expected"),
    [
        (0.1, 2, 3, 0.0523),
        (0.5, 0.5, 0.5, 0.5),
        (0.999, 500, 1, 0.6063789448611847),
        (0.3, 1000, 2500, 0.9684219902784668),
        (0.01, 0.5, 30, 0.560665631094749),
        (0.9, 5e5, 5e4, 2.8935357608869644e-115),
    ],
)
def test_beta_cdf(x: float, a: float, b: float, expected: float) -> None:
    """The incomplete beta function is scipy's, far tails and large parameters included."""
    assert beta_cdf(x, a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("probability", "a", "b", "expected"),
    [
        (0.025, 7, 94, 0.028605288907438704),
        (0.975, 8, 93, 0.13891972845585732),
        (0.5, 0.5, 0.5, 0.5),
        (1e-6, 3, 4, 0.003694265299405909),
        (0.025, 1, 50, 0.000506227983040829),
    ],
)
def test_beta_quantile(probability: float, a: float, b: float, expected: float) -> None:
    """Its inverse is scipy's as well."""
    assert beta_quantile(probability, a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [
        (0.975, 1, 12.706204736174694),
        (0.975, 9, 2.262157162798205),
        (0.975, 99, 1.9842169515864174),
        (0.9, 2.5, 1.7302509288071766),
        (0.0005, 30, -3.645958635042021),
        (0.975, 1e6, 1.959966356814107),
    ],
)
def test_t_quantile(probability: float, degrees: float, expected: float) -> None:
    """So is Student's t."""
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7)


@given(
    st.floats(0.001, 0.999),
    st.floats(0.2, 300),
    st.floats(0.2, 300),
)
def test_quantile_inverts_the_cdf(probability: float, a: float, b: float) -> None:
    """Going there and back gives the probability again, and the mirror image holds."""
    x = beta_quantile(probability, a, b)
    if 1e-12 < x < 1 - 1e-12:
        assert beta_cdf(x, a, b) == pytest.approx(probability, abs=1e-9)
    if 1e-3 < x < 1 - 1e-3:  # nearer to an end, 1 - x itself is rounded too far
        assert beta_cdf(x, a, b) + beta_cdf(1 - x, b, a) == pytest.approx(1, abs=1e-9)


def test_the_ends() -> None:
    """Outside of 0 to 1 there is nothing, at the middle of t is zero, and the normal one is the usual."""
    assert [beta_cdf(x, 2, 2) for x in (-1, 0, 1, 2)] == [0, 0, 1, 1]
    assert t_quantile(0.5, 3) == 0
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054)
    with pytest.raises(ValueError, match="both must be positive"):
        beta_cdf(0.5, 0, 1)
