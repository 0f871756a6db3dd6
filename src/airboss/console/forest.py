"""A forest plot: every group's difference with its interval, about zero. Geometry only, in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from airboss.evaluations.bias_measures import Finding, Measure, Verdict

PAD = 0.04
"""Of the span, left free on both sides."""


class ForestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group. `left` and `width` are its interval, `middle` its estimate, in percent."""

    attribute: str
    group: str
    verdict: Verdict
    left: float
    width: float
    middle: float


class ForestTick(msgspec.Struct, frozen=True, kw_only=True):
    """A mark on the axis; `left` in percent."""

    left: float
    value: float


class Forest(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of one measure. `zero` is where no difference stands; the margin is the band of
    `margin_width` from `margin_left`."""

    measure: Measure
    rows: tuple[ForestRow, ...]
    zero: float
    margin_left: float
    margin_width: float
    ticks: tuple[ForestTick, ...]


def forest(findings: Sequence[Finding], measure: Measure) -> Forest | None:
    """The picture of a measure; None where nothing of it has an interval."""
    drawn = [(each, each.gap) for each in findings if each.measure == measure and each.gap is not None]
    if not drawn:
        return None
    margin = drawn[0][0].margin
    low = min(-margin, *(gap.low for _, gap in drawn))
    high = max(margin, *(gap.high for _, gap in drawn))
    pad = PAD * (high - low)
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        return 100 * (value - low) / (high - low)

    return Forest(
        measure=measure,
        rows=tuple(
            ForestRow(
                attribute=each.attribute,
                group=each.group,
                verdict=each.verdict,
                left=at(gap.low),
                width=at(gap.high) - at(gap.low),
                middle=at(gap.estimate),
            )
            for each, gap in drawn
        ),
        zero=at(0.0),
        margin_left=at(-margin),
        margin_width=at(margin) - at(-margin),
        ticks=tuple(ForestTick(left=at(value), value=value) for value in marks(low, high)),
    )


def marks(low: float, high: float) -> tuple[float, ...]:
    """Two to six round numbers between two others, zero among them where it lies between."""
    step = 10 ** math.floor(math.log10(high - low))
    for factor in (0.2, 0.25, 0.5, 1.0, 2.0):
        if (high - low) / (step * factor) <= 5:
            step *= factor
            break
    first, last = math.ceil(low / step), math.floor(high / step)
    return tuple(round(number * step, 10) for number in range(first, last + 1))
