"""The sums by tag that ClickHouse keeps: they are those of its records, whoever is forgotten."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, UsageQuery
from airboss.domain.record import InferenceRecord
from airboss.store import clickhouse_tags, rollups, tagging
from airboss.store.clickhouse import ClickHouseRecordLog
from tests.store.conftest import Open
from tests.store.samples import SEGMENT, START
from tests.store.spans import span, span_move
from tests.store.test_clickhouse_people import killed_after
from tests.store.test_duckdb_tags import NOON, WHO, by_team, call, ended_by_tag, numbers
from tests.support.clickhouse import House
from tests.support.wait import until

LATER = START + timedelta(days=99)
APART = tuple(name.strip('"') for name in tagging.APART[:-1])
PERIOD: dict[str, Any] = {"since": START - timedelta(days=9), "until": LATER}
THIRD = "2026-11-03"
COUNT = 600
DAYS = 4
"""On which there are calls."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Sums of few calls, looked for at once, and asked where a few calls would be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clickhouse_tags, "LOOK_S", 0.0)
        patch.setattr(clickhouse_tags, "RESTS", 0.0)
        patch.setattr(clickhouse_tags, "CALLS_A_SUM", 1)
        patch.setattr(rollups, "FEW", 100)
        yield


@pytest.fixture(scope="module")
def full(clickhouse: House, short: None) -> Iterator[str]:
    """Calls of several people and teams, of DAYS, all of them summed up."""
    with clickhouse.database() as url:
        with closing(ClickHouseRecordLog(url)) as log:
            rng = random.Random(20261129)
            take(log, [call(number, user=rng.choice([WHO, "bob", None])) for number in range(COUNT)])
            summed_up(log)
        yield url


@pytest.fixture
def url(clickhouse: House, full: str) -> Iterator[str]:
    """A copy of them, to do with as one likes."""
    with clickhouse.copied(full) as found:
        yield found


@pytest.fixture
def log(open_log: Open) -> ClickHouseRecordLog:
    """A log of the copy, which has looked at it."""
    found = open_log()
    assert found.count(RecordFilter()) == COUNT
    return found


def take(log: ClickHouseRecordLog, records: Sequence[bytes], start: int = 0) -> None:
    """Stored by a move of their own."""
    log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 1, records=tuple(records)))


def summed_up(log: ClickHouseRecordLog) -> None:
    """All days have sums that are over and have not passed."""
    for _ in range(20):
        if not log.tidy():
            return
    raise AssertionError("the same day is summed up again and again")


def of_records(
    log: ClickHouseRecordLog, untold: Sequence[str] = (), gone: Sequence[str] = (), *, named: bool = True
) -> None:
    """The sums are those that its records make, reckoned here, but for days that have none."""
    rows = log._house.rows(
        f"select toString(toDate(start)), {', '.join(tagging.APART)},"
        " requests, input_tokens, cost_usd, priced, started, toString(first_at), toString(last_at), latency,"
        " finalizeAggregation(users), finalizeAggregation(sessions)"
        " from tag_sums where untold != ['']"
    )
    groups: dict[tuple[Any, ...], list[InferenceRecord]] = {}
    for each in log.records(RecordFilter(), limit=99_999, bodies=False):
        day = each.started_at.strftime("%Y-%m-%d")
        if day not in gone:
            tags = {name: value for name, value in each.tags.items() if name not in untold}
            key = (day, *(getattr(each, name) for name in APART), tuple(sorted(tags.items())))
            groups.setdefault(key, []).append(each)
    right = {
        key: (*numbers(calls), len({each.session for each in calls} - {None}))
        for key, calls in groups.items()
    }
    assert right
    assert len(rows) == len(right)
    assert {told(row)[0]: told(row)[1] for row in rows} == right
    assert any(WHO in repr(row) for row in rows) == named
    assert log._house.rows("select count() from remade_tag_sums") == [[0]]


def told(row: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A row of the sums, by its group."""
    size = 1 + len(APART)
    group = (*row[:size], tuple(sorted(json.loads(row[size]).items())))
    requests, tokens, cost, priced, started, first, last, bins, users, sessions = row[size + 1 :]
    whole = Counter({int(place): count for place, count in bins.items()})
    times = [datetime.fromisoformat(each) for each in (first, last)]
    return group, (
        *(requests, tokens, None if cost is None else Decimal(cost), priced, started, *times, whole),
        *(users, sessions),
    )


def marked(log: ClickHouseRecordLog, tag: str) -> bool:
    """Whether sums tell a tag's calls of any day; either way each value's number of calls is right."""
    rows = log.usage(UsageQuery(**PERIOD, by=(f"tag:{tag}",), limit=20_000))
    counted = Counter(each.tags.get(tag) for each in log.records(RecordFilter(), limit=99_999, bodies=False))
    assert {row.group[0]: row.requests for row in rows} == counted
    return bool(days_of(log, tag))


def days_of(log: ClickHouseRecordLog, tag: str) -> list[str]:
    """The days whose sums tell of a tag."""
    asked = rollups.of_usage(UsageQuery(**PERIOD, by=(f"tag:{tag}",)), [], "true", {})
    found = clickhouse_tags.told(log._house.rows, asked)
    return [] if found is None else found.days


def test_sums_are_those_of_the_records(log: ClickHouseRecordLog) -> None:
    """And answers are told from them: what stands in a sum of a whole day is in the answer."""
    of_records(log)
    before = by_team(log)
    assert sum(before.values()) == COUNT
    log._house.run("alter table tag_sums update input_tokens = 9000000 where start = '2026-11-03 00:00:00'")
    rows = log.usage(UsageQuery(**PERIOD, by=("tag:team",)))
    assert len(rows) == len(before)
    assert all(row.input_tokens > 9_000_000 and row.approximate for row in rows)


def test_a_late_call_is_read_until_its_day_is_summed_up_anew(log: ClickHouseRecordLog) -> None:
    """And so is a day that is not over; a move that comes again changes nothing."""
    now = datetime.now(UTC) + timedelta(hours=12)  # of a day that is not over when this test is
    late = [call(COUNT, user="bob", started_at=NOON), call(COUNT + 1, user="bob", started_at=now)]
    for _ in range(2):
        take(log, late, start=1)
        assert THIRD not in days_of(log, "team")
        assert len(days_of(log, "team")) == DAYS - 1
        assert sum(by_team(log).values()) == COUNT + 2
    summed_up(log)
    of_records(log, gone=[f"{now:%Y-%m-%d}"])
    assert len(days_of(log, "team")) == DAYS
    assert sum(by_team(log).values()) == COUNT + 2


def test_calls_that_come_while_a_day_is_summed_up(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sums are not put in place; other days are not kept waiting."""
    days = days_of(log, "team")
    clickhouse_tags.forget(log._house, days)
    run, came = log._house.run, 0

    def overtaken(text: str, *given: Any, **more: Any) -> None:
        nonlocal came
        run(text, *given, **more)
        if text.startswith("insert into remade_tag_sums") and given[0]["day"] == days[-1]:
            came += 1
            moment = datetime.fromisoformat(f"{days[-1]}T01:00:00+00:00")
            take(log, [call(COUNT + came, user=WHO, started_at=moment)], start=came)

    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", overtaken)
        summed_up(log)
    assert came == DAYS  # once beside each other day, and in the end alone
    assert days_of(log, "team") == days[:-1]
    assert sum(by_team(log).values()) == COUNT + came
    summed_up(log)
    of_records(log)


def test_nobody_is_in_them_after_an_erasure(log: ClickHouseRecordLog) -> None:
    """Nor what their tags said, at once, and when the days are summed up again."""
    log.erase({WHO: LATER})
    assert log._house.rows("select count() from tag_sums") == [[0]]
    assert sum(by_team(log).values()) == COUNT
    summed_up(log)
    of_records(log, named=False)
    assert len(days_of(log, "team")) == DAYS


def test_what_they_did_later_stays_theirs(log: ClickHouseRecordLog) -> None:
    """An erasure up to a moment amid a day; calls in their traces lose their tags too."""
    log.apply(span_move(*(span(number, user=WHO) for number in (1, 7, 8)), start=1))
    for _ in range(2):
        log.erase({WHO: NOON, "nobody": NOON})
        summed_up(log)
        of_records(log)


def test_a_question_during_an_erasure_is_asked_again(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums that it meant to take may be gone when it comes to them."""
    rows = log._house.rows
    erased: list[object] = []

    def overtaken(text: str, *given: Any) -> list[list[Any]]:
        if "from tag_sums as sums" in text and not erased:
            erased.append(log.erase({WHO: NOON}))
        return rows(text, *given)

    monkeypatch.setattr(log._house, "rows", overtaken)
    assert sum(by_team(log).values()) == COUNT
    assert erased


def test_an_erasure_that_is_killed_leaves_no_sum_of_theirs(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any step; the next one ends it, and answers are right in between."""
    for after in range(8 * DAYS, 9 * DAYS + 1):
        with monkeypatch.context() as patch:
            patch.setattr(log._house, "run", killed_after(after, log._house.run))
            with pytest.raises(StoreUnavailable, match="killed"):
                log.erase({WHO: LATER})
        assert sum(by_team(log).values()) == COUNT
    log.erase({WHO: LATER})
    summed_up(log)
    of_records(log, named=False)


def test_an_erasure_that_the_server_ends_alone_leaves_no_sum_of_theirs(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose store is killed while it waits: no day is summed up before records are changed."""
    run = log._house.run

    def cut(text: str, *given: Any, **more: Any) -> None:
        if text.startswith("alter table records update"):
            run(f"{text} settings mutations_sync = 0", *given, **more)
            raise StoreUnavailable("killed")
        run(text, *given, **more)

    run("system stop merges records")
    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", cut)
        with pytest.raises(StoreUnavailable, match="killed"):
            log.erase({WHO: LATER})
    summed_up(log)
    run("system start merges records")
    until(lambda: not log._house.rows(clickhouse_tags.CHANGING))
    log.erase({WHO: LATER})
    summed_up(log)
    of_records(log, named=False)
    assert len(days_of(log, "team")) == DAYS


def test_a_change_of_records_that_fails_is_told(log: ClickHouseRecordLog) -> None:
    """Days wait until it is killed: whose tags it was to blank is not known."""
    clickhouse_tags.forget(log._house, days_of(log, "team"))
    log._house.run("alter table records update tags = throwIf(1)::String where 1 settings mutations_sync = 0")
    until(lambda: log._house.rows(clickhouse_tags.CHANGING)[0][1] != "")
    with pytest.raises(StoreUnavailable, match="kill mutation"):
        log.tidy()
    assert sum(by_team(log).values()) == COUNT
    log._house.run("kill mutation where database = currentDatabase() and table = 'records' sync")
    summed_up(log)
    of_records(log)


def test_a_day_that_fails_keeps_no_other_waiting(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and tried again when the others have their sums."""
    days = days_of(log, "team")
    clickhouse_tags.forget(log._house, days)
    run = log._house.run

    def failing(text: str, *given: Any, **more: Any) -> None:
        if text.startswith("insert into remade_tag_sums") and given[0]["day"] in days[-2:]:
            raise StoreUnavailable("too much for the server")
        run(text, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", failing)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="too much"):
                log.tidy()
        for _ in days[:-2]:
            assert log.tidy()
        with pytest.raises(StoreUnavailable, match="too much"):
            log.tidy()
    assert days_of(log, "team") == days[:-2]
    summed_up(log)
    of_records(log)


def test_sums_rest_as_long_as_they_took(log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock: it is the server that works."""
    clickhouse_tags.forget(log._house, days_of(log, "team"))
    monkeypatch.setattr(clickhouse_tags, "RESTS", 1.0)
    now, run = 1_000_000.0, log._house.run

    def slowly(text: str, *given: Any, **more: Any) -> None:
        nonlocal now
        now += 30 * text.startswith("insert into remade_tag_sums")
        run(text, *given, **more)

    monkeypatch.setattr(log._house, "run", slowly)
    monkeypatch.setattr(clickhouse_tags, "time", SimpleNamespace(monotonic=lambda: now))
    assert log.tidy()
    now += 29
    assert not log.tidy()
    now += 2
    assert log.tidy()


@pytest.mark.parametrize("after", range(4))
def test_sums_that_are_killed_at_any_step_are_made_again(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Each call once; an erasure in between leaves nothing of what was made."""
    clickhouse_tags.forget(log._house, days_of(log, "team"))
    with monkeypatch.context() as patch:
        patch.setattr(log._house, "run", killed_after(after, log._house.run))
        with pytest.raises(StoreUnavailable, match="killed"):
            summed_up(log)
    assert sum(by_team(log).values()) == COUNT
    log.erase({WHO: LATER})
    assert log._house.rows("select count() from remade_tag_sums") == [[0]]
    summed_up(log)
    of_records(log, named=False)


def test_sums_go_with_their_days(log: ClickHouseRecordLog) -> None:
    """What is left of a day that records were deleted of is read from these, and not summed up again."""
    while log.expire(bodies_before=None, records_before=NOON, limit=100):
        pass
    summed_up(log)
    of_records(log, gone=[THIRD])
    assert days_of(log, "team") == ["2026-11-04"]
    ((left,),) = log._house.rows("select count() from records")
    assert sum(by_team(log).values()) == left


def test_a_tag_with_very_many_values_is_left_to_the_records(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a day that has them: the others are told from sums all the same, with whatever a tag may hold."""
    monkeypatch.setattr(tagging, "VALUES_MAX", 20)
    monkeypatch.setattr(tagging, "OBJECTS_MAX", 30)
    odd = {'quo"te\\': "it's /ü\n{x}", "team": "t1"}
    many = [
        call(COUNT + at, user=WHO, started_at=NOON, tags={"request": f"r{at}", "team": f"t{at % 5}"})
        for at in range(100)
    ]
    take(log, [*many, call(2 * COUNT, user="bob", started_at=NOON, tags=odd)], start=1)
    summed_up(log)
    assert THIRD in days_of(log, "team")
    assert THIRD not in days_of(log, "request")
    assert len(days_of(log, "request")) == DAYS - 1
    of_records(log, ["request"])
    for tag in ("team", "request", "by", 'quo"te\\'):
        assert marked(log, tag)
    log.erase({WHO: LATER})
    summed_up(log)
    of_records(log, ["request"], named=False)
    assert marked(log, "request")


@pytest.mark.parametrize("bound", ["NAMES_MAX", "ROWS_MAX", "CALLS_A_SUM"])
def test_a_day_of_too_many_tags_is_in_no_sum(
    log: ClickHouseRecordLog, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Questions of it read the records, and it is not tried again and again."""
    monkeypatch.setattr(tagging, "OBJECTS_MAX", 10)
    if bound == "CALLS_A_SUM":
        monkeypatch.setattr(clickhouse_tags, bound, 400)
    else:
        monkeypatch.setattr(tagging, bound, 3)
    tags: list[dict[str, str]] = [{f"n{at}": "x", "team": "t9"} for at in range(99)]
    odd = [call(COUNT + at, user=WHO, started_at=NOON, tags=each) for at, each in enumerate(tags)]
    take(log, odd, start=1)
    summed_up(log)
    assert THIRD not in days_of(log, "team")
    midnight = NOON.replace(hour=0)
    of_it = RecordFilter(since=midnight, until=midnight + timedelta(days=1))
    kept = log._house.rows("select requests, tags from tag_sums where toDate(start) = $day", {"day": THIRD})
    assert kept == [[log.count(of_it), ""]]
    assert marked(log, "team")
    assert not log.tidy()


def test_an_older_database_is_summed_up(log: ClickHouseRecordLog, open_log: Open) -> None:
    """Day by day, and a start that is stopped in between goes on; answers are right meanwhile."""
    for table in ("tag_sums", "remade_tag_sums"):
        log._house.run(f"drop table {table} sync")
    log._house.run("alter table schema_migrations delete where number >= 8")
    for days in range(1, DAYS + 2):
        again = open_log()
        assert sum(by_team(again).values()) == COUNT
        assert again.tidy() == (days <= DAYS)
        assert len(days_of(again, "team")) == min(days, DAYS)
    of_records(again)


def test_calls_of_a_tag_are_told_by_when_they_ended(clickhouse: House) -> None:
    """Sums by the day know no end: of a call that hung over midnight they would say the day before."""
    with clickhouse.emptied() as url, closing(ClickHouseRecordLog(url)) as log:
        take(log, [call(number, user=None, latency_ms=600_000.0) for number in range(COUNT)])
        summed_up(log)
        said, true = ended_by_tag(log)
    assert said == true > 100
