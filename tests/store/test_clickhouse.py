"""The record log on ClickHouse: kills between steps, retries, schemas; the contract is in its own files."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config.clickhouse import Server, read_url
from airboss.controller.mover import Mover
from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import Redacted
from airboss.store import clickhouse_http, rollups
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.clickhouse_http import ClickHouse, literal
from airboss.store.clickhouse_schema import migrate, statements
from airboss.store.joining import blank_opened
from airboss.store.sealed_log import SealedLog
from airboss.store.span_rows import TracedLog
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import FixedClock
from tests.store.conftest import EMPTY, Open
from tests.store.keys import ring
from tests.store.samples import SEGMENT, START, call_id, closed_json, move, opened, opened_json, record_json
from tests.store.test_contract_scores import score, shown
from tests.support.clickhouse import PYTHON, URL_ENV, House, front

ALL = RecordFilter()


@pytest.fixture
def server(url: str) -> Iterator[ClickHouse]:
    """The database itself."""
    found = ClickHouse(read_url(url))
    yield found
    found.close()


class Killed(BaseException):
    """The process is gone."""


def killing(monkeypatch: pytest.MonkeyPatch, *, at: int, after: bool) -> None:
    """Have the process killed at its `at`-th insert from now: before it is sent, or the answer lost."""
    real, count = ClickHouse.insert, 0

    def insert(self: ClickHouse, table: str, columns: Any, rows: Any, token: str) -> None:
        nonlocal count
        if rows:
            count += 1
            if count == at and not after:
                raise Killed
        real(self, table, columns, rows, token)
        if count == at and rows:
            raise Killed

    monkeypatch.setattr(ClickHouse, "insert", insert)


@EMPTY
def test_threads_that_ask_first_together_make_the_schema_once(url: str) -> None:
    """Beside each other each would drop tables that another has made, and fail at those that are there."""
    with closing(ClickHouseRecordLog(url)) as log, ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(log.offset, f"w/{number}") for number in range(4)]
        assert [each.result() for each in asked] == [0] * 4


def test_the_engine_answers_on_more_than_one_core(server: ClickHouse) -> None:
    """As a server with memory does: what only one thread answers would say nothing of time or of order."""
    server.create_database()
    asked = "select count() from numbers_mt(100000000) where number % 3 = 0 settings max_threads = 2"
    plan = server.rows(f"explain pipeline {asked}")
    assert "Resize 2" in str(plan)


def both() -> JournalMove:
    """A move of everything: a whole call on each of two days, an open, a close, feedback before and after."""
    return JournalMove(
        segment="w/1",
        start=10,
        end=500,
        records=(record_json(1), record_json(90_000, started_at=START.replace(day=3))),
        opened={call_id(3): opened_json(3)},
        closed={call_id(2): closed_json(2)},
        scores=tuple(json_of(score(each, each)) for each in (1, 7)),
        moved_at=START,
    )


def json_of(given: Any) -> bytes:
    """As a frame has it."""
    return msgspec.json.encode(given)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_move_killed_between_any_two_steps_is_made_once(
    open_log: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, after: bool, sealed: bool
) -> None:
    """Killed before or after any insert and made again by the next process, everything is there once. Sealed
    bodies are other bytes each time."""
    with ring(tmp_path) as keys:

        def opened() -> TracedLog:
            return SealedLog(open_log(), keys, wanted=lambda: True) if sealed else open_log()

        made_once(opened, monkeypatch, after=after)


def made_once(open_log: Callable[[], TracedLog], monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Whether a move that is killed again and again is."""
    first = open_log()
    first.apply(JournalMove(segment="w/1", start=0, end=10, opened={call_id(2): opened_json(2)}))
    first.apply(JournalMove(segment="w/0", start=0, end=10, scores=(json_of(score(2, 2)),), moved_at=START))
    at = 0
    while True:
        at += 1
        assert at < 30
        log = open_log()
        log.offset("w/1")
        with monkeypatch.context() as patch:
            killing(patch, at=at, after=after)
            try:
                log.apply(both())
            except Killed:
                assert log.offset("w/1") in {10, 500}
                continue
        break
    last = open_log()
    assert (last.offset("w/1"), last.begun("w/1")) == (500, None)
    found = last.records(ALL, limit=10, bodies=True)
    assert [each.id for each in found] == [call_id(90_000), call_id(2), call_id(1)]
    assert all("airboss_sealed" not in each.request for each in found)
    assert list(last.orphans("w/")) == [call_id(3)]
    assert [shown(last, each) for each in (1, 2)] == [{"helpfulness": 1.0}] * 2
    assert [each.subject_id for each in last.stray_scores(START.replace(day=2), limit=9)] == [call_id(7)]
    assert len(last.scores_of([call_id(1), call_id(2)])) == 2
    assert at > 6
    monkeypatch.setattr(rollups, "FEW", -1)
    (sums,) = last.stats(START - timedelta(days=1), START + timedelta(days=3))
    assert (sums.requests, sums.approximate) == (3, True)


def test_a_mover_goes_on_with_the_move_that_was_begun(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the segment has grown since, just the frames of the killed move are made again, then others."""
    writer = JournalWriter(tmp_path, "w")
    for number in range(3):
        writer.open(Redacted(opened_json(number)))
        writer.close_call(Redacted(closed_json(number)))
    log = open_log()
    log.count(ALL)
    with monkeypatch.context() as patch:
        killing(patch, at=3, after=True)  # bodies and records are in, the offset is not
        with pytest.raises(Killed):
            Mover(tmp_path, log, FixedClock()).tick()
    for number in range(3, 6):
        writer.open(Redacted(opened_json(number)))
        writer.close_call(Redacted(closed_json(number)))
    again = open_log()
    assert Mover(tmp_path, again, FixedClock()).drain().store_up
    assert [each.id for each in again.records(RecordFilter(after=""), limit=10, bodies=True)] == [
        call_id(number) for number in range(6)
    ]
    writer.stop()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_who_follows_misses_nothing_of_a_move_that_others_overtake(
    open_log: Open, monkeypatch: pytest.MonkeyPatch, at: int, *, restarted: bool
) -> None:
    """One that breaks off is made again after others, whose records were followed by then."""
    log, seen = open_log(), [""]

    def follow() -> None:
        page = log.records(RecordFilter(after=seen[-1]), limit=10, bodies=False)
        seen.extend(each.id for each in page)

    def of(segment: str, *numbers: int) -> JournalMove:
        days = [START + timedelta(days=number % 2) for number in numbers]
        records = [record_json(each, started_at=day) for each, day in zip(numbers, days, strict=True)]
        return JournalMove(segment=segment, start=0, end=100 * len(numbers), records=tuple(records))

    log.apply(of("w/0", 1, 2))
    follow()
    with monkeypatch.context() as patch:
        killing(patch, at=at, after=True)
        with pytest.raises(Killed):
            log.apply(of("w/1", 3, 4, 5))
    if restarted:
        log = open_log()
    for segment, number in (("w/2", 6), ("w/3", 7), ("w/4", 8), ("w/5", 9)):
        log.apply(of(segment, number))
        follow()
    log.apply(of("w/1", 3, 4, 5))
    follow()
    assert sorted(seen[1:]) == [call_id(number) for number in range(1, 10)]
    assert len(log.records(ALL, limit=99, bodies=False)) == 9


def test_who_is_forgotten_in_the_middle_of_a_move_leaves_no_body(
    open_log: Open, server: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bodies are in when its mover is killed; the next knows of the erasure, and its records have no
    name by which they could be found. What others said stays."""
    theirs = opened(1, user="ann")
    moves = [
        JournalMove(
            segment="w/1",
            start=0,
            end=500,
            opened={call_id(1): open_frame, call_id(2): opened_json(2, user="bob")},
            closed={call_id(1): closed_json(1), call_id(2): closed_json(2)},
            moved_at=START,
        )
        for open_frame in (json_of(theirs), blank_opened(theirs))
    ]
    log = open_log()
    log.offset("w/1")
    with monkeypatch.context() as patch:
        killing(patch, at=2, after=True)  # that it is begun, and bodies
        with pytest.raises(Killed):
            log.apply(moves[0])
    again = open_log()
    assert again.apply(moves[1]) == 500
    again.erase({"ann": START + timedelta(days=1)})
    found = {each.id: each for each in again.records(ALL, limit=10, bodies=True)}
    assert (found[call_id(1)].user, found[call_id(1)].request, found[call_id(1)].response) == (
        None,
        None,
        None,
    )
    assert found[call_id(2)].request is not None
    assert server.rows("select id from bodies") == [[call_id(2)]]


def test_a_move_that_comes_before_the_one_begun_is_refused(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes could bring a record twice; the mover is told to wait, not that its frames are bad."""
    log = open_log()
    log.count(ALL)
    with monkeypatch.context() as patch:
        killing(patch, at=2, after=True)
        with pytest.raises(Killed):
            log.apply(move(1, 2))
    assert log.begun("0-0190/000001") == 200
    with pytest.raises(StoreUnavailable, match="begun to 200"):
        log.apply(move(1))
    assert log.apply(move(1, 2)) == 200


def test_replaced_rows_are_tidied_away(
    open_log: Open, server: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What newer rows have replaced does not pile up."""
    monkeypatch.setattr("airboss.store.clickhouse.TIDY_EVERY", 2)
    log = open_log()
    log.apply(JournalMove(segment="w/1", start=0, end=1, opened={call_id(1): opened_json(1)}))
    log.apply(JournalMove(segment="w/1", start=1, end=2, closed={call_id(1): closed_json(1)}))
    log.forget("w/1")
    for start in range(2):
        log.apply(move(start + 5, segment="w/2", start=100 * start))
    while log.tidy():
        pass
    assert server.rows("select count() from pending") == [[0]]
    assert server.rows("select count() from offsets where segment = 'w/1'") == [[0]]
    assert log.offset("w/2") == 200


@EMPTY
def test_a_schema_killed_half_way_goes_on(
    open_log: Open, server: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement of every file may be run again; afterwards all is there, and nothing runs twice."""
    real, left = ClickHouse.run, 3

    def run(self: ClickHouse, text: str, asked: Mapping[str, Any] | None = None, **how: bool) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        real(self, text, asked, **how)

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouse, "run", run)
        with pytest.raises(Killed):
            migrate(server)
    migrate(server)
    migrate(server)
    numbers = [number for (number,) in server.rows("select number from schema_migrations order by number")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert open_log().apply(move(1)) == 100
    row = (len(numbers) + 1, "later", "2030-01-01 00:00:00")
    server.insert("schema_migrations", ("number", "name", "applied_at"), [row], "later")
    with pytest.raises(SetupError, match="install the one that wrote it"):
        open_log().count(ALL)


@EMPTY
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_schema_is_brought_forward_with_all_it_holds(
    clickhouse: House, open_log: Open, server: ClickHouse, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables as the Airboss of that schema made them, with rows: all are there, and new ones are taken."""
    folder = Path(clickhouse_http.__file__).parent / "schema/clickhouse"
    server.create_database()
    for path in sorted(folder.glob("*.sql"))[: version + 1]:
        for statement in statements(path.read_text(), server.server):
            server.run(statement)
        if path.name[:3] != "000":
            row = (int(path.name[:3]), path.name, "2026-01-01 00:00:00")
            server.insert("schema_migrations", ("number", "name", "applied_at"), [row], path.name)
    with clickhouse.database() as other, closing(ClickHouseRecordLog(other)) as newest:
        newest.apply(move(1, 2, 3))
        held = list(newest.records(ALL, limit=9, bodies=True))
        source = read_url(other).database
        for (table,) in server.rows("select name from system.tables where database = currentDatabase()"):
            if table in {
                "schema_migrations",
                "rollups",
                "rolled_up",
            }:  # the view makes sums where there is one
                continue
            columns = server.rows(
                "select name from system.columns where database = currentDatabase()"
                f" and table = '{table}' and default_kind = ''"
            )
            named = ", ".join(f"`{name}`" for (name,) in columns)
            server.run(f"insert into `{table}` ({named}) select {named} from `{source}`.`{table}`")
    log = open_log()
    assert list(log.records(ALL, limit=9, bodies=True)) == held
    monkeypatch.setattr(rollups, "FEW", -1)
    period = (START - timedelta(days=1), START + timedelta(days=1))
    assert [(row.requests, row.approximate) for row in log.stats(*period)] == [(3, True)]
    assert log.offset(SEGMENT) == 300
    assert log.apply(move(4, start=300)) == 400
    assert [row.requests for row in log.stats(*period)] == [4]
    assert [each.id for each in log.records(ALL, limit=1, bodies=False)] == [call_id(4)]


def test_a_cluster_has_replicated_tables() -> None:
    """Everything is made on the cluster, by engines that replicate; a single server has neither word."""
    text = (Path(clickhouse_http.__file__).parent / "schema/clickhouse/001_records.sql").read_text()
    replicated = statements(text, read_url("clickhouse://h?cluster=main"))
    assert all(" on cluster main " in each and "engine = Replicated" in each for each in replicated)
    alone = statements(text, read_url("clickhouse://h"))
    assert not any("cluster" in each or "Replicated" in each for each in alone)
    assert len(alone) == len(replicated) > 5


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("clickhouse://h", Server(url="http://h:8123", database="airboss", user="default", password="")),
        (
            "clickhouse://a%40b:p%2Fw@[::1]:99/logs?secure=true&cluster=c",
            Server(url="https://[::1]:99", database="logs", user="a@b", password="p/w", cluster="c"),
        ),
        (
            "clickhouse://h?secure=true",
            Server(url="https://h:8443", database="airboss", user="default", password=""),
        ),
    ],
)
def test_a_url_says_where(url: str, server: Server) -> None:
    """User, password, database, TLS and cluster."""
    assert read_url(url) == server


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "not of the form"),
        ("clickhouse://", "not of the form"),
        ("clickhouse://h/a-b", "database 'a-b'"),
        ("clickhouse://h?cluster=x;drop", "cluster"),
        ("clickhouse://h?tls=1", "'tls' is none of"),
        ("clickhouse://h?secure=1", "secure is '1'"),
        ("clickhouse://u:hush@h:port", "not of the form"),
    ],
)
def test_a_url_that_is_none_says_why(url: str, why: str) -> None:
    """Without repeating a password."""
    with pytest.raises(ValueError, match=why) as error:
        read_url(url)
    assert "hush" not in str(error.value)


def test_values_are_written_as_the_engine_reads_them(server: ClickHouse) -> None:
    """Quotes, backslashes, NUL and any script come back as they went in, in a list too."""
    server.create_database()
    texts = [
        "",
        "'",
        "\\",
        "\\'",
        "\0",
        "\n\t\r\b",
        "\U0001f600é\u2028",
        "$ids",
        "{x:String}",
        "\\0",
        "a\\nb",
    ]
    for text in texts:
        assert server.rows("select $a", {"a": text}) == [[text]]
    assert server.rows("select $a", {"a": texts}) == [[texts]]
    for value in (None, True, 2**63 - 1, -(2**63), 0.1, 1e300):
        assert server.rows("select $a", {"a": value}) == [[value]]
    assert server.rows("select $a", {"a": Decimal("0.000000000001")}) == [["0.000000000001"]]
    assert literal(START) == "toDateTime64('2026-11-01 12:00:00.000000', 6, 'UTC')"


def test_a_server_that_is_away_is_unavailable() -> None:
    """So records wait in the journal; the message names where, and no password."""
    log = ClickHouseRecordLog("clickhouse://u:hush@127.0.0.1:9/x")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9") as error:
        log.count(ALL)
    assert "hush" not in str(error.value)
    log.close()


def test_the_engine_killed_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Kill -9 of the server between moves; the next one has what was taken, and its tokens."""
    if not PYTHON.exists():
        pytest.skip("no ClickHouse engine; run scripts/setup clickhouse")
    with tempfile.TemporaryDirectory(prefix="ab-", dir=tmp_path) as folder:
        with front(Path(folder)) as url:
            log = ClickHouseRecordLog(url)
            assert log.apply(move(1, 2)) == 200
        with closing(log), pytest.raises(StoreUnavailable):
            log.apply(move(3, start=200))
        with front(Path(folder)) as url, closing(ClickHouseRecordLog(url)) as again:
            assert again.offset("0-0190/000001") == 200
            assert again.apply(move(3, start=200)) == 300
            assert again.count(ALL) == 3


def test_the_front_is_what_the_client_of_clickhouse_expects(clickhouse: House) -> None:
    """Their own client, unmodified, shakes hands, inserts once and asks: what we speak to is no invention."""
    if clickhouse.real:
        pytest.skip(f"{URL_ENV} names a real one")
    script = Path(__file__).parent.parent / "support/clickhouse_client.py"
    ran = subprocess.run(
        [PYTHON, script, str(read_url(clickhouse.url).url.rpartition(":")[2])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["version"].startswith("26.")
    assert (found["count"], found["rows"], found["failed"]) == (2, [[2, "y'\n\0\\"]], True)


def test_no_part_keeps_what_was_written_before_judging_again(open_log: Open, server: ClickHouse) -> None:
    """A row that was deleted stands in its part until that is written anew: an erasure has it written."""
    record_log = open_log()
    record_log.apply(move(1, user="eve"))
    for number, words in ((1, "eve's own words"), (2, None)):
        record_log.put_scores([score(number, 1, True, source="review", by="ann", comment=words)])
    deleted = (
        "select count() from system.parts where database = currentDatabase() and active"
        " and table = 'scores' and has_lightweight_delete"
    )
    assert server.rows(deleted) == [[1]]
    record_log.erase({"eve": START + timedelta(days=1)})
    assert server.rows(deleted) == [[0]]
    assert [each.id for each in record_log.scores_of([call_id(1)])] == [score(2, 1, True).id]
