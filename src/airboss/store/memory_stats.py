"""What calls of the record log in memory did, added up exactly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from airboss.domain.ports import DeploymentStats, StatsBucket
from airboss.domain.record import InferenceRecord
from airboss.store.usage import tokens_per_s


def deployment_stats(deployment: str, calls: Sequence[InferenceRecord]) -> DeploymentStats:
    """One deployment's calls, as `RecordLog.stats` has them."""
    answered = [record for record in calls if record.status == "ok"]
    latencies = [record.latency_ms for record in answered]
    ttfts = [record.ttft_ms for record in answered if record.ttft_ms is not None]
    rates = [rate for record in answered if (rate := tokens_per_s(record)) is not None]
    costs = [float(record.cost_usd) for record in calls if record.cost_usd is not None]
    return DeploymentStats(
        deployment=deployment,
        requests=len(calls),
        errors=sum(record.status == "error" for record in calls),
        cancelled=sum(record.status == "cancelled" for record in calls),
        refused=sum(record.status == "refused" for record in calls),
        latency_p50_ms=quantile(latencies, 0.5),
        latency_p95_ms=quantile(latencies, 0.95),
        ttft_p50_ms=quantile(ttfts, 0.5),
        ttft_p95_ms=quantile(ttfts, 0.95),
        tokens_per_s=sum(rates) / len(rates) if rates else None,
        input_tokens=sum(record.input_tokens or 0 for record in calls),
        output_tokens=sum(record.output_tokens or 0 for record in calls),
        cost_usd=sum(costs) if costs else None,
        cost_unknown=len(calls) - len(costs),
    )


def bucket(deployment: str, start: int, calls: Sequence[InferenceRecord]) -> StatsBucket:
    """The same of one step of time, which starts so many seconds after the epoch."""
    whole = deployment_stats(deployment, calls)
    return StatsBucket(
        deployment=deployment,
        start=datetime.fromtimestamp(start, UTC),
        requests=whole.requests,
        errors=whole.errors,
        cancelled=whole.cancelled,
        refused=whole.refused,
        latency_p50_ms=whole.latency_p50_ms,
        latency_p95_ms=whole.latency_p95_ms,
        ttft_p50_ms=whole.ttft_p50_ms,
        output_tokens=whole.output_tokens,
        cost_usd=whole.cost_usd,
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """Interpolated between the two nearest values, as `quantile_cont` does; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
