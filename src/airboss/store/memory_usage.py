"""What was used, by the record log in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airboss.domain.ports import UsageQuery
from airboss.domain.record import InferenceRecord
from airboss.domain.usage import UsageRow
from airboss.store.usage import LATE, TAG, check, tokens_per_s

Quantile = Callable[[Sequence[float], float], "float | None"]


def usage(records: Iterable[InferenceRecord], asked: UsageQuery, quantile: Quantile) -> list[UsageRow]:
    """As `RecordLog.usage`; `records` are those that match the query's filter."""
    check(asked)
    groups: dict[tuple[Any, ...], list[InferenceRecord]] = {}
    for record in records:
        if not _within(record, asked) or record.key == asked.without_key:
            continue
        group = tuple(_value(record, name, asked) for name in asked.by)
        if asked.among is not None and group and group[0] not in asked.among:
            continue
        step = None
        if asked.step_s is not None:
            step = int(record.started_at.timestamp() // asked.step_s) * asked.step_s
        groups.setdefault((step, *group), []).append(record)
    rows = [_row(key, calls, asked, quantile) for key, calls in groups.items()]
    rows.sort(key=lambda row: [(each is None, each or "") for each in row.group])
    if asked.step_s is not None:
        rows.sort(key=lambda row: row.start or asked.since)
    else:
        rows.sort(key=lambda row: _ordered(getattr(row, asked.order)), reverse=True)
    return rows[: asked.limit]


def _within(record: InferenceRecord, asked: UsageQuery) -> bool:
    if not asked.ended:
        return asked.since <= record.started_at < asked.until
    ended_at = record.started_at + timedelta(milliseconds=record.latency_ms)
    return asked.since <= ended_at < asked.until and record.started_at >= asked.since - LATE


def _ordered(value: Any) -> tuple[bool, Any]:
    return value is not None, value if value is not None else 0


def _value(record: InferenceRecord, name: str, asked: UsageQuery) -> str | None:
    if name == "team":
        return asked.teams.get(record.key)
    if name.startswith(TAG):
        return record.tags.get(name.removeprefix(TAG))
    value = getattr(record, name)
    return value if value is None else str(value)


def _row(
    key: tuple[Any, ...], calls: Sequence[InferenceRecord], asked: UsageQuery, quantile: Quantile
) -> UsageRow:
    ok = [each for each in calls if each.status == "ok"]
    took = [each.latency_ms for each in ok]
    first = [each.ttft_ms for each in ok if each.ttft_ms is not None]
    costs = [float(each.cost_usd) for each in ok if each.cost_usd is not None]
    priced = [float(each.cost_usd) for each in calls if each.cost_usd is not None]
    speeds = [speed for each in ok if (speed := tokens_per_s(each)) is not None]
    return UsageRow(
        group=key[1:],
        start=None if key[0] is None else datetime.fromtimestamp(key[0], UTC),
        requests=len(calls),
        errors=sum(each.status == "error" for each in calls),
        cancelled=sum(each.status == "cancelled" for each in calls),
        refused=sum(each.status == "refused" for each in calls),
        answered=len(ok),
        latency_p50_ms=quantile(took, 0.5),
        latency_p95_ms=quantile(took, 0.95),
        latency_p99_ms=quantile(took, 0.99),
        ttft_p50_ms=quantile(first, 0.5),
        ttft_p95_ms=quantile(first, 0.95),
        tokens_per_s=sum(speeds) / len(speeds) if speeds else None,
        input_tokens=sum(each.input_tokens or 0 for each in calls),
        output_tokens=sum(each.output_tokens or 0 for each in calls),
        cost_usd=sum(priced) if priced else None,
        cost_p95_usd=quantile(costs, 0.95) if asked.costs else None,
        cost_unknown=len(calls) - len(priced),
        users=len({each.user for each in calls} - {None}) if "users" in asked.people else 0,
        sessions=len({each.session for each in calls} - {None}) if "sessions" in asked.people else 0,
        first_at=min(each.started_at for each in calls),
        last_at=max(each.started_at for each in calls),
        slow=_beyond(took, asked.slow_ms),
        late=_beyond(first, asked.late_ms),
        costly=_beyond(costs, asked.costly_usd),
        priced=len(costs),
        started=len(first),
    )


def _beyond(values: Sequence[float], bound: float | None) -> int:
    return 0 if bound is None else sum(value > bound for value in values)
