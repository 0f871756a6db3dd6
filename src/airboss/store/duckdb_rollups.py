"""Sums by the minute and the hour that the record log's DuckDB file keeps.

Records are summed up a whole stretch at a time, by their `seq`, when there is time: how far is in the file,
written with the sums. A question adds up what is there for the whole hours and minutes of its period, and
reads the records at its two ends and those that are in no stretch yet. Counts, tokens and costs are exact
so; quantiles come from histograms and are at most 2 % off. A question of few calls reads them instead, and is
exact altogether.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from airboss.domain.ports import DeploymentStats, ReleaseBucket, StatsBucket
from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import Connection, query, run
from airboss.store.rows import naive

STRETCH: Final = 32_768
"""So many records are summed up together."""
TOLD: Final = 256
"""So many pairs of model and key are told apart in a stretch, those with the most calls."""
FEW: Final = 200_000
"""Of so many calls or fewer every one is read."""
GROWTH: Final = 1.04
"""From one bin of a histogram to the next; a value is off by its square root at most."""
LEAST_MS: Final = 0.001
WIDTHS: Final = (60, 3_600)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Told = TypeVar("Told", DeploymentStats, StatsBucket, ReleaseBucket)


def begin(connection: Connection, *, next_seq: int) -> bool:
    """Sum up the next stretch, within a transaction, if it is whole; whether it was."""
    ((rolled,),) = run(connection, "select seq from rolled")
    if rolled + STRETCH > next_seq:
        return False
    text = query("roll_up").format(latency=_bin("latency_ms"), ttft=_bin("ttft_ms"))
    for width in WIDTHS:
        asked = {"width": width, "first": rolled, "last": rolled + STRETCH, "told": TOLD}
        run(connection, text, asked)
    run(connection, "update rolled set seq = ?", [rolled + STRETCH])
    return True


def expire(connection: Connection, before: datetime) -> None:
    """Delete the sums of minutes and hours that ended by then, within a transaction."""
    text = "delete from rollups where start + to_seconds(width) <= ?"
    run(connection, text, [naive(before)])


def ask(
    connection: Connection,
    by: Sequence[str],
    since: datetime,
    until: datetime,
    *,
    step_s: int | None = None,
    without_key: str | None = None,
    quantiles: bool = True,
) -> list[dict[str, Any]] | None:
    """What calls did, by these groups; None where every call is to be read: there are few, the steps
    are no whole minutes, or the sums do not tell the keys apart."""
    if step_s is not None and step_s % 60:
        return None
    minutes, minutes_end = _inside(since, until, 60)
    if minutes >= minutes_end:
        return None
    hours, hours_end = _inside(since, until, 3_600)
    if hours >= hours_end or (step_s is not None and step_s % 3_600):
        hours = hours_end = minutes_end
    bounds = {"minutes": naive(minutes), "minutes_end": naive(minutes_end)}
    connection.begin()  # the sums and how far they go, of one state
    try:
        ((calls, mixed),) = run(connection, query("rolled_many"), bounds)
        if calls <= FEW or (mixed and without_key is not None):
            return None
        ((rolled,),) = run(connection, "select seq from rolled")
        asked = {
            **bounds,
            "since": naive(since),
            "until": naive(until),
            "hours": naive(hours),
            "hours_end": naive(hours_end),
            "rolled": rolled,
            "without": without_key,
        }
        return read.dicts(connection.execute(_question(by, step_s, quantiles=quantiles), asked))
    finally:
        connection.rollback()


def row(kind: type[Told], told: dict[str, Any]) -> Told:
    """One of the rows of `ask`, as what a question is answered with."""
    values = {name: told[name] for name in kind.__struct_fields__ if name in told}
    if "start" in values:
        values["start"] = values["start"].replace(tzinfo=UTC)
    if kind is not ReleaseBucket:
        values["approximate"] = True
    return kind(**values)


def _inside(since: datetime, until: datetime, width: int) -> tuple[datetime, datetime]:
    """The whole minutes or hours of a period."""
    step = timedelta(seconds=width)
    return since + (_EPOCH - since) % step, until - (until - _EPOCH) % step


def _question(by: Sequence[str], step_s: int | None, *, quantiles: bool) -> str:
    step = "null::timestamp"
    if step_s is not None:
        step = f"make_timestamp(epoch_us({{column}}) // {step_s * 1_000_000} * {step_s * 1_000_000})"
    return query("rolled").format(
        groups=", ".join(by),
        groups_of_counts=", ".join(f"counts.{name}" for name in by),
        step_of_record=step.format(column="started_at"),
        step_of_rollup=step.format(column="start"),
        same_latencies=" and ".join(f"latencies.{name} = counts.{name}" for name in by),
        same_ttfts=" and ".join(f"ttfts.{name} = counts.{name}" for name in by),
        latency=_bin("latency_ms"),
        ttft=_bin("ttft_ms"),
        quantiles="true" if quantiles else "false",
        p50=_quantile(0.5),
        p95=_quantile(0.95),
    )


def _bin(column: str) -> str:
    return f"round(ln(greatest({column}, {LEAST_MS})) / ln({GROWTH}))::smallint"


def _quantile(share: float) -> str:
    """Between the two nearest values, as of every call."""
    place = f"any_value({share} * (total - 1))"
    low, high = (
        f"pow({GROWTH}, min(bin) filter (upto > {side}({share} * (total - 1))))" for side in ("floor", "ceil")
    )
    return f"{low} + ({high} - {low}) * ({place} - floor({place}))"
