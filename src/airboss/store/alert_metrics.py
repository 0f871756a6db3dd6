"""What alarms read of usage: the number that each metric is, and which calls are bad."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from airboss.domain.ports import RecordFilter, RecordLog, UsageQuery
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.domain.usage import UsageRow
from airboss.store.alert_rows import AlarmRule

INTERNAL_KEY: Final = "airboss"
"""The name of the data-plane key of our own calls: evaluations, probes, judges, the playground. They never
count."""

BAD: Final = {
    "error_rate": "failed",
    "refused_rate": "were refused",
    "fallback_rate": "were answered by a fallback",
    "latency_p95": "were slow",
    "ttft_p95": "began late",
    "cost_usd": "were dear",
}
"""What bad calls did, by the metric of a sequential alarm."""


def metric_of(own: UsageRow, metric: str) -> float | None:
    """A metric of what was used; None where there is nothing to measure it by."""
    ended = own.requests - own.cancelled - own.refused
    match metric:
        case "error_rate":
            return own.errors / ended if ended else None
        case "refused_rate":
            asked = own.requests - own.cancelled
            return own.refused / asked if asked else None
        case "latency_p50" | "latency_p95" | "ttft_p50" | "ttft_p95":
            found: float | None = getattr(own, f"{metric}_ms")
            return found
        case "tokens_per_s":
            return own.tokens_per_s
        case "input_tokens":
            return float(own.input_tokens)
        case _:
            return float(own.output_tokens)


def counts(metric: str, own: UsageRow) -> tuple[int, int]:
    """How many calls there are to judge by, and how many of them are bad; but see `counted`."""
    match metric:
        case "error_rate":
            return own.requests - own.cancelled - own.refused, own.errors
        case "refused_rate":
            return own.requests - own.cancelled, own.refused
        case "latency_p95":
            return own.answered, own.slow
        case "ttft_p95":
            return own.started, own.late
        case _:
            return own.priced, own.costly


def counted(metric: str, log: RecordLog, asked: UsageQuery) -> list[tuple[UsageRow, int, int]]:
    """What was used, with `counts` of it. Raises StoreUnavailable."""
    if metric != "fallback_rate":
        return [(row, *counts(metric, row)) for row in log.usage(asked)]
    theirs = msgspec.structs.replace(asked.where, error_type=ANSWERED_BY_FALLBACK)
    # Before all of them: what comes between the two questions makes none bad that is not there.
    bad = {row.start: row.answered for row in log.usage(msgspec.structs.replace(asked, where=theirs))}
    return [(row, row.answered, bad.get(row.start, 0)) for row in log.usage(asked)]


def not_good(own: UsageRow | None, slow_ms: float | None) -> tuple[int, int]:
    """How many calls ended, and how many of them were not good: they failed, or were too slow."""
    if own is None:
        return 0, 0
    ended = own.requests - own.cancelled - own.refused
    return ended, own.errors + (own.slow if slow_ms is not None else 0)


def calls_in(rule: AlarmRule) -> RecordFilter:
    """The calls that a rule is about, whenever they were."""
    chosen = {name: value for name, value in rule.where if name != "team"}
    return msgspec.convert({**chosen, "deployment": rule.deployment, "keys": rule.keys}, RecordFilter)


def filters_in_words(where: Mapping[str, str]) -> str:
    """By what calls of a deployment are chosen: `key app, tag team=a`."""
    return ", ".join(f"{name} {value}" for name, value in where.items())


def chosen_by(where: Mapping[str, str]) -> str:
    """The same, to be put behind the deployment: ` (key app, tag team=a)`, or nothing where all are meant."""
    return f" ({filters_in_words(where)})" if where else ""


def of_least(metric: str, least: int) -> str:
    """How many calls a value is of at least, in words: `, of 20 calls at least`, or nothing."""
    what = "scores" if metric.startswith("score:") else "calls"
    return f", of {least:,} {what} at least" if least > 1 else ""


def question(rule: AlarmRule, since: datetime, until: datetime, bound: float | None) -> UsageQuery:
    """What a sequential test asks the log; an answer beyond `bound` is bad."""
    return UsageQuery(
        since=since,
        until=until,
        where=calls_in(rule),
        without_key=INTERNAL_KEY,
        slow_ms=bound if rule.metric == "latency_p95" else None,
        late_ms=bound if rule.metric == "ttft_p95" else None,
        costly_usd=bound if rule.metric == "cost_usd" else None,
        people=(),
        costs=rule.metric == "cost_usd",
    )


def side(rule: AlarmRule) -> str:
    """How a value that breaks the bound lies to it."""
    falls = rule.kind == "sequential" and rule.metric.startswith("score:") and not rule.less_is_better
    return "worse than" if rule.by_baseline else "below" if rule.below or falls else "above"


def length(window_s: int) -> str:
    """A window as people write it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if window_s % size == 0:
            return f"{window_s // size}{unit}"
    return f"{window_s}s"


def worded(kind: str, metric: str, value: float) -> str:
    """An alarm's value, or its bound, as people read it: rates and shares in percent, times and money in
    their units, changes with their sign."""
    match kind:
        case "sequential" | "change" if metric.startswith("score:"):
            return shown(value)
        case "sequential":
            return f"{100 * value:.3g} %"
        case "change":
            return f"{100 * value:+.3g} {'points' if metric.endswith('_rate') else '%'}"
        case "budget":
            return f"{100 * value:.0f} %"
        case "threshold":
            return _of_calls(metric, value)
        case _:
            return f"{value:.3g}" if kind == "burn_rate" else shown(value)


def _of_calls(metric: str, value: float) -> str:
    if metric.endswith("_rate"):
        return f"{100 * value:.3g} %"
    if metric.startswith(("latency", "ttft")):
        return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"
    if metric == "cost_usd":
        return money_words(value)
    return shown(value)


def money_words(usd: float) -> str:
    """US dollars as people read them: `$0.0000238`."""
    return f"${usd:,.2f}" if usd >= 100 else f"${Decimal(f'{usd:.3g}'):f}"


def shown(value: float) -> str:
    """A number as people read it."""
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:.6g}"
