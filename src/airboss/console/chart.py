"""Time series made ready to be drawn: every deployment on one time axis, gaps where nothing was measured.

A step without a call is zero requests, because the log says so; it is *no* latency and *no* error rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from airboss.console.query import Period
from airboss.domain.ports import DeploymentStats, StatsBucket

LINES_MAX = 8
"""Deployments drawn at once: the busiest."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment over the chart's steps; every list has one item a step.

    `n` counts calls, `ended` those that an error rate is of and `failed` those of these that failed. Rates
    are per unit of time really covered, so that the last step is not too low for being short.
    """

    deployment: str
    hue: int
    n: list[int]
    ended: list[int]
    failed: list[int]
    requests: list[float]
    errors: list[float | None]
    p50: list[float | None]
    p95: list[float | None]
    ttft: list[float | None]
    tokens: list[float]
    cost: list[float | None]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What the overview's charts draw. Times are seconds since the epoch; `x` is the start of each step.

    `requests` is per minute, `errors` in percent of calls, latencies in ms, `tokens` output tokens per
    second, `cost` USD per hour. `omitted` counts deployments that are not drawn. `marks` are (time, words).
    """

    since: float
    until: float
    step_s: int
    zone: str
    x: list[int]
    lines: list[Line]
    omitted: int
    marks: list[tuple[float, str]]


def chart(
    buckets: Sequence[StatsBucket],
    period: Period,
    *,
    hues: Callable[[str], int],
    zone: str,
    deployment: str | None,
    marks: Sequence[tuple[datetime, str]] = (),
) -> Chart:
    """The chart of a period; of one deployment alone if it is named. It has a line of each: see `busiest`."""
    step = period.step_s
    since, until = period.since.timestamp(), period.until.timestamp()
    x = list(range(int(since // step * step), int(until) + (until > int(until)), step))
    found: dict[str, dict[int, StatsBucket]] = {}
    for bucket in buckets:
        if deployment is None or bucket.deployment == deployment:
            found.setdefault(bucket.deployment, {})[int(bucket.start.timestamp())] = bucket
    # The log is asked from the start of the first step, so only the last one is cut short.
    covered = [max(1.0, min(at + step, until) - at) for at in x]
    return Chart(
        since=since,
        until=until,
        step_s=step,
        zone=zone,
        x=x,
        lines=[line(name, found[name], x, covered, hue=hues(name)) for name in sorted(found)],
        omitted=0,
        marks=[(at.timestamp(), words) for at, words in marks if period.since <= at < period.until],
    )


def busiest(whole: Chart) -> Chart:
    """The chart with the lines of the busiest deployments alone: more could not be told apart."""
    first = sorted(whole.lines, key=lambda each: (-sum(each.n), each.deployment))[:LINES_MAX]
    lines = sorted(first, key=lambda each: each.deployment)
    return msgspec.structs.replace(whole, lines=lines, omitted=whole.omitted + len(whole.lines) - len(lines))


def counted(stats: DeploymentStats | StatsBucket) -> int:
    """The calls an error rate is of: cancelled and refused ones are shown, not counted."""
    return stats.requests - stats.cancelled - stats.refused


def line(name: str, buckets: dict[int, StatsBucket], x: list[int], covered: list[float], *, hue: int) -> Line:
    """One deployment's line."""
    steps = [(buckets.get(at), seconds) for at, seconds in zip(x, covered, strict=True)]
    return Line(
        deployment=name,
        hue=hue,
        n=[each.requests if each else 0 for each, _ in steps],
        ended=[counted(each) if each else 0 for each, _ in steps],
        failed=[each.errors if each else 0 for each, _ in steps],
        requests=[round(60 * each.requests / seconds, 3) if each else 0.0 for each, seconds in steps],
        errors=[
            round(100 * each.errors / calls, 3) if each and (calls := counted(each)) else None
            for each, _ in steps
        ],
        p50=[each.latency_p50_ms if each else None for each, _ in steps],
        p95=[each.latency_p95_ms if each else None for each, _ in steps],
        ttft=[each.ttft_p50_ms if each else None for each, _ in steps],
        tokens=[round(each.output_tokens / seconds, 3) if each else 0.0 for each, seconds in steps],
        cost=[cost_per_hour(each, seconds) for each, seconds in steps],
    )


def cost_per_hour(bucket: StatsBucket | None, seconds: float) -> float | None:
    """USD per hour; nothing spent where nobody called, unknown where no call had a price."""
    if bucket is None:
        return 0.0
    return None if bucket.cost_usd is None else round(3_600 * bucket.cost_usd / seconds, 6)


def sparkline(values: Sequence[float | None], *, width: int = 120, height: int = 28) -> tuple[str, ...]:
    """SVG paths of a small picture of `values`, one for each stretch without a gap; from 0 up.

    Empty where there is nothing to draw. A stretch of one value is a short dash, so that it is seen.
    """
    present = [value for value in values if value is not None]
    if not present:
        return ()
    top = max(present) or 1.0
    across = width / max(1, len(values) - 1)
    paths: list[str] = []
    run: list[str] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{index * across:.1f},{height - 1 - (height - 2) * value / top:.1f}")
        elif run:
            dash = f"M{run[0]}h3"
            paths.append("M" + "L".join(run) if len(run) > 1 else dash)
            run = []
    return tuple(paths)


def coarse(values: Sequence[float | None], *, points: int = 40, add: bool = False) -> list[float | None]:
    """`values` in fewer steps: their sums if `add`, else the highest of each, which hides no peak."""
    if len(values) <= points:
        return list(values)
    merged: list[float | None] = []
    for index in range(points):
        part = values[index * len(values) // points : (index + 1) * len(values) // points]
        present = [value for value in part if value is not None]
        merged.append((sum(present) if add else max(present)) if present else None)
    return merged


def utc(seconds: float) -> datetime:
    """A time of a chart."""
    return datetime.fromtimestamp(seconds, tz=UTC)
