"""A histogram counts each value in the first bucket whose bound it does not exceed."""

from __future__ import annotations

import random

import pytest

from airboss.telemetry.metrics import Histogram

BOUNDS = (0.5, 1.0, 2.0, 5.0)
SEED = 20261202


def test_values_are_counted_by_inclusive_bounds() -> None:
    """Many at once as one by one, at the bounds and beyond the last of them."""
    rng = random.Random(SEED)
    values = [rng.choice((*BOUNDS, rng.uniform(0, 8))) for _ in range(500)]
    at_once, singly = (Histogram([0] * (len(BOUNDS) + 1)) for _ in range(2))
    at_once.observe(values, BOUNDS)
    at_once.observe([], BOUNDS)
    for value in values:
        singly.observe([value], BOUNDS)
    lower = (float("-inf"), *BOUNDS)
    upper = (*BOUNDS, float("inf"))
    told = [sum(low < value <= high for value in values) for low, high in zip(lower, upper, strict=True)]
    assert at_once.counts == singly.counts == told, f"seed {SEED}"
    assert at_once.total == pytest.approx(sum(values))


def test_milliseconds_are_counted_as_seconds() -> None:
    """By bounds in milliseconds; the sum is in seconds, beside what it was."""
    histogram = Histogram([0, 0, 0], total=1.0)
    histogram.observe_ms([250.0, 1000.0, 3000.0], (500.0, 1000.0))
    assert (histogram.counts, histogram.total) == ([1, 1, 1], 5.25)
