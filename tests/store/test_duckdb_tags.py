"""The sums by tag that DuckDB's file keeps: they are those of its records, whoever is forgotten."""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, RecordLog, UsageQuery
from airboss.domain.record import InferenceRecord
from airboss.store import duckdb_sums, duckdb_tags, rollups, tagging
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.duckdb_run import reach
from tests.store.killed import killed_in_turn
from tests.store.samples import SEGMENT, START, record_json
from tests.store.spans import span, span_move
from tests.store.test_erase import in_files
from tests.store.test_old_schemas import RECORDS, old_store

COUNT = 1_000
STRETCH = 256
WHO = "ann-unmistakable-7f3a"
NOON = START.replace(day=3)
"""Calls are of five days; this is amid the third."""
APART = tuple(name.strip('"') for name in tagging.APART[:-1])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short stretches, and sums asked where a few calls would be read."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", STRETCH)
    monkeypatch.setattr(rollups, "FEW", 100)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of several people and teams in a file, the most of them summed up."""
    path = tmp_path_factory.mktemp("full") / "records.duckdb"
    rng = random.Random(20261129)
    with pytest.MonkeyPatch.context() as patch, closing(DuckDBRecordLog(path)) as log:
        patch.setattr(duckdb_sums, "STRETCH", STRETCH)
        take(log, [call(number, user=rng.choice([WHO, "bob", None])) for number in range(COUNT)])
    return path


@pytest.fixture
def log(full: Path, tmp_path: Path) -> Iterator[DuckDBRecordLog]:
    """A copy of it, to do with as one likes."""
    with closing(DuckDBRecordLog(Path(shutil.copy(full, tmp_path)))) as found:
        yield found


def call(number: int, *, user: str | None, **fields: Any) -> bytes:
    """A call, seven minutes after the last."""
    given: dict[str, Any] = {
        "started_at": START + timedelta(minutes=7 * number),
        "user": user,
        "session": f"s-{user}-{number % 5}",
        "model": f"m{number % 2}",
        "status": ("ok", "error", "ok")[number % 3],
        "tags": [{"team": f"t{number % 4}", "by": f"of {user}"}, {"team": "t0"}, {}][number % 3],
        "cost_usd": None if number % 6 == 0 else Decimal(number).scaleb(-6),
        "latency_ms": 100.0 + number,
    }
    return record_json(number, **given | fields)


def take(log: DuckDBRecordLog, records: Sequence[bytes], start: int = 0) -> None:
    """Stored, and summed up as far as they make stretches."""
    log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 1, records=tuple(records)))
    while log.tidy():
        pass


def of_records(log: DuckDBRecordLog, untold: Sequence[str] = ()) -> None:
    """The sums are those that its records make, reckoned here."""
    with log._reading() as connection:
        summed, since = reach(connection, tagging.TABLE)
        seqs = dict(connection.execute("select id, seq from records").fetchall())
        kept = connection.execute(
            f"select start, {', '.join(tagging.APART)}, sum(requests)::bigint, sum(input_tokens)::bigint,"
            " sum(cost_usd), sum(priced)::bigint, sum(started)::bigint, min(first_at), max(last_at),"
            " list(map_entries(latency)), list_distinct(flatten(list(users)))"
            " from tag_sums group by all"
        ).fetchall()
    groups: dict[tuple[Any, ...], list[InferenceRecord]] = {}
    for each in log.records(RecordFilter(), limit=99_999, bodies=False):
        day = each.started_at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        if seqs[each.id] < summed and (since is None or day >= since):
            tags = {name: value for name, value in each.tags.items() if name not in untold}
            key = (day, *(getattr(each, name) for name in APART), tuple(sorted(tags.items())))
            groups.setdefault(key, []).append(each)
    right = {key: numbers(calls) for key, calls in groups.items()}
    assert right
    assert {told(row)[0]: told(row)[1] for row in kept} == right


def numbers(calls: Sequence[InferenceRecord]) -> tuple[Any, ...]:
    """What calls are summed up to."""
    costs = [each.cost_usd for each in calls if each.cost_usd is not None]
    bins = Counter(round(math.log(each.latency_ms) / math.log(1.04)) for each in calls if each.status == "ok")
    return (
        len(calls),
        sum(each.input_tokens or 0 for each in calls),
        sum(costs) if costs else None,
        len(costs),
        sum(each.status == "ok" and each.ttft_ms is not None for each in calls),
        min(each.started_at for each in calls).replace(tzinfo=None),
        max(each.started_at for each in calls).replace(tzinfo=None),
        bins,
        len({each.user for each in calls} - {None}),
    )


def told(row: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A row of the sums, by its group."""
    size = 1 + len(APART)
    tags = tuple(sorted(eval(row[size]).items()))
    bins: Counter[int] = Counter()
    for entries in row[-2]:
        bins.update({entry["key"]: entry["value"] for entry in entries or []})
    return (*row[:size], tags), (*row[size + 1 : -2], bins, len(row[-1] or []))


def by_team(log: RecordLog, **fields: Any) -> dict[str | None, int]:
    """How many calls each team made, all told."""
    period: dict[str, Any] = {"since": START - timedelta(days=9), "until": START + timedelta(days=99)}
    rows = log.usage(UsageQuery(**period, by=("tag:team",), **fields))
    return {row.group[0]: row.requests for row in rows}


def test_sums_are_those_of_the_records(log: DuckDBRecordLog) -> None:
    """And answers are told from them: what stands in a sum of a whole day is in the answer."""
    of_records(log)
    before = by_team(log)
    assert sum(before.values()) == COUNT
    with log._transaction() as connection:
        connection.execute("update tag_sums set requests = requests + 1000 where start = '2026-11-03'")
    after = by_team(log)
    assert all(after[team] > before[team] + 999 for team in before)


def test_nobody_is_in_them_after_an_erasure(log: DuckDBRecordLog, tmp_path: Path) -> None:
    """Nor what their tags said, nor after a restart and when the rest is summed up."""
    log.erase({WHO: START + timedelta(days=99)})
    of_records(log)
    assert in_files(tmp_path, WHO.encode()) == []
    with log._reading() as connection:
        named = f"list_contains(users, hash('{WHO}')) or contains(tags, '{WHO}')"
        assert connection.execute(f"select count(*) from tag_sums where {named}").fetchall() == [(0,)]
    log.close()
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    take(again, [call(COUNT + number, user="bob") for number in range(STRETCH)], start=1)
    of_records(again)
    again.close()


def test_what_they_did_later_stays_theirs(log: DuckDBRecordLog) -> None:
    """An erasure up to a moment amid a day parts that day's sums; again, it changes nothing."""
    for _ in range(2):
        log.erase({WHO: NOON, "nobody": NOON})
        of_records(log)


def test_calls_in_their_traces_lose_tags_and_session(log: DuckDBRecordLog) -> None:
    """Also those of somebody else, and of nobody."""
    log.apply(span_move(*(span(number, user=WHO) for number in (1, 7, 8)), start=1))
    log.erase({WHO: START + timedelta(days=99)})
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


def test_sums_go_with_their_days(log: DuckDBRecordLog) -> None:
    """What is left of a day that records were deleted of is read from these."""
    while log.expire(bodies_before=None, records_before=NOON, limit=100):
        pass
    of_records(log)
    with log._reading() as connection:
        assert connection.execute("select min(start) from tag_sums").fetchall()[0][0].day == 4
        ((left,),) = connection.execute("select count(*) from records").fetchall()
    assert sum(by_team(log).values()) == left


def test_a_tag_with_very_many_values_is_left_to_the_records(
    log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it has them: the others are told from sums all the same, an erasure takes both out, and once the
    days of the many are gone, sums tell of it too."""
    monkeypatch.setattr(tagging, "VALUES_MAX", 20)
    monkeypatch.setattr(tagging, "OBJECTS_MAX", 30)
    many = [
        call(COUNT + at, user=WHO if at % 3 else "bob", tags={"request": f"r{at}", "team": f"t{at % 5}"})
        for at in range(2 * STRETCH)
    ]
    take(log, many, start=1)
    assert marked(log, "team") == {True}
    assert marked(log, "request") == {False}
    of_records(log, ["request"])
    before = by_team(log)
    log.erase({WHO: START + timedelta(days=99)})
    of_records(log, ["request"])
    assert sum(by_team(log).values()) == sum(before.values())
    few = [call(4_000 + at, user="bob", tags={"request": f"r{at % 3}"}) for at in range(3 * STRETCH)]
    take(log, few, start=2)
    gone = START + timedelta(minutes=7 * 4_300)  # a stretch has calls of both
    while log.expire(bodies_before=None, records_before=gone, limit=999):
        pass
    assert marked(log, "request") == {True}


def marked(log: DuckDBRecordLog, tag: str) -> set[bool]:
    """Whether a tag's rows are told from sums; either way each value's number of calls is right."""
    period: dict[str, Any] = {"since": START - timedelta(days=9), "until": START + timedelta(days=99)}
    rows = log.usage(UsageQuery(**period, by=(f"tag:{tag}",), limit=20_000))
    counted = Counter(each.tags.get(tag) for each in log.records(RecordFilter(), limit=99_999, bodies=False))
    assert {row.group[0]: row.requests for row in rows} == counted
    with log._reading() as connection:
        asked = rollups.of_usage(UsageQuery(**period, by=(f"tag:{tag}",)), [], "true", {})
        return {duckdb_tags.told(connection, asked) is not None}


@pytest.mark.parametrize("bound", ["NAMES_MAX", "ROWS_MAX"])
def test_a_stretch_of_too_many_tags_is_in_no_sum(
    log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Questions of its days read the records, and an erasure leaves the sums of others right."""
    monkeypatch.setattr(tagging, bound, 3)
    monkeypatch.setattr(tagging, "OBJECTS_MAX", 10 if bound == "NAMES_MAX" else 99_999)
    odd = [call(COUNT + at, user=WHO, tags={f"n{at % 50}": "x", "team": "t9"}) for at in range(2 * STRETCH)]
    take(log, odd, start=1)
    assert marked(log, "team") == {False}
    log.erase({WHO: START + timedelta(days=99)})
    assert marked(log, "team") == {False}
    with log._reading() as connection:
        ((none,),) = connection.execute("select min(first) from untold_tags where name is null").fetchall()
        ((summed,),) = connection.execute("select sum(requests) from tag_sums").fetchall()
    assert summed == none - 1  # the first record is number 1


def test_an_older_file_is_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch by stretch, and a start that is stopped in between goes on; answers are right meanwhile."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 16)
    monkeypatch.setattr(rollups, "FEW", 3)
    path = tmp_path / "records.duckdb"
    old_store(path, 10)
    for _ in range(6):  # the sums of people come first
        log = DuckDBRecordLog(path)
        assert sum(by_team(log).values()) == RECORDS
        log.tidy()
        log.close()
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select sum(requests) from tag_sums").fetchall() == [(31,)]


SUMMING = """
from airboss.store import duckdb_sums, duckdb_tags
from airboss.store.duckdb import DuckDBRecordLog
real = duckdb_sums.run
def run(*given):
    found = real(*given)
    step()
    return found
duckdb_sums.run = duckdb_tags.run = run
duckdb_sums.STRETCH = 32
def work(path):
    log = DuckDBRecordLog(path)
    while log.tidy():
        pass
"""


def test_sums_that_are_killed_at_any_step_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each statement that sums up an older file in turn: the next start has each call once."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 32)
    old, folder = tmp_path / "old.duckdb", tmp_path / "killed"
    old_store(old, 10)
    folder.mkdir()
    killed = killed_in_turn(SUMMING, old, folder)
    for path in killed:
        log = DuckDBRecordLog(path)
        while log.tidy():
            pass
        of_records(log)
        log.close()
    assert len(killed) > 9


def test_another_duckdb_makes_them_anew(log: DuckDBRecordLog, tmp_path: Path) -> None:
    """For its hashes may differ."""
    with log._transaction() as connection:
        connection.execute("update hashed_by set engine = '1.0.0'")
        connection.execute("update tag_sums set users = [1]")
    log.close()
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    while again.tidy():
        pass
    of_records(again)
    again.close()


@pytest.mark.parametrize("blanked", [False, True])
def test_records_come_in_while_sums_are_made(
    log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch, blanked: bool
) -> None:
    """They are made beside the writer; where records were blanked meanwhile, they are made anew."""
    more = tuple(call(COUNT + at, user=WHO) for at in range(STRETCH))
    log.apply(JournalMove(segment=SEGMENT, start=1, end=2, records=more))
    take_in = duckdb_sums.take_in
    came = 0

    def overtaken(*given: Any) -> None:
        nonlocal came
        take_in(*given)
        came += 1
        late = (call(2 * COUNT + came, user="bob"),)
        log.apply(JournalMove(segment=SEGMENT, start=1 + came, end=2 + came, records=late))
        if blanked and came == 1:
            with log._transaction() as connection:
                log._changes += 1
                theirs = f"\"user\" = '{WHO}' and seq > {COUNT}"
                connection.execute(f'update records set "user" = null where {theirs}')

    monkeypatch.setattr(duckdb_sums, "take_in", overtaken)
    while log.tidy():
        pass
    of_records(log)
    assert came == 3 + blanked  # one of each table
    assert log.count(RecordFilter()) == COUNT + STRETCH + came


def ended_by_tag(log: RecordLog) -> tuple[int, int]:
    """How many calls of a team ended within two whole days, as the log says and as its records do."""
    since, until = START.replace(day=2, hour=0), START.replace(day=4, hour=0)
    where = RecordFilter(tag="team=t0")
    asked = UsageQuery(since=since, until=until, by=("deployment",), where=where, people=(), ended=True)
    ends = [
        each.started_at + timedelta(milliseconds=each.latency_ms)
        for each in log.records(where, limit=9_999, bodies=False)
    ]
    return sum(row.requests for row in log.usage(asked)), sum(since <= at < until for at in ends)


def test_calls_of_a_tag_are_told_by_when_they_ended(tmp_path: Path) -> None:
    """Sums by the day know no end: of a call that hung over midnight they would say the day before."""
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    take(log, [call(number, user=None, latency_ms=600_000.0) for number in range(COUNT)])
    said, true = ended_by_tag(log)
    assert said == true > 100
    log.close()
