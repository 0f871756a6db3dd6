"""The geometry behind the pictures: intervals about zero, shares over time, differences line by line."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.console.changes import Change
from airboss.console.difference import COMPARED_MAX, LINES_MAX, compared, one
from airboss.console.marks import LETTER, beside
from airboss.console.picture import Spread, marks, picture
from airboss.console.query import Period
from airboss.console.shares import HEIGHT, shares, time_marks
from airboss.console.text import on_axis
from airboss.domain.ports import ReleaseBucket

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = Period(since=START, until=START + timedelta(hours=1), key="1h")


def spread(low: float, estimate: float, high: float) -> Spread:
    """A row."""
    return Spread(label="now", low=low, high=high, estimate=estimate)


def test_the_margin_lies_on_the_worse_side() -> None:
    """Left of zero where more is better, right of it where less is."""
    up = picture([spread(-0.02, 0.0, 0.03)], margin=0.05, higher_is_better=True, words=str)
    down = picture([spread(-0.02, 0.0, 0.03)], margin=0.05, higher_is_better=False, words=str)
    assert up is not None
    assert down is not None
    assert up.margin is not None
    assert down.margin is not None
    assert up.margin < up.zero
    assert down.margin > down.zero


def test_a_wide_interval_is_cut_and_says_so() -> None:
    """The margin keeps its room; an end that is not drawn is marked, an estimate is always drawn in place."""
    found = picture([spread(-1.0, 0.2, 1.0)], margin=0.01, higher_is_better=True, words=str)
    assert found is not None
    (bar,) = found.bars
    assert (bar.cut_left, bar.cut_right) == (True, True)
    assert bar.middle is not None
    assert found.zero < bar.middle < 95
    narrow = picture([spread(-0.02, 0.0, 0.02)], margin=0.01, higher_is_better=True, words=str)
    assert narrow is not None
    assert (narrow.bars[0].cut_left, narrow.bars[0].cut_right) == (False, False)


@given(
    st.lists(st.tuples(*[st.floats(-1, 1)] * 3).map(sorted), min_size=1, max_size=5),
    st.none() | st.floats(1e-4, 0.5),
    st.booleans(),
)
def test_everything_lies_within_the_picture(rows: list[list[float]], margin: float | None, up: bool) -> None:
    """In order, whatever the numbers: no coordinate leaves 0 to 100 or is no number."""
    found = picture(
        [spread(*row) for row in rows], margin=margin, higher_is_better=up, words=lambda value: f"{value:g}"
    )
    assert found is not None
    numbers = [found.zero, *(each.left for each in found.ticks)]
    for bar in found.bars:
        assert bar.middle is not None
        numbers += [bar.left, bar.left + bar.width, bar.middle]
    assert all(math.isfinite(each) and -0.5 <= each <= 100.5 for each in numbers), numbers
    assert 1 <= len(found.ticks) <= 12
    assert "0" in [each.words for each in found.ticks]


def test_nothing_gives_no_picture() -> None:
    """Not an empty axis."""
    assert picture([], margin=0.1, higher_is_better=True, words=str) is None


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.04), (-3.2, 1.1), (0.0, 0.0), (-1.0, 1.0), (-40, 900)])
def test_marks_are_round_and_few(low: float, high: float) -> None:
    """And zero is among them."""
    found = marks(low, high)
    assert 0.0 in found
    assert len(found) <= 7


def bucket(minute: int, arm: str, requests: int, release: str = "aa") -> ReleaseBucket:
    """A step of one release."""
    return ReleaseBucket(
        deployment="d",
        release=release,
        arm=arm,
        start=START + timedelta(minutes=minute),
        requests=requests,
        errors=1,
        counted=requests,
    )


def test_shares_stack_to_the_whole() -> None:
    """Each step that had calls is full, stable below; one without is a gap; our own calls are left out."""
    found = shares(
        [
            bucket(0, "stable", 90),
            bucket(0, "canary", 10, "bb"),
            bucket(10, "stable", 5),
            bucket(20, "override", 50, "cc"),
        ],
        HOUR,
        step_s=600,
    )
    assert (found.requests, found.own) == (105, 50)
    assert [(each.arm, each.requests) for each in found.parts] == [("stable", 95), ("canary", 10)]
    stable, canary = found.parts
    assert stable.path.count("M") == 2
    assert f"v{0.9 * HEIGHT:.2f}" in stable.path
    assert canary.path.startswith("M0.0 0.00")
    assert f"v{0.1 * HEIGHT:.2f}" in canary.path
    assert math.isclose(sum(each.share for each in found.parts), 1.0)
    assert shares([], HOUR, step_s=600).requests == 0


def test_of_a_very_long_text_what_comes_first_is_compared() -> None:
    """From the first line that differs on, wherever that is; what may follow is said; matching is bounded."""
    same = ["same"] * (20 * COMPARED_MAX)
    found = compared("\n".join([*same, "old", "end"]), "\n".join([*same, "new", "end"]))
    assert [(each.mark, each.text) for each in found] == [
        ("gap", f"{len(same):,} lines are the same"),
        ("removed", "old"),
        ("added", "new"),
        ("same", "end"),
    ]
    grown = compared("\n".join(same), "\n".join(same * 2))
    assert (len(grown), grown[0].mark, grown[1].mark, grown[-1].text) == (LINES_MAX + 1, "gap", "added", "…")
    odd = "\n".join("x" if n % 2 else "" for n in range(200_000))
    assert compared(odd, odd.replace("x", "y"))[-1].text == "…"


def test_a_long_text_is_compared_line_by_line() -> None:
    """What is the same far from a change is left out, and said to be."""
    old = "\n".join(f"line {n}" for n in range(30))
    found = compared(old, old.replace("line 15", "changed"))
    assert [(each.mark, each.text) for each in found if each.mark in ("added", "removed")] == [
        ("removed", "line 15"),
        ("added", "changed"),
    ]
    assert [each.text for each in found if each.mark == "gap"] == [
        "13 lines are the same",
        "12 lines are the same",
    ]


def test_a_short_value_stands_side_by_side() -> None:
    """Numbers, and lists as JSON; what was not there is nothing."""
    number = one(Change(path="params.temperature", kind="changed", before=0.2, after=1))
    assert (number.before, number.after, number.lines) == ("0.2", "1", ())
    new = one(Change(path="policy", kind="added", after="strict"))
    assert (new.before, new.after) == (None, "strict")
    for kind in (list, tuple):
        before, after = kind([["a", "b"]]), kind([["a", "b"], ["c", "d"]])
        examples = one(Change(path="examples", kind="changed", before=before, after=after))
        assert [each.mark for each in examples.lines] == ["same", "added"]


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 60)), max_size=9))
def test_words_of_marks_never_stand_on_others(found: list[tuple[float, int]]) -> None:
    """Nor beyond the picture where they have room before their mark; a mark without words is still drawn."""
    given_marks = [(left, START, "w" * length) for left, length in sorted(found)]
    put = beside(given_marks)
    assert [(each.left, each.words) for each in put] == [
        (round(left, 2), words) for left, _at, words in given_marks
    ]
    end = 0.0
    for each in put:
        if each.shown != "not":
            wide = LETTER * (len(each.words) + 1)
            start = each.left - wide if each.shown == "before" else each.left
            assert start >= end - 0.02
            assert start >= -0.02
            end = start + wide
            assert end <= 100.02


def test_the_first_of_two_marks_that_are_close_keeps_its_words() -> None:
    """The later one's would stand on them."""
    put = beside(
        [(53.0, START, "release smollm2 and 4 more"), (60.0, START, "rollout of reviews abort and 1 more")]
    )
    assert [each.shown for each in put] == ["after", "not"]


@pytest.mark.parametrize(
    ("length", "few", "first"),
    [
        (timedelta(minutes=15), 3, "12:02"),
        (timedelta(hours=6), 5, "13:00"),
        (timedelta(days=1), 5, "16:00"),
        (timedelta(days=7), 6, "25 Nov"),
        (timedelta(days=30), 4, "26 Nov"),
    ],
)
def test_every_length_of_time_has_an_axis(length: timedelta, few: int, first: str) -> None:
    """Of a week each day is named; a lone time at its beginning would say nothing."""
    found = time_marks(Period(since=START, until=START + length, key=None))
    assert few <= len(found) <= 8
    assert on_axis(found[0].at, UTC, day=found[0].day) == first
    assert on_axis(datetime(2026, 11, 25, tzinfo=UTC), UTC, day=False) == "25 Nov"
