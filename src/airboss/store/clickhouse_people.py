"""Sums by the day and the person that ClickHouse keeps: views make them of every insert into `records`, under
the insert's token, so that they hold each call once as well.

They say which rows of people come first and tell these, also how long their calls took, one by one, so that
quantiles are exact; and how many people there were. Rows of sums are by name, which no mutation may change:
an erasure makes the days that name a person anew, of the records as they will be, and puts each in the
place of the old one, before the records are blanked. Killed in between, it does all of that again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from airboss.domain.errors import StoreUnavailable
from airboss.domain.usage import UsageRow
from airboss.store.clickhouse_http import ClickHouse, query
from airboss.store.clickhouse_spans import HALF_MADE
from airboss.store.rollups import APART, DAY_S, Question, Sums, inside

_WRITING: Final = "latency_ms - if(stream, ifNull(ttft_ms, 0), 0)"
_RATED: Final = f"status = 'ok' and {_WRITING} >= 1"
_OUTPUT: Final = "ifNull(records.output_tokens, 0)"
NUMBERS: Final = {
    "requests": ("count()", "toUInt64(1)"),
    "errors": ("countIf(status = 'error')", "toUInt64(status = 'error')"),
    "cancelled": ("countIf(status = 'cancelled')", "toUInt64(status = 'cancelled')"),
    "refused": ("countIf(status = 'refused')", "toUInt64(status = 'refused')"),
    "answered": ("countIf(status = 'ok')", "toUInt64(status = 'ok')"),
    "input_tokens": (
        "sum(ifNull(records.input_tokens, 0))",
        "toInt64(ifNull(records.input_tokens, 0))",
    ),
    "output_tokens": (f"sum({_OUTPUT})", f"toInt64({_OUTPUT})"),
    "cost_usd": (
        "cast(sumOrNull(records.cost_usd) as Nullable(Decimal(38, 12)))",
        "cast(records.cost_usd as Nullable(Decimal(38, 12)))",
    ),
    "cost_unknown": ("countIf(records.cost_usd is null)", "toUInt64(records.cost_usd is null)"),
    "priced": (
        "countIf(status = 'ok' and records.cost_usd is not null)",
        "toUInt64(status = 'ok' and records.cost_usd is not null)",
    ),
    "started": (
        "countIf(status = 'ok' and ttft_ms is not null)",
        "toUInt64(status = 'ok' and ttft_ms is not null)",
    ),
    "rates": (
        f"sumIf({_OUTPUT} / ({_WRITING}) * 1000, {_RATED})",
        f"if({_RATED}, {_OUTPUT} / ({_WRITING}) * 1000, 0)",
    ),
    "rated": (
        f"countIf({_OUTPUT} > 0 and {_RATED})",
        f"toUInt64({_OUTPUT} > 0 and {_RATED})",
    ),
    "first_at": ("min(started_at)", "started_at"),
    "last_at": ("max(started_at)", "started_at"),
    "latencies": (
        "groupArrayIf(latency_ms, status = 'ok')",
        "if(status = 'ok', [latency_ms], [])",
    ),
    "ttfts": (
        "groupArrayIf(assumeNotNull(ttft_ms), status = 'ok' and ttft_ms is not null)",
        "if(status = 'ok' and ttft_ms is not null, [assumeNotNull(ttft_ms)], [])",
    ),
}
"""What calls are summed up to, and what one call is."""
USERS: Final = Sums("user_sums", (*APART, '"user"'), ('"user"',), tuple(NUMBERS))
SESSIONS: Final = Sums("session_sums", (*APART, "session", '"user"'), ("session", '"user"'), tuple(NUMBERS))
TABLES: Final = (USERS, SESSIONS)
ORDERS: Final = {
    "requests": "sum(requests)",
    "errors": "sum(errors)",
    "latency_p95_ms": "quantileExactInclusiveArray(0.95)(latencies)",
    "output_tokens": "sum(output_tokens)",
    "cost_usd": "toFloat64(sumOrNull(cost_usd))",
    "last_at": "max(last_at)",
}
"""What comes first, by sums."""
_ONE_BLOCK: Final = (
    "max_insert_threads = 1, max_threads = 1, min_insert_block_size_rows = 1000000000,"
    " min_insert_block_size_bytes = 0"
)


def summed(sums: Sums, records: str = "records") -> str:
    """What sums a table's view selects, or the same of other records."""
    numbers = ", ".join(f"{of_many} as {name}" for name, (of_many, _) in NUMBERS.items())
    return query("summing_people").format(columns=", ".join(sums.columns), numbers=numbers, records=records)


def rows(sums: Sums, asked: Question) -> tuple[str, dict[str, Any]]:
    """The calls of a question's period by person, and what that is given beside the question's own."""
    days, days_end = inside(asked.since, asked.until, DAY_S)
    text = query("people").format(
        table=sums.table,
        columns=", ".join(sums.columns),
        names=", ".join(NUMBERS),
        calls=", ".join(f"{of_one} as {name}" for name, (_, of_one) in NUMBERS.items()),
    )
    return f"({text})", {"days": days, "days_end": days_end, "since": asked.since, "until": asked.until}


def telling(asked: Question) -> Sums | None:
    """The smallest sums that know all that a question by person names."""
    return next((each for each in TABLES if each.tells(asked)), None)


def told(asked: Question) -> tuple[str, dict[str, Any]] | None:
    """What tells the chosen rows of a question exactly, from sums of people; None where these do not."""
    sums = SESSIONS if "sessions" in asked.people else telling(asked)
    if not asked.chosen or sums is None or not sums.tells(asked):
        return None
    if asked.bounded or "cost_p95_usd" in asked.quantiles:
        return None
    people, given = rows(sums, asked)
    columns = asked.by or ("null",)
    keys = [f"g{at}" for at in range(len(columns))]
    # By its place: in the order a name would mean the column of the sums.
    place = len(keys) + UsageRow.__struct_fields__.index(asked.metric or "requests")
    text = query("chosen").format(
        groups=", ".join(f"{column} as {key}" for column, key in zip(columns, keys, strict=True)),
        keys=", ".join(keys),
        people=people,
        **counted(asked.people),
        where=asked.where,
        order=", ".join([f"{place} desc nulls last", *keys]),
    )
    return text, {**asked.asked(), **given}


def counted(people: Sequence[str]) -> dict[str, str]:
    """How `users` and `sessions` are counted: by 64 bits of hash, in half of the time. One that is not among
    `people` is not read either: the names of sessions were a quarter of what a user's chart cost."""
    columns = {"users": '"user"', "sessions": "session"}
    return {
        name: f"uniqExact(cityHash64({column}))" if name in people else "0"
        for name, column in columns.items()
    }


def blank(house: ClickHouse, user: str, before: datetime) -> list[str]:
    """Take a person out of the sums, and of calls in their traces, before records are blanked; returns the
    days of these. Raises StoreUnavailable while a move is half made, but not for ever: its journal may be
    lost."""
    if _half_made(house) and datetime.now(UTC) - before < HALF_MADE:
        raise StoreUnavailable("a move to ClickHouse is half made and is ended first; it is tried again")
    traced = query("erase_traced")
    asked = {"user": user, "before": before}
    days = [day for (day,) in house.rows(query("days_of_user").format(traced=traced), asked)]
    theirs = f'(started_at <= $before and ("user" = $user or id in ({traced})))'
    blanked = f'if({theirs}, null, "user") as "user", if({theirs}, null, session) as session'
    _make_anew(house, days, f"* replace ({blanked})", asked)
    return days


def expire(house: ClickHouse, before: datetime) -> None:
    """Delete the sums of the days that ended by then, and make those of the very day anew where they count
    calls that are gone, now or since an expiry that was killed."""
    last_day = before.astimezone(UTC).strftime("%Y-%m-%d")
    asked = {"before": before, "day": last_day}
    for sums in TABLES:
        ended = f"from {sums.table} where start < toStartOfDay($before)"
        for (day,) in house.rows(f"select distinct toString(toDate(start)) {ended}", asked):
            house.run(f"alter table {sums.table}{house.on_cluster} drop partition $day", {"day": day})
    if any(_count(house, sums.table, last_day) != _there(house, last_day) for sums in TABLES) and not (
        _half_made(house)
    ):
        _make_anew(house, [last_day], "*", {})


def _half_made(house: ClickHouse) -> bool:
    """Whether records may be there that are not in the sums: made again, these would hold them twice."""
    return bool(house.rows(query("half_made")) or house.rows(query("settlement")))


def _count(house: ClickHouse, table: str, day: str) -> int:
    text = f"select sum(requests) from {table} where toDate(start) = $day"  # noqa: S608 - our own tables
    ((found,),) = house.rows(text, {"day": day})
    return int(found)


def _there(house: ClickHouse, day: str) -> int:
    ((found,),) = house.rows("select count() from records where toDate(started_at) = $day", {"day": day})
    return int(found)


def put_in_place(house: ClickHouse, table: str, day: str, text: str, asked: Mapping[str, Any]) -> bool:
    """Make the sums of a day, by what is to be selected (after names of columns, if any), and put them in the
    place of those that are there; unless they are not of as many calls as there are of that day. Whether they
    are put there."""
    remade = f"remade_{table}"
    house.run(f"truncate table {remade}{house.on_cluster}")
    # A statement that the server has not answered is sent twice: the token lets one of them in.
    once = f"insert_deduplication_token = '{uuid.uuid4().hex}'"
    house.run(f"insert into {remade} {text} settings {once}, {_ONE_BLOCK}", {**asked, "day": day}, hard=True)
    if house.server.cluster is not None:
        house.run(f"system sync replica{house.on_cluster} {remade}", hard=True)
    whole = _count(house, remade, day) == _there(house, day)  # what was killed before this ends only now
    if whole:
        replaced = f"alter table {table}{house.on_cluster} replace partition $day from {remade}"
        house.run(replaced, {"day": day}, hard=True)
    house.run(f"truncate table {remade}{house.on_cluster}")
    return whole


def _make_anew(house: ClickHouse, days: Sequence[str], columns: str, asked: Mapping[str, Any]) -> None:
    for sums in TABLES:
        for day in days:
            of_day = "records where toDate(started_at) = $day"
            records = f"(select {columns} from {of_day}) as records"  # noqa: S608 - names of ours
            if not put_in_place(house, sums.table, day, summed(sums, records), asked):
                raise StoreUnavailable(f"sums of {day} are made by two at once; it is tried again")
