"""Estimates with their intervals, drawn about zero: geometry only, in percent of the width. Pure.

An interval that goes beyond what is drawn is cut, and marked as cut: early in a rollout it spans everything,
and an axis that showed all of it would hide the margin that decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

PAD = 0.06
"""Of the span, left free on both sides."""

MARGINS_MAX = 12.0
"""So many margins from zero an axis shows at most."""

CUT = 2.0
"""Percent left free for the mark of a cut."""

FALLBACK = 1e-9
"""The least span of an axis."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn in one row: `low` <= `high`, and the estimate where there is one. `label` names the row,
    `note` says what it rests on, `look` how it stands (`ok`, `bad`, `open`)."""

    label: str
    low: float
    high: float
    estimate: float | None
    note: str = ""
    look: str = "open"


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One row, in percent. `cut_left` and `cut_right`: the interval goes on beyond the picture."""

    spread: Spread
    left: float
    width: float
    middle: float | None
    cut_left: bool
    cut_right: bool


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A mark of the axis, in percent, and its words."""

    left: float
    words: str


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Rows on one axis. `margin` is where "worse by the margin" begins, None without one. `worse_left`: less
    is worse; None: neither is."""

    bars: tuple[Bar, ...]
    zero: float
    margin: float | None
    worse_left: bool | None
    ticks: tuple[Tick, ...]


def picture(
    spreads: Sequence[Spread],
    *,
    margin: float | None,
    higher_is_better: bool | None,
    words: Callable[[float], str],
) -> Picture | None:
    """Rows on one axis that has zero and the margin on it; None of nothing.

    `margin` > 0 is how much worse is still borne, in the values' own units.
    """
    if not spreads:
        return None
    edge = None if margin is None else -margin if higher_is_better else margin
    ends = [0.0, *([2 * edge] if edge is not None else [])]
    for each in spreads:
        ends += [each.low, each.high]
    low, high = min(ends), max(ends)
    if margin is not None:
        # The whole of an early interval would press margin and zero together; estimates are never cut.
        reach = max(MARGINS_MAX * margin, *(1.3 * abs(each.estimate or 0.0) for each in spreads), 0.0)
        low, high = max(low, -reach), min(high, reach)
    pad = PAD * max(high - low, FALLBACK)
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    return Picture(
        bars=tuple(
            Bar(
                spread=each,
                left=at(each.low) + CUT * (each.low < low),
                width=round(
                    max(at(each.high) - at(each.low) - CUT * ((each.low < low) + (each.high > high)), 0.3), 2
                ),
                middle=at(each.estimate) if each.estimate is not None else None,
                cut_left=each.low < low,
                cut_right=each.high > high,
            )
            for each in spreads
        ),
        zero=at(0.0),
        margin=at(edge) if edge is not None else None,
        worse_left=higher_is_better,
        ticks=tuple(Tick(left=at(value), words=words(value)) for value in marks(low, high)),
    )


def marks(low: float, high: float) -> tuple[float, ...]:
    """Three to six round numbers between two others, zero among them where it lies between."""
    step = 10 ** math.floor(math.log10(max(high - low, FALLBACK)))
    step *= next(factor for factor in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * factor) <= 5.5)
    first, last = math.ceil(low / step), math.floor(high / step)
    return tuple(round(number * step, 12) for number in range(first, last + 1))
