"""Answers of ClickHouse about many calls, as the domain's types: the rows of its queries of these names."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from airboss.domain.ports import DeploymentStats, ReleaseBucket, Spent, StatsBucket, WatchedCall
from airboss.store import clickhouse_rollups
from airboss.store.clickhouse_http import Ask, moment, query
from airboss.store.joining import as_open, read_opened
from airboss.store.rollups import Question, of_deployments, of_releases, over_time, told
from airboss.store.rows import plain


def stats(rows: Ask, since: datetime, until: datetime, without_key: str | None) -> list[DeploymentStats]:
    """As `RecordLog.stats`."""
    summed = clickhouse_rollups.ask(rows, of_deployments(since, until, without_key))
    if not isinstance(summed, Question):
        return [told(DeploymentStats, row) for row in summed]
    names = (
        *("deployment", "requests", "errors", "cancelled", "refused"),
        *("latency_p50_ms", "latency_p95_ms", "ttft_p50_ms", "ttft_p95_ms", "tokens_per_s"),
        *("input_tokens", "output_tokens", "cost_usd", "cost_unknown"),
    )
    found = rows(query("stats"), {"since": since, "until": until, "without": without_key})
    return [DeploymentStats(**dict(zip(names, row, strict=True))) for row in found]


def series(rows: Ask, since: datetime, until: datetime, step_s: int) -> list[StatsBucket]:
    """As `RecordLog.series`."""
    summed = clickhouse_rollups.ask(rows, over_time(since, until, step_s))
    if not isinstance(summed, Question):
        return [told(StatsBucket, row) for row in summed]
    names = (
        *("deployment", "start", "requests", "errors", "cancelled", "refused"),
        *("latency_p50_ms", "latency_p95_ms", "ttft_p50_ms", "output_tokens", "cost_usd"),
    )
    found = rows(query("series"), {"since": since, "until": until, "step_us": step_s * 1_000_000})
    return [StatsBucket(**dict(zip(names, row, strict=True)) | {"start": moment(row[1])}) for row in found]


def traffic(rows: Ask, since: datetime, until: datetime, step_s: int) -> list[ReleaseBucket]:
    """As `RecordLog.traffic`."""
    summed = clickhouse_rollups.ask(rows, of_releases(since, until, step_s))
    if not isinstance(summed, Question):
        return [told(ReleaseBucket, row) for row in summed]
    names = ("deployment", "release", "arm", "start", "requests", "errors", "counted")
    found = rows(query("traffic"), {"since": since, "until": until, "step_us": step_s * 1_000_000})
    return [ReleaseBucket(**dict(zip(names, row, strict=True)) | {"start": moment(row[3])}) for row in found]


def spent(row: list[Any]) -> Spent:
    """A row of `spent`."""
    key, user, day, usd = row
    return Spent(key=key, day=date.fromisoformat(day), usd=plain(Decimal(usd)), user=user)


def still_open(rows: list[list[Any]], deployment: str, without_key: str) -> list[WatchedCall]:
    """Rows of `watched_open`, of this deployment and not of that key."""
    calls = [read_opened(text.encode()) for _, text in rows]
    return [as_open(call) for call in calls if call.deployment == deployment and call.key != without_key]
