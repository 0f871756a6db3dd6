"""The sums by person that ClickHouse keeps: they are those of its records, whoever is forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, UsageQuery
from airboss.domain.usage import USAGE_ORDERS
from airboss.store import clickhouse_people, clickhouse_rollups, rollups
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.clickhouse_schema import statements
from tests.store.conftest import Open
from tests.store.samples import SEGMENT, START, record_json
from tests.store.spans import span, span_move
from tests.support.clickhouse import House

COUNT = 400
WHO = "ann-unmistakable-7f3a"
NOON = START.replace(day=3)
LATER = START + timedelta(days=99)
KEPT = {
    **{
        f"{name}": f"sum({name})"
        for name in (
            "requests",
            "errors",
            "cancelled",
            "refused",
            "answered",
            "input_tokens",
            "output_tokens",
            "cost_unknown",
            "priced",
            "started",
            "rates",
            "rated",
        )
    },
    "cost_usd": "sumOrNull(cost_usd)",
    "first_at": "min(first_at)",
    "last_at": "max(last_at)",
    "latencies": "arraySort(groupArrayArray(latencies))",
    "ttfts": "arraySort(groupArrayArray(ttfts))",
}
"""What sums hold, and how."""
MADE = """
    select
        {columns},
        count() as requests, countIf(status = 'error') as errors, countIf(status = 'cancelled') as cancelled,
        countIf(status = 'refused') as refused, countIf(status = 'ok') as answered,
        sum(r.input_tokens) as input_tokens, sum(r.output_tokens) as output_tokens,
        countIf(r.cost_usd is null) as cost_unknown,
        countIf(status = 'ok' and r.cost_usd is not null) as priced,
        countIf(status = 'ok' and ttft_ms is not null) as started,
        countIf(status = 'ok') * 100 as rates, -- each wrote 8 tokens in 80 ms
        countIf(status = 'ok') as rated,
        sumOrNull(r.cost_usd) as cost_usd, min(started_at) as first_at, max(started_at) as last_at,
        arraySort(groupArrayIf(latency_ms, status = 'ok')) as latencies,
        arraySort(groupArrayIf(assumeNotNull(ttft_ms), status = 'ok' and ttft_ms is not null)) as ttfts
    from (select *, toDateTime(toStartOfDay(started_at), 'UTC') as start from records) as r
    group by {columns}
"""
"""The same of the records."""


@pytest.fixture(scope="module")
def full(clickhouse: House) -> Iterator[str]:
    """Calls of several people who share a session, of four days, brought by two moves."""
    with clickhouse.database() as url:
        with closing(ClickHouseRecordLog(url)) as log:
            rng = random.Random(20261129)
            records = [call(number, user=rng.choice([WHO, "bob", None])) for number in range(COUNT)]
            for at in range(2):
                log.apply(JournalMove(segment=SEGMENT, start=at, end=at + 1, records=tuple(records[at::2])))
        yield url


@pytest.fixture
def url(clickhouse: House, full: str) -> Iterator[str]:
    """A copy of them, to do with as one likes."""
    with clickhouse.copied(full) as found:
        yield found


@pytest.fixture
def log(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> ClickHouseRecordLog:
    """A log of the copy, which has looked at it."""
    monkeypatch.setattr(rollups, "FEW", 100)
    found = open_log()
    assert found.count(RecordFilter()) == COUNT
    return found


def call(number: int, *, user: str | None, **fields: Any) -> bytes:
    """A call, twelve minutes after the last."""
    given: dict[str, Any] = {
        "started_at": START + timedelta(minutes=12 * number),
        "user": user,
        "session": "of-both" if number % 3 else f"s-{user}",
        "model": f"m{number % 2}",
        "status": ("ok", "error", "ok", "cancelled", "refused")[number % 5],
        "cost_usd": None if number % 6 == 0 else Decimal(number).scaleb(-6),
    }
    return record_json(number, **given | fields)


def of_records(log: ClickHouseRecordLog, *, named: bool) -> None:
    """Each sum is that of its records, and names the person or does not."""
    for sums in clickhouse_people.TABLES:
        columns = ", ".join(("start", *sums.columns))
        kept = log._house.rows(
            f"select {columns}, {', '.join(KEPT.values())} from {sums.table} group by {columns}"
        )
        made = log._house.rows(f"select {columns}, {', '.join(KEPT)} from ({MADE.format(columns=columns)})")
        assert sorted(map(repr, kept)) == sorted(map(repr, made)), sums.table
        assert any(WHO in repr(row) for row in kept) == named
        ((left,),) = log._house.rows(f"select count() from remade_{sums.table}")
        assert left == 0


def by(log: ClickHouseRecordLog, *names: str, **fields: Any) -> dict[tuple[str | None, ...], int]:
    """How many calls each group made."""
    asked = UsageQuery(since=START - timedelta(days=9), until=LATER, by=names, **fields)
    return {row.group: row.requests for row in log.usage(asked)}


def test_a_move_that_comes_again_is_in_them_once(log: ClickHouseRecordLog) -> None:
    """As its records are; and answers are told from them: what a sum says is what comes first."""
    of_records(log, named=True)
    same = (call(COUNT, user="late"),)
    for _ in range(2):
        log.apply(JournalMove(segment=SEGMENT, start=2, end=3, records=same))
    of_records(log, named=True)
    log._house.run(
        "insert into user_sums select * replace (1000 as requests) from user_sums where \"user\" = 'late'"
    )
    assert list(by(log, "user", limit=1)) == [("late",)]


def test_no_sum_names_the_person_after_an_erasure(log: ClickHouseRecordLog) -> None:
    """What was done is in them as nobody's; what comes later is added."""
    before = by(log, "user")
    log.erase({WHO: LATER})
    of_records(log, named=False)
    after = by(log, "user")
    assert after[(None,)] == before[(None,)] + before[(WHO,)]
    log.apply(JournalMove(segment=SEGMENT, start=2, end=3, records=(call(COUNT, user="bob"),)))
    of_records(log, named=False)


def test_what_they_did_later_stays_theirs(log: ClickHouseRecordLog) -> None:
    """An erasure up to a moment amid a day parts that day's sums; calls in their traces lose the session."""
    log.apply(span_move(*(span(number, user=WHO) for number in (1, 7, 8)), start=2))
    for _ in range(2):
        log.erase({WHO: NOON})
        of_records(log, named=True)


def killed_after(statements: int, run: Callable[..., None]) -> Callable[..., None]:
    """As `run`, for so many statements."""
    left = iter(range(statements))

    def killed(*given: Any, **more: Any) -> None:
        if next(left, None) is None:
            raise StoreUnavailable("killed")
        run(*given, **more)

    return killed


@pytest.mark.parametrize("after", [1, 2, 18, 32, 34, 39])
def test_an_erasure_killed_at_any_step_goes_on(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Made again, it leaves each call once."""
    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", killed_after(after, log._house.run))
        with pytest.raises(StoreUnavailable, match="killed"):
            log.erase({WHO: LATER})
    log.erase({WHO: LATER})
    of_records(log, named=False)
    assert sum(by(log, "session").values()) == COUNT


def _killed(*_given: object, **_more: object) -> None:
    raise StoreUnavailable("killed")


def test_a_move_that_is_half_made_comes_first(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records may be there and not in the sums: an erasure waits for the rest of it."""
    more = JournalMove(segment=SEGMENT, start=2, end=3, records=(call(COUNT, user=WHO),))

    with monkeypatch.context() as patch:
        patch.setattr("airboss.store.clickhouse_scores.attach", _killed)
        with pytest.raises(StoreUnavailable, match="killed"):
            log.apply(more)
    with pytest.raises(StoreUnavailable, match="half made"):
        log.erase({WHO: LATER})
    while log.expire(bodies_before=None, records_before=START + timedelta(days=1), limit=100):
        pass  # raises nothing
    log.apply(more)
    log.erase({WHO: LATER})
    of_records(log, named=False)


def test_a_move_that_is_never_ended_is_not_waited_for(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal may be lost; who asked to be forgotten ten minutes ago is."""
    more = JournalMove(segment=SEGMENT, start=2, end=3, records=(call(COUNT, user="bob"),))
    with monkeypatch.context() as patch:
        patch.setattr("airboss.store.clickhouse_scores.attach", _killed)
        with pytest.raises(StoreUnavailable, match="killed"):
            log.apply(more)
    log.erase({WHO: datetime.now(UTC) - timedelta(minutes=11)})
    of_records(log, named=False)


def test_sums_that_two_made_are_not_put_in_place(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the server still works for an erasure whose Airboss was killed."""
    run = log._house.run

    def twice(text: str, *given: Any, **more: Any) -> None:
        run(text, *given, **more)
        if text.startswith("insert into remade_"):
            run(
                text.replace("insert_deduplication_token = '", "insert_deduplication_token = 'x"),
                *given,
                **more,
            )

    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", twice)
        with pytest.raises(StoreUnavailable, match="by two at once"):
            log.erase({WHO: LATER})
    log.erase({WHO: LATER})
    of_records(log, named=False)


def test_sums_go_with_their_records(log: ClickHouseRecordLog) -> None:
    """Whole days, and of the day amid which records end what is left of them."""
    while log.expire(bodies_before=None, records_before=NOON, limit=100):
        pass
    of_records(log, named=True)
    ((left,),) = log._house.rows("select count() from records")
    assert sum(by(log, "user").values()) == left


@pytest.mark.parametrize("statements", [3, 9, 11])
def test_an_expiry_killed_at_any_step_goes_on(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, statements: int
) -> None:
    """Also where the records went and their sums were not made anew, and nothing is left to go."""
    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", killed_after(statements, log._house.run))
        with pytest.raises(StoreUnavailable, match="killed"):
            log.expire(bodies_before=None, records_before=NOON, limit=COUNT)
    while log.expire(bodies_before=None, records_before=NOON, limit=COUNT):
        pass
    of_records(log, named=True)


@pytest.mark.parametrize("person", ["user", "session"])
def test_rows_of_people_are_told_from_sums(log: ClickHouseRecordLog, person: str) -> None:
    """Exactly, in every order: numbers, how long calls took and who the slowest are."""
    for order in USAGE_ORDERS:
        asked = UsageQuery(
            since=START - timedelta(days=1),
            until=START + timedelta(days=3, hours=5),
            by=(person,),
            order=order,
            limit=2,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rollups, "FEW", 10**9)
            expected = log.usage(asked)
        assert log.usage(asked) == expected
    log._house.run(
        f"insert into {person}_sums select * replace ('late' as \"{person}\", [9e4] as latencies,"
        f" [8e4] as ttfts) from {person}_sums where start = '2026-11-02 00:00:00' and answered > 0 limit 1"
    )
    asked = msgspec.structs.replace(asked, order="latency_p95_ms", people=(f"{person}s",))
    first = log.usage(asked)[0]
    assert (first.group, first.latency_p99_ms, first.ttft_p50_ms) == (("late",), 9e4, 8e4)


def test_usage_of_a_person_is_told_from_sums(log: ClickHouseRecordLog) -> None:
    """Exactly, by whatever sums tell apart; in steps it is read from their calls."""
    days: dict[str, Any] = {"since": START - timedelta(days=1), "until": START + timedelta(days=3, hours=5)}
    ann = RecordFilter(user=WHO)
    asks: list[dict[str, Any]] = [
        {"by": ()},
        {"by": (), "where": RecordFilter(user="nobody")},
        {"by": ("model",)},
        {"by": ("status",)},
        {"by": ("model",), "step_s": 21_600},
    ]
    for given in asks:
        asked = UsageQuery(**days, **{"where": ann} | given)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rollups, "FEW", 10**9)
            expected = log.usage(asked)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rollups, "FEW", 150)
            assert log.usage(asked) == expected
    log._house.run(
        "insert into user_sums select * replace ([9e4] as latencies) from user_sums"
        f" where \"user\" = '{WHO}' and answered > 0 and start = '2026-11-02 00:00:00' limit 1"
    )
    asked = UsageQuery(**days, where=ann, by=("model",), people=("users",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollups, "FEW", 150)
        assert any((row.latency_p99_ms or 0) > 9e3 for row in log.usage(asked))


@pytest.mark.parametrize("limit", [1, 9, 140, 999])
def test_the_slowest_of_many_short_sessions(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Found by those with one of the slowest calls, nobody among them; the same as of every call."""
    rng = random.Random(20261130)
    many = [
        call(COUNT + at, user="bob", session=rng.choice([f"s{at // 3}", None]) if at % 50 else None,
             status=rng.choice(["ok", "ok", "error"]), latency_ms=rng.lognormvariate(6, 1.2))
        for at in range(600)
    ]  # fmt: skip
    log.apply(JournalMove(segment=SEGMENT, start=2, end=3, records=tuple(many)))
    asked = UsageQuery(since=START, until=LATER, by=("session",), order="latency_p95_ms", limit=limit)
    with monkeypatch.context() as patch:
        patch.setattr(rollups, "FEW", 10**9)
        expected = log.usage(asked)
    found, rows = [], log._house.rows

    def seen(text: str, *given: Any) -> list[list[Any]]:
        answer = rows(text, *given)
        found.extend([len(answer)] if "having quantile" in text else [])
        return answer

    monkeypatch.setattr(log._house, "rows", seen)
    told = [msgspec.structs.replace(row, tokens_per_s=None) for row in log.usage(asked)]
    assert told == [msgspec.structs.replace(row, tokens_per_s=None) for row in expected]
    assert found
    assert (found[0] == limit) == (limit < 200)


@pytest.mark.parametrize(("person", "limit"), [("user", 1), ("user", 2), ("user", 60), ("session", 3)])
def test_the_slowest_people_of_uneven_many_calls(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, person: str, limit: int
) -> None:
    """Found by the slowest of their calls, nobody among them; the same as of every call. Where these tell of
    fewer than are asked for, every call is looked at."""
    rng = random.Random(20261130)
    people = [int(40 * rng.random() ** 2) for _ in range(600)]
    many = [
        call(COUNT + at, status=rng.choice(["ok", "error"]),
             latency_ms=rng.lognormvariate(6, 0.4) * (1 + each % 7),
             **{"user": "bob", person: f"p{each}" if at % 50 else None})
        for at, each in enumerate(people)
    ]  # fmt: skip
    log.apply(JournalMove(segment=SEGMENT, start=2, end=3, records=tuple(many)))
    until = START + timedelta(days=8)
    asked = UsageQuery(since=START, until=until, by=(person,), order="latency_p95_ms", limit=limit)
    with monkeypatch.context() as patch:
        patch.setattr(rollups, "FEW", 10**9)
        expected = log.usage(asked)
    found, rows = [], log._house.rows

    def seen(text: str, *given: Any) -> list[list[Any]]:
        found.append(text.split(maxsplit=1)[0])
        return rows(text, *given)

    monkeypatch.setattr(log._house, "rows", seen)
    monkeypatch.setattr(clickhouse_rollups, "CALLS", 0)  # sessions of so many calls are not short
    told = [msgspec.structs.replace(row, tokens_per_s=None) for row in log.usage(asked)]
    assert told == [msgspec.structs.replace(row, tokens_per_s=None) for row in expected]
    at = found.index("with")
    assert len(found[at:]) == (2 if limit < 60 else 3)  # who they are and what they did


OLD_SUMS = """
    select
        toDateTime(toStartOfDay(started_at), 'UTC') as start, {columns}, count() as requests,
        countIf(status = 'error') as errors, sum(ifNull(records.output_tokens, 0)) as output_tokens,
        cast(sumOrNull(records.cost_usd) as Nullable(Decimal(38, 12))) as cost_usd, max(started_at) as last_at
    from records
    group by start, {columns}
"""
VIEWS = (("users_summed", clickhouse_people.USERS), ("sessions_summed", clickhouse_people.SESSIONS))


def test_sums_of_an_older_shape_are_made_anew(log: ClickHouseRecordLog, open_log: Open) -> None:
    """Also by a start that was killed half way; calls that come then are in them."""
    house = log._house
    for name, sums in VIEWS:
        house.run(f"drop view {name} sync")
        house.run(f"drop table {sums.table} sync")
        house.run(f"drop table remade_{sums.table} sync")
    folder = Path(clickhouse_people.__file__).parent / "schema/clickhouse"
    for statement in statements((folder / "006_people.sql").read_text(), house.server):
        house.run(statement)
    for name, sums in VIEWS:
        old = OLD_SUMS.format(columns=", ".join(sums.columns))
        house.run(f"insert into {sums.table} {old}")
        house.run(f"create materialized view {name} to {sums.table} as {old}")
    house.run("alter table schema_migrations delete where number >= 7")
    for statement in statements((folder / "007_calls_of_people.sql").read_text(), house.server)[:9]:
        house.run(statement)
    again = open_log()
    assert sum(by(again, "session").values()) == COUNT
    of_records(again, named=True)
    again.apply(JournalMove(segment=SEGMENT, start=2, end=3, records=(call(COUNT, user="late"),)))
    of_records(again, named=True)
    assert by(again, "user")[("late",)] == 1


def test_people_are_counted_from_them(log: ClickHouseRecordLog) -> None:
    """Of whole days from sums, of the ends from records."""
    since, until = START - timedelta(days=1), START + timedelta(days=3, hours=5)
    asked = UsageQuery(since=since, until=until, by=("model",))
    assert {(row.group, row.users, row.sessions) for row in log.usage(asked)} == {
        (("m0",), 2, 4),
        (("m1",), 2, 4),
    }
    log._house.run(
        "insert into session_sums select * replace ('x' as session, 'y' as \"user\") from session_sums"
    )
    assert {(row.group, row.users, row.sessions) for row in log.usage(asked)} == {
        (("m0",), 3, 5),
        (("m1",), 3, 5),
    }
