"""Sums by the day and the person that the record log's DuckDB file keeps.

They choose: of a question by user or session they say which rows come first, and only the calls of these
are read then; of users only for their quantiles, since all else is in the sums. And they tell how many users
and sessions there were. What an erasure blanks in records it blanks here in the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import Connection, query, reach, run
from airboss.store.rollups import DAY_S, Question, Sums, inside
from airboss.store.rows import naive

_PARAMETER: Final = re.compile(r"\$([a-z_0-9]+)")

NUMBERS: Final = {
    "requests": "sum(requests)::bigint",
    "errors": "sum(errors)::bigint",
    "cancelled": "sum(cancelled)::bigint",
    "refused": "sum(refused)::bigint",
    "answered": "sum(answered)::bigint",
    "input_tokens": "coalesce(sum(input_tokens), 0)::bigint",
    "output_tokens": "coalesce(sum(output_tokens), 0)::bigint",
    "cost_usd": "sum(cost_usd)",
    "cost_unknown": "sum(cost_unknown)::bigint",
    "priced": "sum(priced)::bigint",
    "started": "sum(started)::bigint",
    "rates": "coalesce(sum(rates), 0)",
    "rated": "sum(rated)::bigint",
    "first_at": "min(first_at)",
    "last_at": "max(last_at)",
}
"""What calls are summed up to, and how."""
_APART: Final = ("deployment", "release", "arm", "model", "provider", '"key"', "operation")
USERS: Final = Sums("user_sums", (*_APART, '"user"'), ('"user"',), tuple(NUMBERS))
SESSIONS: Final = Sums(
    "session_sums",
    (*_APART, "session", '"user"'),
    ("session", '"user"'),
    ("requests", "errors", "answered", "output_tokens", "cost_usd", "last_at"),
)
"""Only what chooses: a session has few calls a day, so that its sums are hardly fewer than these."""
TABLES: Final = (USERS, SESSIONS)
NOBODY: Final = "(from records where false)"
_WITHOUT: Final = '($without is null or "key" <> $without)'


def make(connection: Connection, sums: Sums, table: str, first: int, last: int) -> None:
    """Make the sums of a stretch of records in a table of this connection's own."""
    stretch = "select * from records where seq >= $first and seq < $last"
    text = _summed(sums, stretch)
    run(connection, f"create temp table {table} as {text}", {"first": first, "last": last})


def blank(connection: Connection, seqs: Sequence[int]) -> None:
    """Take these records' people out of the sums, within a transaction and before they are blanked: what the
    records did stays, as nobody's."""
    if not seqs:
        return
    for sums in TABLES:
        summed, _ = reach(connection, sums.table)
        given = {"seqs": list(seqs), "summed": summed}
        named = " or ".join(f"{column} is not null" for column in sums.people)
        gone = query("gone_people").format(named=named)
        text = query("leave_people").format(
            table=sums.table, people=", ".join(sums.people), records=f"({gone})", same=_same(sums, "sums")
        )
        run(connection, text, given)
        _sum(connection, sums, gone, given, nobody=True)
        others = query("other_calls").format(
            people=", ".join(sums.people), gone=gone, same=_same(sums, "records")
        )
        _sum(connection, sums, others, given)


def expire(connection: Connection, since: datetime) -> None:
    """Delete the sums of days before this one, within a transaction."""
    for sums in TABLES:
        run(connection, f"delete from {sums.table} where start < ?", [since])  # noqa: S608 - a name of ours


def narrowed(connection: Connection, asked: Question, calls: int) -> tuple[Question, int]:
    """The question of so many calls, of those alone that its rows are of, and how many these are."""
    if asked.person is not None:
        return _of_first(connection, asked, asked.person)
    if asked.where != "true" and not asked.by_the_minute:
        text = query("matching").format(where=asked.where)
        ((calls,),) = run(connection, text, _given(text, asked, {}))
    return asked, calls


def everybody(connection: Connection, asked: Question) -> tuple[dict[str, str], dict[str, Any]]:
    """Whose calls they were, `users` and `sessions` as rows to select from, and what these are given; without
    those that are read from every call."""
    found: dict[str, str] = {}
    given: dict[str, Any] = {}
    for name, tables in (("users", TABLES), ("sessions", (SESSIONS,))):
        sums = next((each for each in tables if each.tells(asked)), None)
        if name in asked.people and asked.step_s is None and sums is not None:
            rows, more = _rows(connection, sums, asked)
            text = query("everybody").format(people=rows, without=_WITHOUT, where=asked.where)
            found[name] = f"({text})"
            given |= more
    return found, given


def _of_first(connection: Connection, asked: Question, person: str) -> tuple[Question, int]:
    """The question of the groups that come first; `person` is a column of these."""
    if asked.metric == "latency_p95_ms":
        found = _slowest(connection, asked)
        return asked.of_groups(person, [row[:-2] for row in found], _these), sum(row[-1] for row in found)
    rows, more = _calls(connection, asked)
    keys = [f"g{at}" for at in range(len(asked.by))]
    whole = f"max({asked.metric})" if asked.metric == "last_at" else f"sum({asked.metric})"
    text = query("top_people").format(
        groups=", ".join(f"{column} as {key}" for column, key in zip(asked.by, keys, strict=True)),
        people=rows,
        without=_WITHOUT,
        where=asked.where,
        order=whole,
        keys=", ".join(keys),
    )
    found = run(connection, text, _given(text, asked, more))
    return asked.of_groups(person, [row[:-1] for row in found], _these), sum(row[-1] for row in found)


def _slowest(connection: Connection, asked: Question) -> list[Any]:
    """The groups with the slowest calls, exactly; sums of people tell how many calls they had and no more, so
    that each call is looked at, but only a few of them are kept. Some more may come with them that are no
    slower than the last."""
    rows, more = _calls(connection, asked)
    keys = [f"g{at}" for at in range(len(asked.by))]
    text = query("slowest_people").format(
        groups=", ".join(f"{column} as {key}" for column, key in zip(asked.by, keys, strict=True)),
        keys=", ".join(keys),
        keys_of_told=", ".join(f"told.{key}" for key in keys),
        same=" and ".join(f"tail.{key} is not distinct from told.{key}" for key in keys),
        people=rows,
        without=_WITHOUT,
        where=asked.where,
    )
    near = query("tail").format(without=_WITHOUT, where=asked.where)
    ((tail,),) = run(connection, near, _given(near, asked, {}))
    found = run(connection, text, _given(text, asked, more | {"tail": tail}))
    if tail >= 0 and sum(row[-2] for row in found) < asked.limit:
        found = run(connection, text, _given(text, asked, more | {"tail": -1.0}))
    return found


def told(connection: Connection, asked: Question) -> list[dict[str, Any]] | None:
    """What the calls of chosen rows did, exactly: quantiles of these, all else from the sums of users; None
    where these do not tell it."""
    if not asked.chosen or not USERS.tells(asked) or asked.bounded:
        return None
    keys = [f"g{at}" for at in range(len(asked.by))]
    same = " and ".join(f"{{table}}.{key} is not distinct from numbers.{key}" for key in keys)
    connection.begin()  # the sums and how far they go, of one state
    try:
        rows, more = _rows(connection, USERS, asked)
        people, of_people = everybody(connection, asked)
        text = query("chosen").format(
            groups=", ".join(f"{column} as {key}" for column, key in zip(asked.by, keys, strict=True)),
            numbers=_added_up(USERS),
            people=rows,
            without=_WITHOUT,
            where=asked.where,
            cost="quantile_cont(cost_usd::double, 0.95)" if "cost_p95_usd" in asked.quantiles else "null",
            users='count(distinct "user")' if "users" in asked.people else "0",
            sessions=people.get("sessions", NOBODY),
            same_quantiles=same.format(table="quantiles"),
            same_sessions=same.format(table="sessions"),
            order=", ".join([*filter(None, [asked.order]), *(f"numbers.{key}" for key in keys)]),
        )
        return read.dicts(connection.execute(text, _given(text, asked, more | of_people)))
    finally:
        connection.rollback()


def _these(column: str, name: str) -> str:
    return f"{column} in (select unnest(${name}::varchar[]))"


def _calls(connection: Connection, asked: Question) -> tuple[str, dict[str, Any]]:
    """The calls of a question's period, by the smallest sums that tell it or else one by one, and what that
    is given."""
    sums = next((each for each in TABLES if each.tells(asked)), None)
    if sums is not None:
        return _rows(connection, sums, asked)
    every = "select * from records where started_at >= $since and started_at < $until"
    return query("calls").format(records=every), {}


def _rows(connection: Connection, sums: Sums, asked: Question) -> tuple[str, dict[str, Any]]:
    """The calls of a question's period by person, and what that is given."""
    summed, since = reach(connection, sums.table)
    days, days_end = inside(asked.since, asked.until, DAY_S)
    first, last = naive(days), naive(days_end)
    if since is not None:
        first = min(max(first, since), last)
    unsummed = query("unsummed").format(table=sums.table)
    text = query("people").format(
        table=sums.table,
        columns=", ".join(sums.columns),
        numbers=", ".join(sums.numbers),
        calls=query("calls").format(records=unsummed),
    )
    return text, {"days": first, "days_end": last, sums.table: summed}


def _given(text: str, asked: Question, more: dict[str, Any]) -> dict[str, Any]:
    """What a statement about a question is given."""
    return used(text, {**asked.asked(), "since": naive(asked.since), "until": naive(asked.until), **more})


def used(text: str, every: dict[str, Any]) -> dict[str, Any]:
    """What a statement is given, of all that there is."""
    return {name: every[name] for name in set(_PARAMETER.findall(text))}


def _added_up(sums: Sums) -> str:
    return ", ".join(f"{NUMBERS[name]} as {name}" for name in sums.numbers)


def _same(sums: Sums, table: str) -> str:
    return " and ".join(f"{table}.{each} is not distinct from gone.{each}" for each in sums.people)


def _sum(
    connection: Connection, sums: Sums, records: str, given: dict[str, Any], *, nobody: bool = False
) -> None:
    """Sum up records, as nobody's where that is said."""
    text = f"insert into {sums.table} {_summed(sums, records, nobody=nobody)}"
    run(connection, text, used(text, given))


def _summed(sums: Sums, records: str, *, nobody: bool = False) -> str:
    """The sums of records, as nobody's where that is said."""
    people: Collection[str] = sums.people if nobody else ()
    columns = [f"null::varchar as {each}" if each in people else each for each in sums.columns]
    return query("sum_people").format(
        columns=", ".join(columns),
        numbers=_added_up(sums),
        calls=query("calls").format(records=records),
    )
