"""Sums by the minute and the hour that ClickHouse keeps (`rollups`): a view makes them of every insert into
`records`, under the insert's token, so that they hold each call once as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.store import clickhouse_people, rollups
from airboss.store.clickhouse_http import ClickHouse, moment, query
from airboss.store.rollups import GROWTH, HISTOGRAMS, LEAST, LEAST_BIN, QUANTILES, Question

BINNED: Final = {"latency": "latency_ms", "ttft": "ttft_ms", "cost": "toFloat64(records.cost_usd) * 1e6"}
TAGGED: Final = "if(JSONHas(tags, "
"""How a column of a tag begins."""
_NONE: Final = "map(toInt16(0), toUInt64(0))"
PEOPLE: Final = ("users", "sessions")
Ask = Callable[[str, Mapping[str, Any]], list[list[Any]]]


def ask(rows: Ask, asked: Question) -> list[dict[str, Any]] | Question:
    """What calls did, a row a group (`g0`, …) and step; where there are few and each is to be read, the
    question of those alone that its rows are of."""
    ((calls,),) = rows(query("summed_many"), asked.read)
    if calls <= rollups.FEW:
        return asked
    asked, calls = _narrowed(rows, asked, calls)
    if calls <= rollups.FEW * (rollups.TIMES if asked.chosen else 1):
        return asked
    summed = asked.by_the_minute
    people, more = _everybody(asked)
    given = {**more, **asked.bounds(summed=summed), **asked.asked()}
    keys = [f"g{at}" for at in range(len(asked.by) or 1)]
    names = (*keys, "start", *_COUNTS, *(asked.quantiles or ("nothing",)), "users", "sessions")
    text = _text(asked, keys, people, summed=summed, few_tags=_few_tags(rows, asked))
    return [_row(dict(zip(names, each, strict=True))) for each in rows(text, given)]


def _few_tags(rows: Ask, asked: Question) -> bool:
    """Whether a question by tag is of calls that have the same few tags."""
    if not any(column.startswith(TAGGED) for column in asked.by):
        return False
    ((found,),) = rows(query("few_tags"), {"since": asked.since, "until": asked.until})
    return bool(found <= rollups.FEW_TAGS)


def _narrowed(rows: Ask, asked: Question, calls: int) -> tuple[Question, int]:
    """The question of so many calls, of those alone that its rows are of, and how many these are."""
    given = {**asked.asked(), "since": asked.since, "until": asked.until}
    person = asked.person
    if person is None:
        if asked.where != "true" and not asked.by_the_minute:
            ((calls,),) = rows(query("matching").format(where=asked.where), given)
        return asked, calls
    keys = [f"g{at}" for at in range(len(asked.by))]
    metric = asked.metric or "requests"
    sums = clickhouse_people.telling(asked)
    people, times, counted, order = "records", _TIMES, "count()", _ORDERS[metric]
    if sums is not None:
        people, more = clickhouse_people.rows(sums, asked)
        given |= more
        times, counted, order = "true", "sum(requests)", clickhouse_people.ORDERS[metric]
    text = query("top_people").format(
        groups=", ".join(f"{column} as {key}" for column, key in zip(asked.by, keys, strict=True)),
        people=people,
        times=times,
        where=asked.where,
        requests=counted,
        keys=", ".join(keys),
        order=order,
    )
    found = rows(text, given)
    return asked.of_groups(person, [row[:-1] for row in found], _these), sum(row[-1] for row in found)


def _everybody(asked: Question) -> tuple[str, dict[str, Any]]:
    """Where the people of a question's calls are counted, and what that is given more."""
    sums = clickhouse_people.SESSIONS if "sessions" in asked.people else clickhouse_people.USERS
    if asked.step_s is not None or not asked.people or not sums.tells(asked):
        return f"(select * from records where {_TIMES})", {}  # noqa: S608 - fixed
    return clickhouse_people.rows(sums, asked)


_TIMES: Final = "started_at >= $since and started_at < $until"
_ORDERS: Final = {
    "requests": "count()",
    "errors": "countIf(status = 'error')",
    "latency_p95_ms": "quantileExactInclusiveIf(0.95)(latency_ms, status = 'ok')",
    "output_tokens": "sum(ifNull(output_tokens, 0))",
    "cost_usd": "toFloat64(sumOrNull(cost_usd))",
    "last_at": "max(started_at)",
}


def _these(column: str, name: str) -> str:
    return f"{column} in ${name}"


def expire(house: ClickHouse, before: datetime) -> None:
    """Delete the sums of minutes and hours that ended by then: whole days as partitions."""
    asked = {"before": before}
    for (day,) in house.rows(query("summed_days"), asked):
        house.run(f"alter table rollups{house.on_cluster} drop partition $day", {"day": day})
    ended = "addSeconds(start, width) <= $before"
    ((some,),) = house.rows(f"select count() from rollups where {ended}", asked)  # noqa: S608 - fixed
    if some:
        house.run(f"delete from rollups{house.on_cluster} where {ended}", asked)  # noqa: S608 - as above


def roll_up() -> str:
    """What the view selects."""
    return query("summing").format(**{name: _histogram(name) for name in HISTOGRAMS})


_COUNTS: Final = (
    *("requests", "errors", "cancelled", "refused", "counted", "answered", "tokens_per_s", "input_tokens"),
    *("output_tokens", "cost_usd", "cost_unknown", "first_at", "last_at", "slow", "late", "costly", "priced"),
    "started",
)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("start", "first_at", "last_at"):
        if values[name] is not None:
            values[name] = moment(values[name])
    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            values[name] = None
    return values


def _text(asked: Question, keys: Sequence[str], everybody: str, *, summed: bool, few_tags: bool) -> str:
    columns = asked.by or ("null",)
    late = [few_tags and column.startswith(TAGGED) for column in columns]
    raw = ["tags" if each else column for column, each in zip(columns, late, strict=True)]
    names = [
        column.replace("(tags,", f"(r{at},") if each else f"r{at}"
        for at, (column, each) in enumerate(zip(columns, late, strict=True))
    ]
    groups = ", ".join(f"{column} as {key}" for column, key in zip(columns, keys, strict=True))
    step, step_of_sums = "null", "null"
    if asked.step_s is not None:
        us = asked.step_s * 1_000_000
        step = f"fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro(started_at), {us}) * {us}, 'UTC')"
        seconds = f"intDiv(toUnixTimestamp(rollups.start), {asked.step_s}) * {asked.step_s}"
        step_of_sums = f"fromUnixTimestamp64Micro(toInt64({seconds}) * 1000000, 'UTC')"
    order = [asked.order, *keys, "counts.start"]
    same = " and ".join(f"isNotDistinctFrom(people.{key}, counts.{key})" for key in (*keys, "start"))
    histograms = [name for name in HISTOGRAMS if name in asked.histograms]
    return query("summed").format(
        raw=", ".join(f"{column} as r{at}" for at, column in enumerate(raw)),
        raw_keys=", ".join(f"r{at}" for at in range(len(raw))),
        names=", ".join(f"{column} as {key}" for column, key in zip(names, keys, strict=True)),
        groups_of_sums=groups if summed else ", ".join(f"null as {key}" for key in keys),
        keys=", ".join(keys),
        keys_of_counts=", ".join(f"counts.{key} as {key}" for key in keys),
        step_of_record=step,
        step_of_sums=step_of_sums,
        where=asked.of_records,
        where_of_sums=asked.where if summed else "false",
        **{name: _histogram(name) if name in asked.histograms else _NONE for name in HISTOGRAMS},
        **{f"{name}_of_sums": name if name in asked.histograms else _NONE for name in HISTOGRAMS},
        quantiles=", ".join(map(_quantile, asked.quantiles)) or "null as nothing",
        merged="".join(f", sumMap({name}) as {name}_merged, {_heap(name)}" for name in histograms),
        people=", ".join(
            f"ifNull(people.{name}, 0) as {name}" if asked.people else f"0 as {name}" for name in PEOPLE
        ),
        everybody=everybody,
        joined=f"left join people on {same}" if asked.people else "",
        # By 64 bits of hash, as in usage: in half of the time.
        some_users='uniqExactState(cityHash64("user"))' if "users" in asked.people else "0",
        some_sessions="uniqExactState(cityHash64(session))" if "sessions" in asked.people else "0",
        **{name: f"uniqExactMerge(some_{name})" if name in asked.people else "0" for name in PEOPLE},
        order=", ".join(filter(None, order)),
    )


def _histogram(name: str) -> str:
    column = BINNED[name]
    place = f"toInt16(round(log(greatest(ifNull({column}, 0), {LEAST})) / log({GROWTH})))"
    return f"sumMapIf(map({place}, toUInt64(1)), status = 'ok' and {column} is not null)"


def _heap(name: str) -> str:
    """The values of a merged histogram's bins, and how many lie in a bin or below."""
    values = f"arrayMap(bin -> if(bin <= {LEAST_BIN}, 0, pow({GROWTH}, bin)), mapKeys({name}_merged))"
    return f"{values} as {name}_values, arrayCumSum(mapValues({name}_merged)) as {name}_upto"


def _quantile(name: str) -> str:
    """Between the two nearest values, as of every call."""
    histogram, share, scale = QUANTILES[name]
    upto = f"{histogram}_upto"
    place = f"({share} * ({upto}[-1] - 1))"
    low, high = (
        f"arrayFirst((value, upto) -> upto > {side}({place}), {histogram}_values, {upto})"
        for side in ("floor", "ceil")
    )
    value = f"({low} * (1 - {place} + floor({place})) + {high} * ({place} - floor({place}))) * {scale}"
    return f"if(empty({upto}), null, {value}) as {name}"
