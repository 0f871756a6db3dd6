"""The sums by person that DuckDB's file keeps: they are those of its records, whoever is forgotten."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, UsageQuery
from airboss.store import duckdb_people, duckdb_sums, rollups
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.duckdb_people import TABLES
from tests.store.samples import SEGMENT, START, record_json
from tests.store.spans import span, span_move
from tests.store.test_erase import in_files
from tests.store.test_old_schemas import RECORDS, old_store

COUNT = 1_000
STRETCH = 256
WHO = "ann-unmistakable-7f3a"
MADE = {
    "requests": "count(*)",
    "errors": "count(*) filter (status = 'error')",
    "cancelled": "count(*) filter (status = 'cancelled')",
    "refused": "count(*) filter (status = 'refused')",
    "answered": "count(*) filter (status = 'ok')",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cost_usd": "sum(cost_usd)",
    "cost_unknown": "count(*) filter (cost_usd is null)",
    "priced": "count(cost_usd) filter (status = 'ok')",
    "started": "count(ttft_ms) filter (status = 'ok')",
    "rates": "count(*) filter (status = 'ok') * 100.0",  # each wrote 8 tokens in 80 ms
    "rated": "count(*) filter (status = 'ok')",
    "first_at": "min(started_at)",
    "last_at": "max(started_at)",
}
"""Each number of a sum, of records."""
TOOK = {
    "latencies": "list(latency_ms) filter (status = 'ok')",
    "ttfts": "list(ttft_ms) filter (status = 'ok' and ttft_ms is not null)",
}
"""And what is held of each call."""
STATUSES = ("ok", "error", "ok", "cancelled", "refused")
NOON = START.replace(day=3)
"""Calls are of five days; this is amid the third."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short stretches, and sums asked where a few calls would be read; rows of people are chosen."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", STRETCH)
    monkeypatch.setattr(rollups, "FEW", 100)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of several people who share a session in a file, the most of them summed up."""
    path = tmp_path_factory.mktemp("full") / "records.duckdb"
    rng = random.Random(20261128)
    records = [call(number, user=rng.choice([WHO, "bob", None])) for number in range(COUNT)]
    with pytest.MonkeyPatch.context() as patch, closing(DuckDBRecordLog(path)) as log:
        patch.setattr(duckdb_sums, "STRETCH", STRETCH)
        log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
        tidied(log)
    return path


@pytest.fixture
def log(full: Path, tmp_path: Path) -> Iterator[DuckDBRecordLog]:
    """A copy of it, to do with as one likes."""
    with closing(DuckDBRecordLog(Path(shutil.copy(full, tmp_path)))) as found:
        yield found


def call(number: int, *, user: str | None, **fields: Any) -> bytes:
    """A call, seven minutes after the last."""
    at = START + timedelta(minutes=7 * number)
    session = "of-both" if number % 3 else f"s-{user}"
    given = {"started_at": at, "user": user, "session": session, "model": f"m{number % 2}"}
    given |= {"key": f"k{number % 4}", "status": STATUSES[number % len(STATUSES)]}
    given |= {"cost_usd": None} if number % 6 == 0 else {}
    return record_json(number, **given | fields)


def tidied(log: DuckDBRecordLog) -> None:
    """Everything summed up that makes a stretch."""
    while log.tidy():
        pass


def of_records(log: DuckDBRecordLog) -> None:
    """Each sum is that of its records, and there is one for each of them that is summed up."""
    with log._reading() as connection:
        for sums in TABLES:
            columns = ", ".join(sums.columns)
            ((seq,),) = connection.execute(
                "select seq from summed_people where name = ?", [sums.table]
            ).fetchall()
            assert seq > COUNT - STRETCH
            whole = ", ".join(duckdb_people.NUMBERS[name] for name in sums.numbers)
            whole += "".join(f", list_sort(flatten(list({name})))" for name in TOOK)
            of_each = ", ".join(MADE[name] for name in sums.numbers)
            of_each += "".join(f", list_sort(coalesce({text}, []))" for text in TOOK.values())
            kept = connection.execute(
                f"select start, {columns}, {whole} from {sums.table} group by all order by all"
            ).fetchall()
            made = connection.execute(
                f"select date_trunc('day', started_at) as start, {columns}, {of_each}"
                f" from records where seq < {seq} group by all order by all"
            ).fetchall()
            assert kept == made, sums.table


def named(log: DuckDBRecordLog) -> Sequence[tuple[Any, ...]]:
    """Sums that name the person."""
    mine = f"\"user\" = '{WHO}' or session = 's-{WHO}'"
    with log._reading() as connection:
        found = connection.execute(f"select start from user_sums where \"user\" = '{WHO}'").fetchall()
        return found + connection.execute(f"select start from session_sums where {mine}").fetchall()


def test_a_stretch_ends_with_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is long enough by then: what no sum has is of the last day alone. A longer day is parted, and
    what came late from the day before is summed up with the next."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 400)
    monkeypatch.setattr(duckdb_sums, "LEAST", 64)
    found = DuckDBRecordLog(tmp_path / "records.duckdb")
    late = START.replace(day=2)
    records = [call(at, user="bob", **({"started_at": late} if at == 500 else {})) for at in range(COUNT)]
    found.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    tidied(found)
    last_day = (START + timedelta(minutes=7 * COUNT)).replace(hour=0, minute=0)
    before = sum(START + timedelta(minutes=7 * at) < last_day for at in range(COUNT))
    assert ends(found) == {before + 1}
    of_records(found)
    assert total(found) == COUNT
    busy = tuple(call(COUNT + at, user="bob", started_at=last_day) for at in range(400))
    found.apply(JournalMove(segment=SEGMENT, start=100, end=200, records=busy))
    tidied(found)
    assert ends(found) == {before + 1 + 400}
    of_records(found)
    assert total(found) == COUNT + 400
    found.close()


def ends(log: DuckDBRecordLog) -> set[int]:
    """The first record that is in no sum of a person or tag."""
    with log._reading() as connection:
        return {seq for (seq,) in connection.execute("select seq from summed_people").fetchall()}


def test_no_sum_names_the_person_after_an_erasure(log: DuckDBRecordLog, tmp_path: Path) -> None:
    """Nor after a restart, nor when the rest is summed up; what was done is in the sums as nobody's, and in
    no file does the name stand."""
    of_records(log)
    assert named(log)
    before = total(log)
    log.erase({WHO: START + timedelta(days=99)})
    assert not named(log)
    of_records(log)
    assert total(log) == before
    assert in_files(tmp_path, WHO.encode()) == []
    log.close()
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    more = tuple(call(COUNT + number, user="bob") for number in range(STRETCH))
    again.apply(JournalMove(segment=SEGMENT, start=100, end=200, records=more))
    tidied(again)
    assert not named(again)
    of_records(again)
    assert total(again) == before + STRETCH
    again.close()


def test_what_they_did_later_stays_theirs(log: DuckDBRecordLog) -> None:
    """An erasure up to a moment amid a day parts that day's sums."""
    log.erase({WHO: NOON, "nobody": NOON})
    of_records(log)
    assert {start.day for (start,) in named(log)} == {3, 4, 5}
    log.erase({WHO: NOON})
    of_records(log)


def test_calls_in_their_traces_lose_the_session(log: DuckDBRecordLog) -> None:
    """Also those of somebody else, and of nobody."""
    traced = span_move(*(span(number, user=WHO) for number in (1, 7, 8)), start=100)
    log.apply(traced)
    log.erase({WHO: START + timedelta(days=99)})
    assert not named(log)
    of_records(log)


def test_an_erasure_that_fails_leaves_all(log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction with the records, so that the next one finds both."""

    def fails(*_given: object, **_more: object) -> None:
        raise StoreUnavailable("no more room")

    with monkeypatch.context() as patch:
        patch.setattr("airboss.store.duckdb_spans.erase", fails)
        with pytest.raises(StoreUnavailable):
            log.erase({WHO: NOON})
    of_records(log)
    log.erase({WHO: NOON})
    of_records(log)


def test_sums_go_with_their_days(log: DuckDBRecordLog) -> None:
    """What is left of a day that records were deleted of is read from these, and who was there only before
    is not counted."""
    early = tuple(
        call(COUNT + at, user="early", started_at=NOON - timedelta(hours=1)) for at in range(STRETCH)
    )
    log.apply(JournalMove(segment=SEGMENT, start=100, end=200, records=early))
    tidied(log)
    assert users(log) == {"m0": 3, "m1": 3}
    while log.expire(bodies_before=None, records_before=NOON, limit=100):
        pass
    with log._reading() as connection:
        assert connection.execute("select min(start) from user_sums").fetchall()[0][0].day == 4
        ((left,),) = connection.execute("select count(*) from records").fetchall()
    assert users(log) == {"m0": 2, "m1": 2}
    assert total(log) == left


@pytest.mark.parametrize("person", ["user", "session"])
def test_rows_of_people_are_told_from_sums(log: DuckDBRecordLog, person: str) -> None:
    """What stands in a sum of a whole day is in the answer: numbers, how long calls took, and who the slowest
    are."""
    since = START.replace(hour=0)
    asked = UsageQuery(
        since=since, until=since + timedelta(days=9), by=(person,), order="latency_p95_ms", limit=2
    )
    before = {row.group: row for row in log.usage(asked)}
    everybody = {row.group: row.refused for row in log.usage(msgspec.structs.replace(asked, limit=9))}
    assert len(before) == 2 < len(everybody)
    assert sum(everybody.values()) == COUNT // len(STATUSES)
    (other,) = [group for group in everybody if group not in before][:1]
    with log._transaction() as connection:
        connection.execute(
            f"update {person}_sums set refused = refused + 1000, latencies = $slow, ttfts = $slow"
            f" where start = '2026-11-03' and \"{person}\" is not distinct from $other",
            {"other": other[0], "slow": [99e3] * 100},
        )
    first = log.usage(asked)[0]
    assert first.group == other
    assert first.refused > everybody[other] + 999
    assert first.latency_p99_ms == 99e3
    assert first.ttft_p95_ms == 99e3


OLD_SUM = """
    insert into {table} by name
    select
        date_trunc('day', started_at) as start, deployment, release, arm, model, provider, {columns},
        count(*) as requests, 0 as errors, {more} sum(output_tokens) as output_tokens,
        sum(cost_usd) as cost_usd, max(started_at) as last_at
    from records where seq < 32
    group by all
"""
SINCE_010 = "count(*) as answered, "
OF_USERS_SINCE_010 = SINCE_010 + ", ".join(
    f"0 as {name}"
    for name in (
        "cancelled",
        "refused",
        "input_tokens",
        "cost_unknown",
        "priced",
        "started",
        "rates",
        "rated",
    )
)
OLD_SUMS = {
    9: (("user_sums", '"key", operation, "user"', ""), ("session_sums", 'session, "user"', "")),
    11: (
        ("user_sums", '"key", operation, "user"', OF_USERS_SINCE_010 + ", min(started_at) as first_at,"),
        ("session_sums", '"key", operation, session, "user"', SINCE_010),
    ),
}
"""What sums of a schema are told apart by, and what they have besides."""


@pytest.mark.parametrize("version", OLD_SUMS)
def test_sums_of_an_older_shape_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Of a file with sums and days that were deleted; answers are those of the records before, in between and
    after."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 16)
    monkeypatch.setattr(rollups, "FEW", 3)
    path = tmp_path / "records.duckdb"
    old_store(path, version)
    midnight = START.replace(hour=0, tzinfo=None)
    with duckdb.connect(str(path)) as connection:
        for table, columns, more in OLD_SUMS[version]:
            connection.execute(OLD_SUM.format(table=table, columns=columns, more=more))
        connection.execute("update summed_people set seq = 32, since = ?", [midnight])
    for summed in (0, 15, 31, 31, 31):  # then the other table
        log = DuckDBRecordLog(path)
        assert (total(log), costs(log)) == (RECORDS, RECORDS * 123)
        with log._reading() as connection:
            assert connection.execute("select sum(requests) from user_sums").fetchall() == [(summed or None,)]
            assert connection.execute(
                "select distinct since from summed_people where name <> 'tag_sums'"
            ).fetchall() == [(midnight,)]
        log.tidy()
        log.close()


def costs(log: DuckDBRecordLog) -> int:
    """What calls cost whose sessions and keys rows tell of, in millionths of a dollar."""
    until = START + timedelta(days=99)
    rows = log.usage(UsageQuery(since=START - timedelta(days=9), until=until, by=("session", "key")))
    return round(sum(row.cost_usd or 0 for row in rows) * 1e6)


def test_an_older_file_is_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch by stretch, and a start that is stopped in between goes on; answers are right meanwhile."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 16)
    monkeypatch.setattr(rollups, "FEW", 3)
    path = tmp_path / "records.duckdb"
    old_store(path, 8)
    for _ in range(4):
        log = DuckDBRecordLog(path)
        assert total(log) == RECORDS
        log.tidy()
        log.close()
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select sum(requests) from user_sums").fetchall() == [
            (31,)
        ]  # of stretches to 16 and to 32
        assert connection.execute("select sum(requests) from session_sums").fetchall() == [
            (31,)
        ]  # of stretches to 16 and to 32


def total(log: DuckDBRecordLog) -> int:
    """How many calls rows by user tell of."""
    asked = UsageQuery(since=START - timedelta(days=9), until=START + timedelta(days=99), by=("user",))
    return sum(row.requests for row in log.usage(asked))


def users(log: DuckDBRecordLog) -> dict[str | None, int]:
    """How many users each model had."""
    asked = UsageQuery(since=START - timedelta(days=9), until=START + timedelta(days=9), by=("model",))
    return {row.group[0]: row.users for row in log.usage(asked)}
