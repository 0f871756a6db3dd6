"""Whether a release may go on: B held against A by rules stated beforehand."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.compare import Comparison
from airboss.evaluations.intervals import Interval
from airboss.store.wording import many

Rule = Literal["better", "non-inferior"]
"""What is asked of B. `better`: the exact test finds a difference, and the interval lies above zero: the test
alone would take many small gains for more than one great loss. `non-inferior`: the interval leaves no room
for it to be worse by the margin."""

Conclusion = Literal["pass", "fail", "inconclusive"]
"""`fail`: B is shown to be worse (by the margin). `inconclusive`: neither is shown; it is no pass."""

UNITS_MIN: Final = 20
"""Below that many units no interval decides: Tango's is too narrow there, and t's rests on nothing."""

UNSCORED_SHARE_MAX: Final = 0.05
"""Of the items. Those that cannot be scored are seldom a fair sample: a release that fails on the hard ones
would look good on the rest."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for one metric. `margin`, in its own units, is how much worse is still acceptable; it
    is for `non-inferior` alone, and more than 0 there."""

    metric: str
    rule: Rule
    margin: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a margin that means nothing."""
        fits = self.margin > 0 if self.rule == "non-inferior" else self.margin == 0
        if not (fits and math.isfinite(self.margin)):
            raise ValueError(
                f"the gate {self.metric}:{self.rule} has a margin of {self.margin}; a positive one goes "
                "with non-inferior, and none with better"
            )


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one gate, with a sentence for people."""

    gate: Gate
    conclusion: Conclusion
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all gates: `pass` if each passes, else `fail` if one fails, else `inconclusive`.

    A release that is in truth worse (by a margin) on some gated metric passes with a chance of at most
    `alpha`, however many gates there are: it must pass that one as well, so no correction is needed. That
    holds for yes-or-no and bounded marks; t intervals of unbounded ones hold it approximately.
    """

    conclusion: Conclusion
    alpha: float
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the answer is yes."""
        return self.conclusion == "pass"


def read_gate(text: str) -> Gate:
    """A gate as it is written on a command line: `exact:better` or `exact:non-inferior:0.02`. Raises
    WrongCall saying how it is written."""
    metric, _, rest = text.partition(":")
    rule, _, margin = rest.partition(":")
    if metric and rule in {"better", "non-inferior"}:
        try:
            return Gate(
                metric=metric,
                rule="better" if rule == "better" else "non-inferior",
                margin=float(margin) if margin else 0.0,
            )
        except ValueError as error:
            raise WrongCall(f"the gate {text!r}: {error}") from error
    raise WrongCall(f"{text!r} is no gate; write METRIC:better or METRIC:non-inferior:MARGIN")


def check_gates(gates: Sequence[Gate], metrics: Sequence[str]) -> None:
    """Raises WrongCall for a gate on what no scorer measures: better before the calls than after."""
    for gate in gates:
        if gate.metric not in metrics:
            near = difflib.get_close_matches(gate.metric, metrics, n=1)
            raise WrongCall(
                f"the gate on {gate.metric!r}: the scorers are {', '.join(metrics) or 'none'}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )


def decide(gates: Sequence[Gate], comparisons: Sequence[Comparison], *, alpha: float) -> Decision:
    """Hold the comparisons, made at the same alpha, against the gates. Raises WrongCall as `check_gates`."""
    by_name = {comparison.metric.name: comparison for comparison in comparisons}
    check_gates(gates, tuple(by_name))
    findings = tuple(_finding(gate, by_name[gate.metric], alpha) for gate in gates)
    conclusions = {finding.conclusion for finding in findings}
    worst: Conclusion = "pass"
    if "fail" in conclusions:
        worst = "fail"
    elif "inconclusive" in conclusions:
        worst = "inconclusive"
    return Decision(conclusion=worst, alpha=alpha, findings=findings)


def _finding(gate: Gate, comparison: Comparison, alpha: float) -> Finding:
    lacking = _lacking(gate, comparison)
    if lacking is not None or comparison.gap is None or comparison.test is None:
        return Finding(gate=gate, conclusion="inconclusive", reason=f"{gate.metric}: {lacking}")
    interval = _upwards(comparison.gap, up=comparison.metric.higher_is_better)
    if gate.rule == "better":
        conclusion, reason = _better(comparison, interval, alpha)
    else:
        conclusion, reason = _non_inferior(gate.margin, interval)
    shown = comparison.gap
    numbers = f"B - A = {shown.estimate:.4g} ({shown.low:.4g} to {shown.high:.4g})"
    return Finding(
        gate=gate,
        conclusion=conclusion,
        reason=f"{gate.metric}: {numbers} over {comparison.units} units, {reason}",
    )


def _lacking(gate: Gate, comparison: Comparison) -> str | None:
    """Why nothing can be said, or None."""
    if comparison.labels:
        return "its marks are labels, which have no better or worse; let the scorer give numbers"
    unscored = comparison.items - comparison.pairs
    if unscored > UNSCORED_SHARE_MAX * comparison.items:
        causes = "; ".join(comparison.causes)
        return (
            f"{unscored} of {comparison.items} items lack a score on one side (A {comparison.unscored_a}, "
            f"B {comparison.unscored_b}), of at most {UNSCORED_SHARE_MAX:.0%}: {causes}"
        )
    if comparison.gap is None or comparison.test is None:
        return f"{many(comparison.units, 'unit')}, too few for an interval; use more items"
    if gate.rule == "non-inferior" and comparison.units < UNITS_MIN:
        return f"{comparison.units} units are too few to show non-inferiority; use {UNITS_MIN} at least"
    return None


def _better(comparison: Comparison, interval: Interval, alpha: float) -> tuple[Conclusion, str]:
    assert comparison.test is not None
    p = f"p = {comparison.test.p_value:.3g} ({comparison.test.method})"
    if comparison.test.p_value <= alpha and interval.low > 0:
        return "pass", f"better: {p}"
    if comparison.test.p_value <= alpha and interval.high < 0:
        return "fail", f"worse: {p}"
    return "inconclusive", f"no difference shown: {p}{_would_need(comparison)}"


def _non_inferior(margin: float, interval: Interval) -> tuple[Conclusion, str]:
    if interval.low > -margin:
        return "pass", f"not worse by {margin:g}"
    if interval.high < -margin:
        return "fail", f"worse by more than {margin:g}"
    return "inconclusive", f"it may be worse by {margin:g}; more items would tell"


def _would_need(comparison: Comparison) -> str:
    if comparison.detectable is None:
        return ""
    return f"; so many units find a difference of {comparison.detectable:.3g} with 80% probability"


def _upwards(interval: Interval, *, up: bool) -> Interval:
    """The interval turned so that more is better."""
    if up:
        return interval
    return msgspec.structs.replace(
        interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low
    )
