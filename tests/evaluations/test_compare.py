"""Two releases compared by item."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.score import ScoreValue
from airboss.evaluations.compare import Comparison, Metric, Observed, compare, compare_all, standing
from airboss.evaluations.gate import Gate, decide
from airboss.evaluations.intervals import Mean, mcnemar_exact, paired_proportions_interval, wilson_interval
from airboss.evaluations.marks import scored, unscored

YES = Metric(name="exact", bounds=(0.0, 1.0))
GRADE = Metric(name="grade", bounds=(0.0, 1.0))
TIME = Metric(name="latency", higher_is_better=False)


def pairs(*values: tuple[ScoreValue, ScoreValue]) -> list[Observed]:
    """One item for each pair of values."""
    return [
        Observed(item=f"{index}", unit=f"item {index}", a=(scored(a),), b=(scored(b),))
        for index, (a, b) in enumerate(values)
    ]


def compared(metric: Metric, observed: list[Observed]) -> Comparison:
    """The comparison at the usual level."""
    return compare(metric, observed, alpha=0.05, seed=0)


def test_yes_or_no_by_item() -> None:
    """Marks of yes or no get McNemar's test and Tango's interval, over the pairs and not the totals."""
    found = compared(
        YES, pairs(*[(True, True)] * 20, *[(False, True)] * 12, *[(True, False)] * 2, *[(False, False)] * 20)
    )
    assert (found.items, found.pairs, found.units) == (54, 54, 54)
    assert (found.better, found.worse, found.equal) == (12, 2, 40)
    assert found.test == mcnemar_exact(2, 12)
    assert found.gap == paired_proportions_interval(2, 12, 54)
    assert found.mean_a is not None
    assert found.mean_b is not None
    assert (found.mean_a.interval, found.mean_b.interval) == (
        wilson_interval(22, 54),
        wilson_interval(32, 54),
    )
    assert found.detectable is not None
    assert 0.15 < found.detectable < 0.25


def test_pairing_finds_what_totals_hide() -> None:
    """Ten items that all change one way among a hundred are found, though 50% against 60% unpaired is not."""
    found = compared(YES, pairs(*[(True, True)] * 50, *[(False, True)] * 10, *[(False, False)] * 40))
    assert found.test is not None
    assert found.test.p_value == pytest.approx(2 / 2**10)


def test_what_is_unscored_is_left_out_and_told() -> None:
    """A pair needs both sides; the sides that lack one are counted, with the causes."""
    observed = pairs((True, False), (True, True))
    observed += [
        Observed(item="x", unit="item x", a=(unscored("504"),), b=(scored(True),)),
        Observed(item="y", unit="item y", a=(unscored("504"),), b=(unscored("no JSON"),)),
    ]
    found = compared(YES, observed)
    assert (found.items, found.pairs, found.unscored_a, found.unscored_b) == (4, 2, 2, 1)
    assert found.causes == {"504": 2, "no JSON": 1}
    nothing = compared(YES, observed[2:])
    assert (nothing.pairs, nothing.difference, nothing.test) == (0, None, None)


def test_repeats_are_averaged() -> None:
    """An item asked three times is one pair of its means; a repeat that failed is left out of its mean."""
    marks = (scored(True), scored(False), scored(True))
    found = compared(
        YES,
        [
            Observed(item=f"{index}", unit=f"item {index}", a=marks, b=(scored(True), unscored("x")))
            for index in range(4)
        ],
    )
    assert found.units == 4
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(1 / 3)
    assert found.difference.method == "betting"
    assert found.test is not None
    assert (found.test.method, found.test.p_value) == ("sign-flip-exact", 2 / 2**4)


def test_a_group_counts_once() -> None:
    """A hundred items of one person who likes B are one unit, not a hundred."""
    grouped = [
        Observed(item=f"{index}", unit="group ann", a=(scored(False),), b=(scored(True),))
        for index in range(100)
    ]
    found = compared(YES, grouped + pairs((True, True), (False, False)))
    assert (found.pairs, found.units, found.better) == (102, 3, 1)
    assert found.test is not None
    assert found.test.p_value == 1.0


def test_numbers_without_bounds() -> None:
    """Milliseconds get a t interval; less is better, so a smaller mean of B counts as better."""
    rng = random.Random(4)
    found = compared(TIME, pairs(*[(100 + rng.gauss(0, 5), 90 + rng.gauss(0, 5)) for _ in range(40)]))
    assert found.gap is not None
    assert found.gap.method == "t"
    assert found.gap.high < 0
    assert found.better > 35


def test_of_one_unit_there_are_means_and_no_interval() -> None:
    """Six items of one person have means and a difference; neither an interval nor a verdict is made up."""
    marks = [(4.0, 6.0), (6.0, 9.0), (2.0, 3.0), (8.0, 9.0), (5.0, 4.0), (5.0, 5.0)]
    observed = [
        Observed(item=f"{index}", unit="group ann", a=(scored(a),), b=(scored(b),))
        for index, (a, b) in enumerate(marks)
    ]
    (found,) = compare_all([(TIME, observed)], alpha=0.05, seed=0)
    assert (found.pairs, found.units) == (6, 1)
    assert (found.mean_a, found.mean_b, found.difference) == tuple(Mean(estimate=n) for n in (5.0, 6.0, 1.0))
    assert (found.gap, standing(found, 0.05), found.detectable) == (None, None, None)
    alone = compared(TIME, [msgspec.structs.replace(each, a=()) for each in observed])
    assert (alone.mean_a, alone.mean_b, alone.difference) == (None, Mean(estimate=6.0), None)
    gate = Gate(metric="latency", rule="better")
    finding = decide([gate], [found], alpha=0.05).findings[0]
    assert (finding.conclusion, finding.reason) == (
        "inconclusive",
        "latency: 1 unit, too few for an interval; use more items",
    )


def test_labels_are_counted_and_not_compared() -> None:
    """A label has no better and no worse."""
    found = compared(Metric(name="tone"), pairs(("formal", "casual"), ("formal", "formal")))
    assert found.labels == {"casual": (0, 1), "formal": (2, 1)}
    assert (found.difference, found.test) == (None, None)


def test_several_metrics_are_adjusted_together() -> None:
    """Holm's adjustment is over the metrics that were tested."""
    strong = pairs(*[(False, True)] * 12)
    weak = pairs(*[(False, True)] * 6)
    found = compare_all(
        [(YES, strong), (Metric(name="tone"), pairs(("a", "b"))), (Metric(name="w", bounds=(0, 1)), weak)],
        alpha=0.05,
        seed=0,
    )
    assert [each.p_adjusted for each in found] == [4 / 2**12, None, 2 / 2**6]


@settings(deadline=None)  # machines are busy at times
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=25), st.booleans())
def test_swapping_the_releases_turns_everything_around(values: list[tuple[float, float]], up: bool) -> None:
    """Neither side is favoured."""
    metric = Metric(name="m", bounds=(0.0, 1.0), higher_is_better=up)
    one = compared(metric, pairs(*values))
    other = compared(metric, pairs(*[(b, a) for a, b in values]))
    assert (one.better, one.worse) == (other.worse, other.better)
    assert one.gap is not None
    assert other.gap is not None
    assert one.gap.low == pytest.approx(-other.gap.high, abs=1e-6)
    assert one.gap.estimate == pytest.approx(-other.gap.estimate, abs=1e-12)
    assert one.test == other.test
    assert one == compared(metric, pairs(*values))


def test_alike_releases_differ_at_the_stated_rate() -> None:
    """Of 400 comparisons of a release with its equal, at most 5% (and 3 standard deviations) are called
    different, for yes-or-no marks and for grades."""
    rng = random.Random(20261124)
    for metric, draw in ((YES, lambda: rng.random() < 0.8), (GRADE, lambda: rng.betavariate(8, 2))):
        called = 0
        for _ in range(400):
            found = compare(metric, pairs(*[(draw(), draw()) for _ in range(15)]), alpha=0.05, seed=1)
            assert found.test is not None
            called += found.test.p_value <= 0.05
        assert called <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
