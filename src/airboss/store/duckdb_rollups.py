"""Sums by the minute and the hour that the record log's DuckDB file keeps.

Records are summed up a whole stretch at a time, by their `seq`, when there is time: how far is in the file,
written with the sums. A question adds up what is there for the whole hours and minutes of its period, and
reads the records at its two ends and those that are in no stretch yet; one that the sums cannot tell reads
all records of its period, in the same way. Counts, tokens and costs are exact so; quantiles come from
histograms and are at most 2 % off. A question of few calls reads them instead, and is exact altogether.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from airboss.domain.ports import DeploymentStats, ReleaseBucket, StatsBucket
from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import Connection, query, run
from airboss.store.rows import naive
from airboss.store.usage import BINNED, FEW, GROWTH, LEAST, LEAST_BIN, QUANTILES, inside

STRETCH: Final = 32_768
"""So many records are summed up together."""
TOLD: Final = 256
"""So many pairs of model and key are told apart in a stretch, those with the most calls."""
WIDTHS: Final = (60, 3_600)
_ALL: Final = 2**62
Told = TypeVar("Told", DeploymentStats, StatsBucket, ReleaseBucket)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of many calls: columns as SQL has them, and conditions on rows of `records` with what
    they are given. `summed`: the sums have all of it; `apart`: models or keys are among the columns or
    conditions. `order`: what rows are ordered by before their groups."""

    since: datetime
    until: datetime
    by: tuple[str, ...]
    step_s: int | None = None
    without_key: str | None = None
    where: str = "true"
    given: dict[str, Any] = {}
    summed: bool = True
    apart: bool = False
    quantiles: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    order: str | None = None
    limit: int = _ALL
    slow_ms: float | None = None
    late_ms: float | None = None
    costly_usd: float | None = None


def begin(connection: Connection, *, next_seq: int) -> bool:
    """Sum up the next stretch, within a transaction, if it is whole; whether it was."""
    ((rolled,),) = run(connection, "select seq from rolled")
    if rolled + STRETCH > next_seq:
        return False
    text = query("roll_up").format(**{name: _bin(column) for name, column in BINNED.items()})
    for width in WIDTHS:
        asked = {"width": width, "first": rolled, "last": rolled + STRETCH, "told": TOLD}
        run(connection, text, asked)
    run(connection, "update rolled set seq = ?", [rolled + STRETCH])
    return True


def expire(connection: Connection, before: datetime) -> None:
    """Delete the sums of minutes and hours that ended by then, within a transaction."""
    text = "delete from rollups where start + to_seconds(width) <= ?"
    run(connection, text, [naive(before)])


def ask(connection: Connection, asked: Question) -> list[dict[str, Any]] | None:
    """What calls did, a row a group (`g0`, …) and step; None where there are few and each is to be read."""
    minutes, minutes_end = inside(asked.since, asked.until, 60)
    connection.begin()  # the sums and how far they go, of one state
    try:
        ((rolled,),) = run(connection, "select seq from rolled")
        period = {"since": naive(asked.since), "until": naive(asked.until), "rolled": rolled}
        bounds = {"minutes": naive(minutes), "minutes_end": naive(minutes_end)}
        ((calls, mixed),) = run(connection, query("rolled_many"), period | bounds)
        if calls <= FEW:
            return None
        apart = asked.apart or asked.without_key is not None
        summed = asked.summed and not (mixed and apart) and not (asked.step_s or 60) % 60
        if not summed:
            minutes = minutes_end = asked.until
        hours, hours_end = inside(minutes, minutes_end, 3_600)
        if (asked.step_s or 3_600) % 3_600:
            hours = hours_end = minutes_end
        given = {
            **period,
            **asked.given,
            "minutes": naive(minutes),
            "minutes_end": naive(minutes_end),
            "hours": naive(hours),
            "hours_end": naive(hours_end),
            "without": asked.without_key,
            "slow_ms": asked.slow_ms,
            "late_ms": asked.late_ms,
            "costly_usd": asked.costly_usd,
            "limit": asked.limit,
        }
        return read.dicts(connection.execute(_text(asked, summed=summed), given))
    finally:
        connection.rollback()


def row(kind: type[Told], told: dict[str, Any]) -> Told:
    """One of the rows of `ask` by deployment, release and arm, as what a question is answered with."""
    told |= {name: told.get(f"g{at}") for at, name in enumerate(("deployment", "release", "arm"))}
    values = {name: told[name] for name in kind.__struct_fields__ if name in told}
    if "start" in values:
        values["start"] = values["start"].replace(tzinfo=UTC)
    if kind is not ReleaseBucket:
        values["approximate"] = True
    return kind(**values)


def _text(asked: Question, *, summed: bool) -> str:
    step = "null::timestamp"
    if asked.step_s is not None:
        step = (
            f"make_timestamp(epoch_us({{column}}) // {asked.step_s * 1_000_000} * {asked.step_s * 1_000_000})"
        )
    columns = asked.by or ("null::varchar",)
    groups = ", ".join(f"{column} as g{at}" for at, column in enumerate(columns))
    keys = [f"g{at}" for at in range(len(columns))]
    histograms = tuple(dict.fromkeys(QUANTILES[name][0] for name in asked.quantiles))
    everybody = (
        "(from records where started_at >= $since and started_at < $until"
        f' and ($without is null or "key" <> $without) and {asked.where})'
    )
    places = [_quantile(name) for name in asked.quantiles]
    same = {
        f"same_{table}": " and ".join(
            f"{table}.{key} is not distinct from counts.{key}" for key in (*keys, "start")
        )
        for table in ("quantiles", "users", "sessions")
    }
    order = [asked.order, *(f"counts.{key}" for key in keys), "counts.start"]
    return query("rolled").format(
        groups=groups,
        groups_of_sums=groups if summed else ", ".join(f"null::varchar as {key}" for key in keys),
        keys=", ".join(keys),
        step_of_record=step.format(column="started_at"),
        step_of_sums=step.format(column="start"),
        where=asked.where,
        where_of_sums=asked.where if summed else "false",
        histograms="".join(f", {name}" for name in histograms),
        bins=_bins(", ".join(keys), histograms),
        quantiles=", ".join(places) or "null as nothing",
        told="".join(f"quantiles.{name}, " for name in asked.quantiles),
        users=everybody if "users" in asked.people else "(from records where false)",
        sessions=everybody if "sessions" in asked.people else "(from records where false)",
        order=", ".join(filter(None, order)),
        **same,
    )


def _bins(keys: str, histograms: Collection[str]) -> str:
    parts = [
        query("rolled_bins").format(keys=keys, at=at, name=name, bin=_bin(column), column=column)
        for at, (name, column) in enumerate(BINNED.items())
        if name in histograms
    ]
    none = f"select {keys}, start, 0 as of_what, 0 as bin, 0 as n from both_ limit 0"  # noqa: S608 - of ours
    return "    union all\n".join(parts or [none])


def _bin(column: str) -> str:
    return f"round(ln(greatest({column}, {LEAST})) / ln({GROWTH}))::smallint"


def _quantile(name: str) -> str:
    """Between the two nearest values, as of every call."""
    histogram, share, scale = QUANTILES[name]
    of = f"of_what = {list(BINNED).index(histogram)}"
    place = f"({share} * (any_value(total) filter ({of}) - 1))"
    low, high = (
        f"min(bin) filter ({of} and upto > {side}({share} * (total - 1)))" for side in ("floor", "ceil")
    )
    low, high = (f"if({each} <= {LEAST_BIN}, 0, pow({GROWTH}, {each}))" for each in (low, high))
    return f"({low} + ({high} - {low}) * ({place} - floor({place}))) * {scale} as {name}"
