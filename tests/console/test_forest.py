"""The forest plot: intervals where they belong, about zero, with the margin and round numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.cli.probe_report import lines
from airboss.console.forest import forest, marks
from airboss.evaluations.bias_measures import Finding
from airboss.evaluations.intervals import Interval

ENDS = st.floats(-3, 3).map(lambda value: round(value, 6))


def finding(low: float, estimate: float, high: float, **given: Any) -> Finding:
    """A finding with this interval."""
    gap = Interval(estimate=estimate, low=low, high=high, confidence=0.9, method="t")
    fields: dict[str, Any] = {
        "attribute": "origin",
        "reference": "english",
        "group": "arabic",
        "measure": "decision",
        "margin": 0.05,
        "pairs": 60,
        "units": 20,
        "gap": gap,
        "verdict": "inconclusive",
    }
    return Finding(**(fields | given))


@given(st.lists(st.tuples(ENDS, ENDS, ENDS).map(sorted), min_size=1, max_size=9), st.floats(0.01, 1))
def test_everything_stands_in_the_picture(intervals: list[list[float]], margin: float) -> None:
    """Intervals, margin, zero and ticks lie within 0 to 100%, in the order that they have as numbers; in
    characters every line is as wide as the plot at most."""
    picture = forest([finding(*each, margin=margin) for each in intervals], "decision")
    assert picture is not None
    for row, (low, estimate, high) in zip(picture.rows, intervals, strict=True):
        assert 0 <= row.left <= row.middle + 1e-9
        assert row.middle <= row.left + row.width + 1e-9 <= 100 + 2e-9
        assert (row.left > picture.zero) == (low > 0)
        assert (row.middle >= picture.zero - 1e-9) == (estimate >= 0)
        assert row.width == pytest.approx(picture.margin_width * (high - low) / (2 * margin))
    assert picture.margin_left + picture.margin_width / 2 == pytest.approx(picture.zero)
    assert 2 <= len(picture.ticks) <= 6
    assert [tick.left for tick in picture.ticks if tick.value == 0] == [pytest.approx(picture.zero)]
    for drawn, row in zip(lines(picture), picture.rows, strict=False):
        assert "●" in drawn
        assert drawn.endswith(row.verdict)


def test_what_is_not_measured_is_not_drawn() -> None:
    """Neither other measures nor findings without an interval."""
    other = finding(0, 1, 2, measure="length", gap=None)
    assert forest([other], "length") is None
    assert forest([finding(0, 1, 2)], "length") is None


def test_a_plot_in_characters() -> None:
    """A line a group with its interval, the margin shaded about zero, numbers below."""
    shown = [
        finding(-0.4, -0.3, -0.2, verdict="different"),
        finding(-0.03, 0.0, 0.03, group="chinese", verdict="equivalent"),
    ]
    picture = forest(shown, "decision")
    assert picture is not None
    assert lines(picture, 41) == [
        "origin arabic    ├────────●───────┤           ░░░░│░░░░░   different",
        "origin chinese                                ░░├─●──┤░░   equivalent",
        "                -0.4    -0.3    -0.2    -0.1      0",
    ]


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_marks_are_few_and_round(low: float, span: float) -> None:
    """Two to six of them, within the ends, with zero where it lies between."""
    high = low + span
    found = marks(low, high)
    assert 2 <= len(found) <= 6
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    assert all(low - slack <= each <= high + slack for each in found)
    assert 0.0 in found or not low <= 0 <= high
