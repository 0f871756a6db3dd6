"""Whether what was found is better than today's release: one judgement, on items that nothing was chosen by.
Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from airboss.evaluations.gate import Gate
from airboss.evaluations.intervals import Interval
from airboss.evaluations.plan import EvalReport

UNITS_MIN: Final = 20
"""Of the holdout: with fewer no interval is to be trusted, and hardly any gain can be shown."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the holdout says. `gain` is the new release minus today's in the scorer's own units, with an
    interval of confidence 1 - `alpha`; None with the rest where nothing could be compared. `reads_before` is
    how often the holdout had been read before: the more often, the less its word counts. `run` is the
    evaluation that holds every item's marks. `shown` items of the holdout were left out, because the new
    release shows their question as an example, or its model has learnt it."""

    better: bool
    reason: str
    alpha: float
    items: int
    shown: int
    run: str
    reads_before: int
    before: Interval | None = None
    after: Interval | None = None
    gain: Interval | None = None
    p_value: float | None = None


def gate_of(scorer: str) -> Gate:
    """The rule: the exact paired test finds a difference at alpha, and the gain's interval lies above 0."""
    return Gate(metric=scorer, rule="better")


def judgement(report: EvalReport, *, alpha: float, run: str, reads_before: int, shown: int) -> Judgement:
    """What an evaluation of the new release (B) against today's (A), with the gate of `gate_of`, says.

    A release that is no better passes with a chance of at most alpha / 2: the test has two sides, and one of
    them says better.
    """
    assert report.decision is not None  # its plan has the gate
    comparison = report.comparisons[0]
    finding = report.decision.findings[0]
    return Judgement(
        better=report.decision.passed,
        reason=finding.reason,
        alpha=alpha,
        items=report.items,
        shown=shown,
        run=run,
        reads_before=reads_before,
        before=comparison.mean_a.interval if comparison.mean_a is not None else None,
        after=comparison.mean_b.interval if comparison.mean_b is not None else None,
        gain=comparison.gap,
        p_value=comparison.test.p_value if comparison.test is not None else None,
    )
