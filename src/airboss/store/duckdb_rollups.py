"""Sums by the minute and the hour that the record log's DuckDB file keeps (`rollups`).

Records are summed up a whole stretch at a time, by their `seq`, when there is time: how far is in the file,
written with the sums. Those that are in no stretch yet are read by every question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from airboss.store import duckdb_people, duckdb_tags, rollups, tagging
from airboss.store import duckdb_read as read
from airboss.store.duckdb_bins import BINNED, bin_of, numbers
from airboss.store.duckdb_run import Connection, execute, query, run
from airboss.store.rollups import GROWTH, HISTOGRAMS, LEAST_BIN, QUANTILES, Question
from airboss.store.rows import aware, naive

STRETCH: Final = 32_768
"""So many records are summed up together."""
TOLD: Final = 256
"""So many pairs of model and key are told apart in a stretch, those with the most calls."""
PEOPLE: Final = {"users": '"user"', "sessions": "session"}
"""The columns of people."""
WHOLE_DAYS: Final = "start >= $minutes and start < $minutes_end"
WIDTHS: Final = (60, 3_600)
TAGGED: Final = "json_extract_string(tags, "
"""How a column of a tag begins."""


def begin(connection: Connection, *, next_seq: int) -> bool:
    """Sum up the next stretch, within a transaction, if it is whole; whether it was."""
    ((rolled,),) = run(connection, "select seq from rolled")
    if rolled + STRETCH > next_seq:
        return False
    text = query("roll_up").format(numbers=numbers())
    asked = {"widths": list(WIDTHS), "first": rolled, "last": rolled + STRETCH, "told": TOLD}
    run(connection, text, asked)
    run(connection, "update rolled set seq = ?", [rolled + STRETCH])
    return True


def expire(connection: Connection, before: datetime) -> None:
    """Delete the sums of minutes and hours that ended by then, within a transaction."""
    text = "delete from rollups where start + to_seconds(width) <= ?"
    run(connection, text, [naive(before)])


def ask(connection: Connection, asked: Question) -> list[dict[str, Any]] | Question:
    """What calls did, a row a group (`g0`, …) and step; where there are few and each is to be read, the
    question of those alone that its rows are of."""
    connection.begin()  # the sums and how far they go, of one state
    try:
        ((rolled,),) = run(connection, "select seq from rolled")
        period = _naive(asked.read) | {"rolled": rolled}
        many = query("rolled_many").format(sums=query("rolled_sums"))
        ((calls, mixed),) = run(connection, many, period)
        if calls <= rollups.FEW:
            return asked
        tagged = duckdb_tags.told(connection, asked)
        if tagged is None:
            asked, calls = duckdb_people.narrowed(connection, asked, calls)
            if calls <= rollups.FEW * (rollups.TIMES if asked.chosen else 1):
                return asked
        apart = asked.apart or asked.without_key is not None
        summed = asked.by_the_minute and not (mixed and apart)
        people, more = duckdb_people.everybody(connection, asked)
        given = {**period, **_naive(asked.bounds(summed=summed)), **asked.asked(), **more}
        if tagged is None:
            text = _text(asked, people, summed=summed, few_tags=_few_tags(connection, asked))
        else:
            given |= tagged[0]
            text = _text(asked, people, summed=True, few_tags=tagged[1], tagged=True)
        rows = read.dicts(execute(connection, text, duckdb_people.used(text, given)))
        return [_aware(each) for each in rows]
    finally:
        connection.rollback()


def _few_tags(connection: Connection, asked: Question) -> bool:
    """Whether a question by tag is of calls that have the same few tags."""
    if not any(column.startswith(TAGGED) for column in asked.by):
        return False
    given = {"since": naive(asked.since), "until": naive(asked.until)}
    ((found,),) = run(connection, query("few_tags"), given)
    return bool(found <= rollups.FEW_TAGS)


def _naive(bounds: dict[str, Any]) -> dict[str, Any]:
    return {name: naive(at) for name, at in bounds.items()}


def _aware(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("start", "first_at", "last_at"):
        if row[name] is not None:
            row[name] = aware(row[name])
    return row


def _text(
    asked: Question, people: Mapping[str, str], *, summed: bool, few_tags: bool, tagged: bool = False
) -> str:
    step = "null::timestamp"
    if asked.step_s is not None:
        step = (
            f"make_timestamp(epoch_us({{column}}) // {asked.step_s * 1_000_000} * {asked.step_s * 1_000_000})"
        )
    columns = asked.by or ("null::varchar",)
    keys = [f"g{at}" for at in range(len(columns))]
    late = [few_tags and column.startswith(TAGGED) for column in columns]
    scanned = ["tags" if each else column for column, each in zip(columns, late, strict=True)]
    groups = ", ".join(f"{column} as {key}" for column, key in zip(scanned, keys, strict=True))
    names = ", ".join(
        f"{column.replace('(tags,', f'({key},')} as {key}" if each else key
        for column, key, each in zip(columns, keys, late, strict=True)
    )
    histograms = [name for name in HISTOGRAMS if name in asked.histograms]
    of_sums = ", ".join(f"{column} as {key}" for column, key in zip(columns, keys, strict=True))
    filled = {
        "groups": groups,
        "groups_of_sums": of_sums if summed else ", ".join(f"null::varchar as {key}" for key in keys),
        "keys": ", ".join(keys),
        "names": names,
        "once_before": "distinct" if any(late) else "",
        "step_of_record": step.format(column="started_at"),
        "step_of_sums": step.format(column="start"),
        "where": asked.of_records,
    }
    places = [_quantile(name) for name in asked.quantiles]
    order = [asked.order, *(f"counts.{key}" for key in keys), "counts.start"]
    return query("rolled").format(
        **filled,
        sums=f"from {tagging.TABLE} where {WHOLE_DAYS}" if tagged else query("rolled_sums"),
        where_of_sums=asked.where if summed else "false",
        histograms="".join(f", {name}" for name in histograms),
        bins=_bins(", ".join(keys), names, histograms),
        **read.beyond(asked, ok="true"),
        near="".join(f", {near}" for near, _ in places),
        quantiles="".join(f", {value}" for _, value in places),
        told="".join(f"quantiles.{name}, " for name in asked.quantiles),
        **{name: _people(asked, name, people.get(name), filled, tagged=tagged) for name in PEOPLE},
        order=", ".join(filter(None, order)),
    )


def _people(asked: Question, name: str, rows: str | None, filled: Mapping[str, str], *, tagged: bool) -> str:
    """Whose calls they were, each once a group and step; `rows` are of sums of people that tell it."""
    person = PEOPLE[name]
    if tagged and name in asked.people:
        return query("rolled_tagged").format(**filled, person=person, of=name, days=WHOLE_DAYS)
    every_call = (
        "(from records where started_at >= $since and started_at < $until"
        f' and ($without is null or "key" <> $without) and {asked.where})'
    )
    everybody = rows or (every_call if name in asked.people else duckdb_people.NOBODY)
    return query("rolled_people").format(**filled, person=person, of=name, everybody=everybody)


def _bins(keys: str, names: str, histograms: Collection[str]) -> str:
    parts = [
        query("rolled_bins").format(
            keys=keys,
            names=names,
            at=HISTOGRAMS.index(name),
            name=name,
            bin=bin_of(BINNED[name]),
            column=BINNED[name],
        )
        for name in histograms
    ]
    none = "select 0::ubigint as place, 0 as of_what, 0 as bin, 0 as n limit 0"
    return "    union all\n".join(parts or [none])


def _quantile(name: str) -> tuple[str, str]:
    """The two nearest bins and the place between them, and the value there, as of every call."""
    histogram, share, scale = QUANTILES[name]
    of = f"of_what = {HISTOGRAMS.index(histogram)}"
    low, high = (
        f"min(bin) filter ({of} and upto > {side}({share}::double * (total - 1)))"
        for side in ("floor", "ceil")
    )
    at = f"{share}::double * (any_value(total) filter ({of}) - 1)"
    near = f"{low} as {name}_low, {high} as {name}_high, {at} as {name}_at"
    low, high = (
        f"if({name}_{side} <= {LEAST_BIN}, 0, pow({GROWTH}, {name}_{side}))" for side in ("low", "high")
    )
    return near, f"({low} + ({high} - {low}) * ({name}_at - floor({name}_at))) * {scale} as {name}"
