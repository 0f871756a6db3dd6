"""What an alarm watches, over time: its metric or the calls that are bad, what that is compared with, when it
fired, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from airboss.config.checks_alarms import SUMS
from airboss.console.api_usage import SERIES_ROWS_MAX
from airboss.console.desk import Desk
from airboss.console.marks import gathered, marks
from airboss.console.query import Period
from airboss.console.text import NB, milliseconds, usd
from airboss.domain.usage import UsageRow
from airboss.store.alert_metrics import counted, length, metric_of, not_good, question
from airboss.store.alert_rows import AlarmEvent, AlarmRow, AlarmRule

WEEK: Final = timedelta(days=7)
MARK_STEPS: Final = 12
"""Steps of a picture within which changes are drawn as one."""

Unit = Literal["percent", "ms", "usd", "count"]
LABELS: Final[Mapping[str, tuple[str, Unit]]] = {
    "error_rate": ("Errors", "percent"),
    "refused_rate": ("Refused calls", "percent"),
    "fallback_rate": ("Answers by a fallback", "percent"),
    "latency_p50": ("Latency p50", "ms"),
    "latency_p95": ("Latency p95", "ms"),
    "ttft_p50": ("First token p50", "ms"),
    "ttft_p95": ("First token p95", "ms"),
    "tokens_per_s": ("Tokens a second", "count"),
    "input_tokens": ("Tokens in", "count"),
    "output_tokens": ("Tokens out", "count"),
    "cost_usd": ("Cost", "usd"),
    "requests": ("Requests", "count"),
}
"""What is drawn of metrics; scores have their curves on their own page."""
BAD: Final = {
    "error_rate": "Calls that failed",
    "refused_rate": "Calls that were refused",
    "fallback_rate": "Answers that a fallback gave",
    "latency_p95": "Answers that took over {}",
    "ttft_p95": "First tokens after over {}",
    "cost_usd": "Calls that cost over {}",
}
"""What a sequential test counts."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn. With `share` it is bad calls in percent, those beyond `slow` (ms or USD) too if it is
    known. `words` stand at the line that it is compared with."""

    label: str
    unit: Unit
    share: bool = False
    slow: float | None = None
    bound: float | None = None
    words: str = ""


class AlarmLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: an item a step, in which `n` calls began; `value` None is no data."""

    deployment: str
    hue: int
    n: list[int]
    value: list[float | None]


class AlarmChart(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of one alarm, drawn as `chart.Chart` is. Values are in percent, ms, USD or a count; sums
    are those of a step, scaled to the alarm's window. `bound` is in the same unit."""

    label: str
    unit: Unit
    since: float
    until: float
    step_s: int
    zone: str
    x: list[int]
    lines: list[AlarmLine]
    marks: list[tuple[float, str]]
    bound: float | None
    bound_words: str


def alarm_chart(
    desk: Desk, rule: AlarmRule, events: Sequence[AlarmEvent], period: Period, *, zone: str
) -> AlarmChart | None:
    """The picture of a period; None where what the alarm watches is not counted by time. Raises
    StoreUnavailable."""
    seen = watched(rule, desk.alerts.alarms().get(rule.name))
    if seen is None:
        return None
    step, until = period.step_s, period.until.timestamp()
    start = int(period.since.timestamp() // step) * step
    x = list(range(start, int(until) + (until > int(until)), step))
    lines = [line(desk, rule, seen, period, x)]
    if rule.kind == "change":
        lines.append(line(desk, rule, seen, period, x, ago=WEEK))
    turns = [(each.at, each.after) for each in events if each.after in ("firing", "resolved")]
    changes = marks(desk, period.since, period.until, deployment=rule.deployment)
    return AlarmChart(
        label=seen.label,
        unit=seen.unit,
        since=period.since.timestamp(),
        until=until,
        step_s=step,
        zone=zone,
        x=x,
        lines=lines,
        marks=[
            (at.timestamp(), words)
            for at, words in sorted([*gathered(changes, MARK_STEPS * step), *turns])
            if period.since <= at < period.until
        ],
        bound=seen.bound,
        bound_words=seen.words,
    )


def watched(rule: AlarmRule, row: AlarmRow | None) -> Watched | None:
    """What is drawn of an alarm, and what it is compared with as far as that is known yet."""
    if rule.slo is not None:
        slow, allowed = rule.slo.latency_ms, 100 * (1 - rule.slo.target)
        late = f" or took over {milliseconds(slow)}" if slow is not None else ""
        words = f"the budget is {allowed:.3g}{NB}%"
        label = f"{BAD['error_rate']}{late}"
        return Watched(label=label, unit="percent", share=True, slow=slow, bound=allowed, words=words)
    if rule.metric not in LABELS:
        return None
    label, unit = LABELS[rule.metric]
    if rule.kind == "sequential":
        kept: Any = row.memory if row is not None else None
        if row is None or row.bound is None or not isinstance(kept, dict):
            return Watched(label=label, unit=unit)
        beyond = kept.get("bound")
        most = usd(beyond) if unit == "usd" else milliseconds(beyond)
        usual = 100 * row.bound
        return Watched(
            label=BAD[rule.metric].format(most),
            unit="percent",
            share=True,
            slow=beyond,
            bound=usual,
            words=f"up to {usual:.3g}{NB}% is usual",
        )
    if rule.metric in SUMS:
        label = f"{label} in {length(rule.window_s)}"
    if rule.kind == "change":
        return Watched(label=label, unit=unit)
    bound = 100 * rule.bound if unit == "percent" else rule.bound
    return Watched(label=label, unit=unit, bound=bound, words=f"fires {'below' if rule.below else 'above'}")


def line(
    desk: Desk, rule: AlarmRule, seen: Watched, period: Period, x: list[int], *, ago: timedelta = timedelta(0)
) -> AlarmLine:
    """What a deployment did, or did so long before."""
    step, until = period.step_s, period.until.timestamp()
    since, end = datetime.fromtimestamp(x[0], UTC) - ago, period.until - ago
    asked = msgspec.structs.replace(question(rule, since, end, seen.slow), step_s=step, limit=SERIES_ROWS_MAX)
    if rule.slo is not None:
        asked = msgspec.structs.replace(asked, slow_ms=seen.slow)
    rows = {
        round((each[0].start + ago).timestamp()): each
        for each in counted(rule.metric, desk.log, asked)
        if each[0].start is not None
    }
    steps = [(rows.get(at), max(1.0, min(at + step, until) - at)) for at in x]
    summed = rule.metric in SUMS and not seen.share  # in a step just begun one call would stand for many
    return AlarmLine(
        deployment="a week before" if ago else rule.deployment,
        hue=4 if ago else 0,
        n=[each[0].requests if each is not None else 0 for each, _ in steps],
        value=[
            value(rule, seen, each, seconds) if seconds > step / 4 or not summed else None
            for each, seconds in steps
        ],
    )


def value(
    rule: AlarmRule, seen: Watched, counted: tuple[UsageRow, int, int] | None, seconds: float
) -> float | None:
    """What is drawn of one step of so many seconds, with how many calls there are and how many are bad."""
    row, n, bad = counted or (None, 0, 0)
    if rule.slo is not None:
        n, bad = not_good(row, seen.slow)
    if seen.share or rule.metric == "fallback_rate":
        return round(100 * bad / n, 3) if n else None
    if rule.metric in SUMS:
        if row is None:
            return 0.0
        amount = getattr(row, rule.metric)
        return None if amount is None else round(float(amount) * rule.window_s / seconds, 6)
    found = metric_of(row, rule.metric) if row is not None else None
    return round(100 * found, 3) if found is not None and seen.unit == "percent" else found
