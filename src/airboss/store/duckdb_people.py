"""Sums by the day and the person that the record log's DuckDB file keeps.

They say of a question by user or session which rows come first, and tell these, also how long their calls
took, which they hold one by one: quantiles are exact so, and no record is read but those at the two ends. And
they tell how many users and sessions there were. What an erasure blanks in records it blanks here in the same
transaction.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import Connection, execute, query, reach, run
from airboss.store.rollups import APART, DAY_S, Question, Sums, inside
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
LISTS: Final = {
    "latencies": "list_reverse_sort(list(latency_ms) filter (status = 'ok'))",
    "ttfts": "list(ttft_ms) filter (status = 'ok' and ttft_ms is not null)",
}
"""What is held of each call; latencies with the slowest first, so that most sums need not be looked into."""
CALL: Final = (
    "status", "started_at", "stream", "input_tokens", "output_tokens", "cost_usd", "latency_ms", "ttft_ms",
)  # fmt: skip
"""What numbers and lists are made of."""
USERS: Final = Sums("user_sums", (*APART, '"user"'), ('"user"',), tuple(NUMBERS))
SESSIONS: Final = Sums("session_sums", (*APART, "session", '"user"'), ("session", '"user"'), tuple(NUMBERS))
TABLES: Final = (USERS, SESSIONS)
NOBODY: Final = "(from records where false)"
_WITHOUT: Final = '($without is null or "key" <> $without)'
SHARES: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.955, 0.96, 0.97, 0.98, 0.99, 0.995)
"""Of so many calls latencies are looked up that the slowest groups may be told by."""
FIRST: Final = SHARES.index(0.95)
"""Tried first are those from this one on."""
SAMPLE: Final = 100_000
"""Of so many calls they are taken, about, where there are more than `SAMPLED`."""
SAMPLED: Final = 1_000_000

MANY: Final = 200_000
"""More sessions than this are added up by a hash of their names."""
CALLS: Final = 12
"""Sessions with so many calls each, on average, or fewer have few."""
SLOW: Final = 20
"""Of so many times as many sums as groups are asked for the slowest calls are looked at first."""
FEW_MAX: Final = 1_000


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
        return _of_first(connection, asked, asked.person, calls)
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


def _of_first(connection: Connection, asked: Question, person: str, calls: int) -> tuple[Question, int]:
    """The question of the groups that come first; `person` is a column of these."""
    sessions = _sessions(connection, asked)
    found: list[Any] = []
    if asked.metric == "latency_p95_ms":
        if calls <= CALLS * sessions and asked.limit <= FEW_MAX:
            found = _slowest_few(connection, asked)
        found = found or [(*keys, requests) for *keys, _, _, requests in _slowest(connection, asked, calls)]
    else:
        rows, more = _calls(connection, asked)
        many = sessions > MANY and asked.where == "true"
        text = query("top_sessions" if many else "top_people").format(
            columns=", ".join(asked.by),
            groups=_groups(asked),
            people=rows,
            without=_WITHOUT,
            where=asked.where,
            order=f"max({asked.metric})" if asked.metric == "last_at" else f"sum({asked.metric})",
            keys=", ".join(_keys(asked)),
        )
        found = run(connection, text, _given(text, asked, more))
    return asked.of_groups(person, [row[:-1] for row in found], _these), sum(row[-1] for row in found)


def _slowest_few(connection: Connection, asked: Question) -> list[Any]:
    """The groups with the slowest calls, exactly, where groups have few calls each, so that one slow call
    says much of its group; none where that does not settle it."""
    columns = ", ".join(asked.by)
    rows, more = _rows(connection, SESSIONS, asked)
    filled = {"columns": columns, "people": rows, "without": _WITHOUT, "where": asked.where}
    text = query("near_slowest").format(rows=SLOW * asked.limit, **filled)
    ((bar,),) = run(connection, text, _given(text, asked, more))
    near = f"{asked.where} and hash({columns}) in (select place from near)"  # noqa: S608 - of ours
    found, _ = _rows(connection, SESSIONS, asked, near)
    text = query("slowest_few").format(
        groups=_groups(asked), keys=", ".join(_keys(asked)), found=found, near=near, **filled
    )
    slow = run(connection, text, _given(text, asked, more | {"bar": bar}))
    return slow if len(slow) == asked.limit else []


def _sessions(connection: Connection, asked: Question) -> int:
    """How many sessions there are, about, for a question by session; 0 for others."""
    if "session" not in asked.by or not SESSIONS.tells(asked):
        return 0
    return next((found or 0 for (found,) in run(connection, query("sessions_told"))), 0)


def _slowest(connection: Connection, asked: Question, calls: int) -> list[Any]:
    """The groups with the slowest calls, exactly: every latency is looked at, but only a few of them are
    kept. Some more may come with them that are no slower than the last."""
    rows, more = _calls(connection, asked)
    sample, every = f"tablesample system ({100 * SAMPLE / calls}%) repeatable (17)", 1
    if calls <= SAMPLED:
        sample, every = "", max(1, calls // SAMPLE)
    filled = {"shares": list(SHARES), "sample": sample, "every": every}
    near = query("tail").format(**filled, without=_WITHOUT, where=asked.where)
    ((bars,),) = run(connection, near, _given(near, asked, {}))
    all_bars = [-1.0, *(bars or [])]
    found: list[Any] = []
    for some in [all_bars[FIRST + 1 :], all_bars] if bars else [all_bars]:
        text = _slowest_text(asked, rows, len(some))
        found = run(connection, text, _given(text, asked, more | {"bars": some}))
        if sum(row[-2] for row in found) >= asked.limit or (found and found[0][-3]):
            break
    return found


def _slowest_text(asked: Question, rows: str, bars: int) -> str:
    keys, places = _keys(asked), range(1, bars + 1)
    same = " and ".join(f"{{0}}.{key} is not distinct from {{1}}.{key}" for key in keys)
    joined = {
        "heaps": ("heaps", "told"),
        "near": ("near", "tail"),
        "placed": ("placed", "near"),
    }
    latencies = query("latencies_of_sums" if _telling(asked) else "latencies")
    return query("slowest_people").format(
        groups=_groups(asked),
        keys=", ".join(keys),
        **{
            f"keys_of_{name}": ", ".join(f"{name}.{key}" for key in keys) for name in ("told", "tail", "near")
        },
        **{f"same_{name}": same.format(*pair) for name, pair in joined.items()},
        people=rows,
        latencies=latencies.format(groups=_groups(asked), people=rows, without=_WITHOUT, where=asked.where),
        above=", ".join(f"count(*) filter (latency_ms > $bars[{place}])" for place in places),
        enough=", ".join(f"count(*) filter (above[{place}] >= needed)" for place in places),
        without=_WITHOUT,
        where=asked.where,
    )


def told(connection: Connection, asked: Question) -> list[dict[str, Any]] | None:
    """What the calls of chosen rows did, exactly, from sums of people; None where these do not tell it."""
    sums = _telling(asked)
    if not asked.chosen or sums is None or asked.bounded or "cost_p95_usd" in asked.quantiles:
        return None
    keys = _keys(asked)
    same = " and ".join(f"{{table}}.{key} is not distinct from numbers.{key}" for key in keys)
    connection.begin()  # the sums and how far they go, of one state
    try:
        alone = sums is SESSIONS and asked.names <= {column.strip('"') for column in asked.by}
        rows, more = _days(connection, sums, asked, asked.where if alone else None)
        people, of_people = everybody(connection, asked) if sums is USERS else ({}, {})
        sessions = sums is SESSIONS and "sessions" in asked.people
        text = query("chosen").format(
            groups=_groups(asked),
            keys=", ".join(keys),
            numbers=_added_up(sums),
            added=", ".join(sums.numbers),
            people=", ".join(sums.people),
            held=", ".join((*sums.numbers, *LISTS, *sums.people)),
            of_records=", ".join((*CALL, *sums.people)),
            sums=rows,
            records=query("unsummed").format(table=sums.table),
            calls=query("calls").format(records="select * from of_records"),
            without=_WITHOUT,
            where=asked.where,
            users=_users(asked),
            sessions="count(distinct hash(session)) filter (session is not null)" if sessions else "0",
            counted=people.get("sessions", NOBODY),
            **{f"same_{name}": same.format(table=name) for name in ("quantiles", "counted")},
            order=", ".join([*filter(None, [asked.order]), *(f"numbers.{key}" for key in keys)]),
        )
        return read.dicts(execute(connection, text, _given(text, asked, more | of_people)))
    finally:
        connection.rollback()


def _users(asked: Question) -> str:
    """How many users a row has."""
    if "users" not in asked.people:
        return "0"
    if '"user"' in asked.by:
        return '(count("user") > 0)::bigint'
    return 'count(distinct hash("user")) filter ("user" is not null)'


def _keys(asked: Question) -> list[str]:
    return [f"g{at}" for at in range(len(asked.by))]


def _groups(asked: Question) -> str:
    return ", ".join(f"{column} as {key}" for column, key in zip(asked.by, _keys(asked), strict=True))


def _telling(asked: Question) -> Sums | None:
    """The smallest sums that know all that a question names."""
    return next((each for each in TABLES if each.tells(asked)), None)


def _these(column: str, name: str) -> str:
    return f"{column} in (select unnest(${name}::varchar[]))"


def _calls(connection: Connection, asked: Question) -> tuple[str, dict[str, Any]]:
    """The calls of a question's period, by the smallest sums that tell it or else one by one, and what that
    is given."""
    sums = _telling(asked)
    if sums is not None:
        return _rows(connection, sums, asked)
    every = "select * from records where started_at >= $since and started_at < $until"
    return query("calls").format(records=every), {}


def _rows(
    connection: Connection, sums: Sums, asked: Question, few: str | None = None
) -> tuple[str, dict[str, Any]]:
    """The calls of a question's period by person, and what that is given."""
    days, more = _days(connection, sums, asked, few)
    text = query("people").format(
        sums=days,
        columns=", ".join(sums.columns),
        numbers=", ".join((*sums.numbers, *LISTS)),
        calls=query("calls").format(records=query("unsummed").format(table=sums.table)),
    )
    return text, more


def _days(
    connection: Connection, sums: Sums, asked: Question, few: str | None = None
) -> tuple[str, dict[str, Any]]:
    """The sums of the whole days of a question's period, and what that is given; `few` are conditions that
    leave few of many sums, which are found before their other columns are read."""
    summed, since = reach(connection, sums.table)
    days, days_end = inside(asked.since, asked.until, DAY_S)
    first, last = naive(days), naive(days_end)
    if since is not None:
        first = min(max(first, since), last)
    text = query("summed_people").format(
        table=sums.table,
        columns=", ".join(sums.columns),
        numbers=", ".join((*sums.numbers, *LISTS)),
        found=query("found_people").format(table=sums.table, without=_WITHOUT, where=few) if few else "",
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
        lists=", ".join(f"{text} as {name}" for name, text in LISTS.items()),
        people=", ".join(sums.people),
        calls=query("calls").format(records=records),
    )
