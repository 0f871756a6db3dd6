"""How the numbers of a rollout's metric read: each in its own unit, and in what its difference is."""

from __future__ import annotations

import re

from airboss.console.text import NB
from airboss.domain.verdict import MetricEvidence, Verdict
from airboss.store.wording import many

MINUS = "\N{MINUS SIGN}"

SHARES = re.compile(r"error_rate|(?:latency|ttft)_p\d\d|cost")
"""Metrics whose outcomes are shares of calls: they are shown in percent, their differences in points."""


def is_share(metric: str) -> bool:
    """Whether the metric's numbers are shares of calls."""
    return SHARES.fullmatch(metric) is not None


def measured(metric: str) -> str:
    """What is measured, in one sentence without an end."""
    tail = re.fullmatch(r"(latency|ttft)_p(\d\d)", metric)
    if tail is not None:
        what = "calls" if tail[1] == "latency" else "calls whose first token is"
        return f"share of {what} slower than stable's last p{tail[2]}"
    if metric == "error_rate":
        return "share of calls that fail"
    if metric == "cost":
        return "mean rank of a call's cost among stable's last ones"
    return f"mean of the score {metric.removeprefix('score:')}"


def value(metric: str, number: float | None) -> str:
    """A mean with its unit."""
    if number is None:
        return "no data"
    if is_share(metric):
        percent = 100 * number
        return f"{percent:.2f}{NB}%" if percent < 9.995 else f"{percent:.1f}{NB}%"
    return f"{number:.3f}"


def difference(metric: str, number: float | None) -> str:
    """A difference with its sign; of shares in percentage points."""
    if number is None:
        return "no data"
    if is_share(metric):
        points = 100 * number
        text = f"{points:+.2f}" if abs(points) < 9.995 else f"{points:+.0f}"
        return f"{text.replace('-', MINUS)}{NB}pp"
    return f"{number:+.3f}".replace("-", MINUS)


def axis(metric: str, number: float) -> str:
    """A mark of the axis."""
    if number == 0:
        return "0"
    text = f"{100 * number:+g}{NB}pp" if is_share(metric) else f"{number:+g}"
    return text.replace("-", MINUS)


def finding(evidence: MetricEvidence) -> tuple[str, str]:
    """How a metric's finding looks (`bad`, `ok`, `wait`), and in words."""
    if evidence.finding == "harm":
        return "bad", "harm: the canary is worse"
    if evidence.finding == "non_inferior":
        return "ok", "no worse than the margin"
    if evidence.beyond:
        return "wait", f"open: {many(evidence.beyond, 'value')} not between 0 and 1; scale them"
    if evidence.margin is None:
        seen = "no harm shown" if evidence.canary_n else "no unit of the canary has counted"
        return "wait", f"{seen}; a guard, it never promotes"
    return "wait", "open: neither harm nor non-inferiority is shown"


CONCLUSIONS = {"promote": "Promoted", "abort": "Aborted", "inconclusive": "Inconclusive", "hold": "Held"}
LOOKS = {"promote": "ok", "abort": "bad", "inconclusive": "warn", "hold": "wait"}
AUTHORITIES = {"evidence": "on evidence", "gate": "by the evaluation before it", "person": "by a person"}


def headline(verdict: Verdict) -> str:
    """What a verdict said, and by whose authority."""
    if verdict.conclusion == "hold":
        return "Went on"
    return f"{CONCLUSIONS[verdict.conclusion]} {AUTHORITIES[verdict.authority]}"
