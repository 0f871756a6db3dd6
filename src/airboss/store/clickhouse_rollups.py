"""Sums by the minute and the hour that ClickHouse keeps (`rollups`): a view makes them of every insert into
`records`, under the insert's token, so that they hold each call once as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from airboss.store import clickhouse_people, clickhouse_tags, rollups, tagging
from airboss.store.clickhouse_http import Ask, ClickHouse, moment, query
from airboss.store.rollups import DAY_S, GROWTH, HISTOGRAMS, LEAST, LEAST_BIN, QUANTILES, Question

BINNED: Final = {"latency": "latency_ms", "ttft": "ttft_ms", "cost": "toFloat64(records.cost_usd) * 1e6"}
TAGGED: Final = "if(JSONHas(tags, "
"""How a column of a tag begins."""
_NONE: Final = "map(toInt16(0), toUInt64(0))"
PEOPLE: Final = ("users", "sessions")
CALLS: Final = 12
"""Sessions with so many calls each, on average, or fewer have few."""
SLOW: Final = 20
"""Of so many times as many sums as groups are asked for the slowest calls are looked at first."""
FEW_MAX: Final = 1_000


def ask(rows: Ask, asked: Question) -> list[dict[str, Any]] | Question:
    """What calls did, a row a group (`g0`, …) and step; where there are few and each is to be read, the
    question of those alone that its rows are of."""
    period = {"since": asked.since, "until": asked.until}
    # How many calls began then ClickHouse knows by its index: a fifth of what it takes to add up sums.
    ((calls,),) = rows(query("matching").format(where="true"), {**period, "without": None})
    if calls <= rollups.FEW:
        return asked
    tagged = clickhouse_tags.told(rows, asked)
    if tagged is None:
        asked, calls = _narrowed(rows, asked, calls)
        if calls <= rollups.FEW * (rollups.TIMES if asked.chosen else 1):
            return asked
    summed = asked.by_the_minute or tagged is not None
    people, more = _everybody(asked, tagged=tagged is not None)
    given = {**more, **asked.bounds(summed=summed), **asked.asked()}
    few_tags = _few_tags(rows, asked) if tagged is None else tagged.few
    if tagged is not None:
        given["tag_days"] = tagged.days
    keys = [f"g{at}" for at in range(len(asked.by) or 1)]
    names = (*keys, "start", *_COUNTS, *(asked.quantiles or ("nothing",)), "users", "sessions")
    text = _text(asked, keys, people, summed=summed, few_tags=few_tags, tagged=tagged is not None)
    found = rows(text, given)
    if tagged is not None and not tagged.holds(clickhouse_tags.told(rows, asked)):
        return ask(rows, asked)
    return [_row(dict(zip(names, each, strict=True))) for each in found]


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
        matching = asked.where != "true" and not asked.by_the_minute
        return _matching(rows, asked, given) if matching else (asked, calls)
    keys = [f"g{at}" for at in range(len(asked.by))]
    metric = asked.metric or "requests"
    sums = clickhouse_people.telling(asked)
    people, times, counted, order = "records", _TIMES, "count()", _ORDERS[metric]
    if sums is not None:
        people, more = clickhouse_people.rows(sums, asked)
        given |= more
        times, counted, order = "true", "sum(requests)", clickhouse_people.ORDERS[metric]
    parts = {
        "groups": ", ".join(f"{column} as {key}" for column, key in zip(asked.by, keys, strict=True)),
        "people": people,
        "where": asked.where,
        "keys": ", ".join(keys),
        "order": order,
        "person": person,
    }
    found: list[list[Any]] = []
    if metric == "latency_p95_ms" and sums is not None and asked.limit <= FEW_MAX:
        found = _slowest_few(rows, parts, given, calls) if person == "session" else []
        found = found or _slowest(rows, sums.table, parts, given)
    found = found or rows(query("top_people").format(**parts, times=times, requests=counted), given)
    return asked.of_groups(person, [row[:-1] for row in found], _these), sum(row[-1] for row in found)


def _slowest_few(rows: Ask, parts: Mapping[str, str], given: dict[str, Any], calls: int) -> list[list[Any]]:
    """The slowest sessions, and how many calls each made, by those with one of the slowest calls alone; none
    where that does not tell them: where sessions have many calls it seldom does."""
    asked = {**given, "many": SLOW * given["limit"]}
    ((bar, sessions),) = rows(query("slowest_calls").format(**parts), asked)
    if calls > CALLS * sessions:
        return []
    found = rows(query("slowest_few").format(**parts), {**given, "bar": bar})
    return found if len(found) == given["limit"] else []


def _slowest(rows: Ask, table: str, parts: Mapping[str, str], given: dict[str, Any]) -> list[list[Any]]:
    """The slowest groups, exactly, and how many calls each made, by the slowest of their calls alone; some
    more may come with them that are no slower than the last. None where these do not tell it."""
    text = query("slow_day").format(people=table, where=parts["where"])
    ((bar,),) = rows(text, {**given, "last_day": given["days_end"] - timedelta(seconds=DAY_S)})
    if bar is None:
        return []
    found = rows(query("slow_people").format(**parts), {**given, "bar": bar})
    enough = sum(sure for *_, sure, _ in found) >= given["limit"]
    return [[*keys, calls] for *keys, _, calls in found] if enough else []


def _matching(rows: Ask, asked: Question, given: dict[str, Any]) -> tuple[Question, int]:
    """A question that is of no groups of people, and of how many calls it is; where it is of a person's, sums
    of people tell its rows."""
    sums = clickhouse_people.telling(asked)
    if sums is None:
        ((calls,),) = rows(query("matching").format(where=asked.where), given)
        return asked, calls
    people, more = clickhouse_people.rows(sums, asked)
    text = query("matching_people").format(people=people, where=asked.where)
    ((calls,),) = rows(text, {**given, **more})
    of_person = asked.step_s is None and not asked.names.isdisjoint(("user", "session"))
    return msgspec.structs.replace(asked, chosen=of_person), calls


def _everybody(asked: Question, *, tagged: bool) -> tuple[str, dict[str, Any]]:
    """Where the people of a question's calls are counted, beside sums by tag, and what that is given more."""
    if tagged:
        return f"(select * from records where {clickhouse_tags.IN_RECORDS})", {}  # noqa: S608 - fixed
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
    return query("summing").format(numbers=numbers())


def numbers() -> str:
    """The numbers of a sum of records."""
    return query("summing_numbers").format(**{name: _histogram(name) for name in HISTOGRAMS})


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


_IN_ROLLUPS: Final = (
    "(width = 3600 and start >= $hours and start < $hours_end)"
    " or (width = 60 and start >= $minutes and start < $hours)"
    " or (width = 60 and start >= $hours_end and start < $minutes_end)"
)
_AT_THE_ENDS: Final = (
    "(started_at >= $since and started_at < $minutes) or (started_at >= $minutes_end and started_at < $until)"
)
_ROLLUPS: Final = {"sums": "rollups", "in_sums": _IN_ROLLUPS, "in_records": _AT_THE_ENDS}
_TAG_SUMS: Final = {
    "sums": tagging.TABLE,
    "in_sums": clickhouse_tags.IN_SUMS,
    "in_records": clickhouse_tags.IN_RECORDS,
}


def _text(
    asked: Question, keys: Sequence[str], everybody: str, *, summed: bool, few_tags: bool, tagged: bool
) -> str:
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
        seconds = f"intDiv(toUnixTimestamp(sums.start), {asked.step_s}) * {asked.step_s}"
        step_of_sums = f"fromUnixTimestamp64Micro(toInt64({seconds}) * 1000000, 'UTC')"
    order = [asked.order, *keys, "counts.start"]
    same = " and ".join(f"isNotDistinctFrom(people.{key}, counts.{key})" for key in (*keys, "start"))
    histograms = [name for name in HISTOGRAMS if name in asked.histograms]
    of_sums = groups if summed else ", ".join(f"null as {key}" for key in keys)
    in_both = {"groups_of_sums": of_sums, "step_of_sums": step_of_sums}
    filled = {
        "groups": groups,
        "keys": ", ".join(keys),
        "raw": ", ".join(f"{column} as r{at}" for at, column in enumerate(raw)),
        "raw_keys": ", ".join(f"r{at}" for at in range(len(raw))),
        "names": ", ".join(f"{column} as {key}" for column, key in zip(names, keys, strict=True)),
        "step_of_record": step,
        "where": asked.of_records,
        "everybody": everybody,
    }
    if tagged or any(late):
        counted = _merged_people(asked, filled, in_both if tagged else None)
    else:
        counted = query("counted_people").format(**filled, **clickhouse_people.counted(asked.people))
    return query("summed").format(
        **filled,
        **in_both,
        **(_TAG_SUMS if tagged else _ROLLUPS),
        counted_people=counted,
        keys_of_counts=", ".join(f"counts.{key} as {key}" for key in keys),
        where_of_sums=asked.where if summed else "false",
        **{name: _histogram(name) if name in asked.histograms else _NONE for name in HISTOGRAMS},
        **{f"{name}_of_sums": name if name in asked.histograms else _NONE for name in HISTOGRAMS},
        quantiles=", ".join(map(_quantile, asked.quantiles)) or "null as nothing",
        merged="".join(f", sumMap({name}) as {name}_merged, {_heap(name)}" for name in histograms),
        people=", ".join(
            f"ifNull(people.{name}, 0) as {name}" if asked.people else f"0 as {name}" for name in PEOPLE
        ),
        joined=f"left join people on {same}" if asked.people else "",
        order=", ".join(filter(None, order)),
    )


def _merged_people(asked: Question, filled: Mapping[str, str], of_tags: Mapping[str, str] | None) -> str:
    """How many people there are, by sets of them that are merged; with those in sums of tags where these are
    told apart as `of_tags`."""
    theirs = {name: name if name in asked.people else "0" for name in PEOPLE}
    tagged = ""
    if of_tags is not None:
        tagged = query("tagged_people").format(**of_tags, **theirs, **_TAG_SUMS, where=asked.where)
    return query("merged_people").format(
        **filled,
        people_of_sums=tagged,
        some_users='uniqExactState(cityHash64("user"))' if "users" in asked.people else "0",
        some_sessions="uniqExactState(cityHash64(session))" if "sessions" in asked.people else "0",
        **{name: f"uniqExactMerge(some_{name})" if name in asked.people else "0" for name in PEOPLE},
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
