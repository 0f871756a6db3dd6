"""Two releases compared item by item: how far apart they are, and how sure that is."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from airboss.evaluations.betting import bounded_interval
from airboss.evaluations.few import INTERVAL_UNITS
from airboss.evaluations.intervals import (
    Interval,
    Mean,
    PairedTest,
    holm,
    mcnemar_exact,
    mean_interval,
    minimum_detectable_effect,
    paired_proportions_interval,
    sign_flip,
    wilson_interval,
)
from airboss.evaluations.marks import Mark

CAUSES_MAX: Final = 5
"""Of being unscored; the most frequent are told."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What a scorer measures; fields as in `Scorer`."""

    name: str
    bounds: tuple[float, float] | None = None
    higher_is_better: bool = True


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of one metric on one item, of every repeat. `unit` is what counts once: the item's group, or
    the item."""

    item: str
    unit: str
    a: tuple[Mark, ...]
    b: tuple[Mark, ...]


Standing = Literal["better", "open", "worse"]
"""How B stands to A. `open`: they are not told apart."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What one metric shows. `difference` is B minus A, in the metric's own units.

    Of `items`, `pairs` have a score on both sides; `unscored_a` and `unscored_b` lack one there, and `causes`
    gives the most frequent reasons. Pairs of one group are averaged into one of the `units` that everything
    rests on: on `better` of them B is better, on `worse` A, on `equal` neither. The interval of the
    difference is Tango's for yes-or-no marks, betting's for other bounded ones, and t for the rest, which
    needs two units: of one there are the means without an interval, and nothing is judged. `p_adjusted` is
    Holm's over the run's metrics. Without an A there is only `mean_b`. `detectable` is the smallest true
    difference that so many units find with 80% probability, None where nothing varies. Labels are only
    counted: `labels` has for each how often A and B gave it.
    """

    metric: Metric
    items: int
    pairs: int
    units: int
    unscored_a: int
    unscored_b: int
    causes: dict[str, int]
    better: int = 0
    worse: int = 0
    equal: int = 0
    mean_a: Mean | None = None
    mean_b: Mean | None = None
    difference: Mean | None = None
    test: PairedTest | None = None
    p_adjusted: float | None = None
    detectable: float | None = None
    labels: dict[str, tuple[int, int]] = {}

    @property
    def gap(self) -> Interval | None:
        """The difference with its interval, which a verdict needs; None where there is none."""
        return None if self.difference is None else self.difference.interval


class _Unit(msgspec.Struct, frozen=True):
    a: float
    b: float


def standing(found: Comparison, alpha: float) -> Standing | None:
    """How B stands to A by a comparison that was made at `alpha`; None where nothing was tested."""
    gap, p = found.gap, found.p_adjusted
    if gap is None or p is None:
        return None
    if p > alpha or gap.low <= 0 <= gap.high:
        return "open"
    return "better" if (gap.low > 0) == found.metric.higher_is_better else "worse"


def compare_all(
    observed: Sequence[tuple[Metric, Sequence[Observed]]], *, alpha: float, seed: int
) -> tuple[Comparison, ...]:
    """Every metric compared, with Holm's adjustment over those that could be tested.

    Intervals have confidence 1 - alpha. The same marks and seed give the same numbers.
    """
    found = [compare(metric, marks, alpha=alpha, seed=seed) for metric, marks in observed]
    tested = [each for each in found if each.test is not None]
    adjusted = iter(holm([each.test.p_value for each in tested if each.test is not None]))
    return tuple(
        msgspec.structs.replace(each, p_adjusted=next(adjusted)) if each.test is not None else each
        for each in found
    )


def compare(metric: Metric, observed: Sequence[Observed], *, alpha: float, seed: int) -> Comparison:
    """One metric compared over its items; without marks of A anywhere, B's mean alone."""
    if not any(each.a for each in observed):
        return _alone(metric, observed, alpha=alpha, seed=seed)
    paired = [each for each in observed if _values(each.a) and _values(each.b)]
    units: dict[Hashable, list[_Unit]] = {}
    for each in paired:
        units.setdefault(each.unit, []).append(_Unit(_mean(each.a), _mean(each.b)))
    merged = [
        _Unit(statistics.fmean(one.a for one in held), statistics.fmean(one.b for one in held))
        for held in units.values()
    ]
    labels = _labels(observed)
    comparison = Comparison(
        metric=metric,
        items=len(observed),
        pairs=len(paired),
        units=len(merged),
        unscored_a=sum(not _values(each.a) for each in observed),
        unscored_b=sum(not _values(each.b) for each in observed),
        causes=_causes(observed),
        labels=labels,
    )
    if not merged or labels:
        return comparison
    yes_no = len(merged) == len(paired) and all(
        len(marks) == 1 and isinstance(marks[0].value, bool) for each in paired for marks in (each.a, each.b)
    )
    rng = random.Random(f"{seed} {metric.name}")  # noqa: S311 - seeded, so that a report can be made again
    return _with_numbers(comparison, merged, yes_no=yes_no, alpha=alpha, rng=rng)


def _alone(metric: Metric, observed: Sequence[Observed], *, alpha: float, seed: int) -> Comparison:
    """What B's marks show by themselves: no pairs, no difference, no test."""
    marked = [each for each in observed if _values(each.b)]
    units: dict[Hashable, list[float]] = {}
    for each in marked:
        units.setdefault(each.unit, []).append(_mean(each.b))
    values = [statistics.fmean(held) for held in units.values()]
    labels = _labels(observed)
    yes_no = len(values) == len(marked) and all(
        len(each.b) == 1 and isinstance(each.b[0].value, bool) for each in marked
    )
    rng = random.Random(f"{seed} {metric.name}")  # noqa: S311 - seeded, so that a report can be made again
    return Comparison(
        metric=metric,
        items=len(observed),
        pairs=0,
        units=len(values),
        unscored_a=0,
        unscored_b=len(observed) - len(marked),
        causes=_causes(observed),
        labels=labels,
        mean_b=_side(values, metric, alpha, rng, yes_no=yes_no) if values and not labels else None,
    )


def _with_numbers(
    comparison: Comparison, units: Sequence[_Unit], *, yes_no: bool, alpha: float, rng: random.Random
) -> Comparison:
    metric = comparison.metric
    differences = [unit.b - unit.a for unit in units]
    above, below = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    up = metric.higher_is_better
    if yes_no:
        shown = Mean.of(paired_proportions_interval(below, above, len(units), confidence=1 - alpha))
        test = mcnemar_exact(below, above)
    else:
        width = None if metric.bounds is None else metric.bounds[1] - metric.bounds[0]
        reach = None if width is None else (-width, width)
        shown = _shown(differences, reach, alpha, rng)
        test = sign_flip(differences, rng=rng)
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return msgspec.structs.replace(
        comparison,
        better=above if up else below,
        worse=below if up else above,
        equal=len(units) - above - below,
        mean_a=_side([unit.a for unit in units], metric, alpha, rng, yes_no=yes_no),
        mean_b=_side([unit.b for unit in units], metric, alpha, rng, yes_no=yes_no),
        difference=shown,
        test=test,
        detectable=minimum_detectable_effect(spread, len(units), alpha=alpha) if spread else None,
    )


def _side(values: Sequence[float], metric: Metric, alpha: float, rng: random.Random, *, yes_no: bool) -> Mean:
    if yes_no:
        yes = sum(each == 1 for each in values)
        return Mean.of(wilson_interval(yes, len(values), confidence=1 - alpha))
    return _shown(values, metric.bounds, alpha, rng)


def _shown(
    values: Sequence[float], bounds: tuple[float, float] | None, alpha: float, rng: random.Random
) -> Mean:
    """The mean of at least one unit, with an interval where there are enough for one."""
    if bounds is not None:
        low, high = bounds
        # A mean of values at a bound may lie a last bit beyond it.
        held = [min(max(value, low), high) for value in values]
        return Mean.of(bounded_interval(held, low=low, high=high, rng=rng, confidence=1 - alpha))
    if len(values) < INTERVAL_UNITS:
        return Mean(estimate=values[0])
    return Mean.of(mean_interval(values, confidence=1 - alpha))


def _values(marks: Iterable[Mark]) -> list[float]:
    return [float(mark.value) for mark in marks if isinstance(mark.value, bool | float | int)] or [
        math.nan for mark in marks if isinstance(mark.value, str)
    ]


def _mean(marks: Iterable[Mark]) -> float:
    return statistics.fmean(_values(marks))


def _labels(observed: Sequence[Observed]) -> dict[str, tuple[int, int]]:
    counts: dict[str, list[int]] = {}
    for each in observed:
        for side, marks in enumerate((each.a, each.b)):
            for mark in marks:
                if isinstance(mark.value, str):
                    counts.setdefault(mark.value, [0, 0])[side] += 1
    return {label: (found[0], found[1]) for label, found in sorted(counts.items())}


def _causes(observed: Sequence[Observed]) -> dict[str, int]:
    causes = Counter(
        mark.unscored for each in observed for mark in (*each.a, *each.b) if mark.unscored is not None
    )
    return dict(causes.most_common(CAUSES_MAX))
