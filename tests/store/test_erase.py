"""Taking a person out of a record log, whichever it is; and what is too old."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import Erased, JournalMove, RecordFilter, RecordLog
from airboss.domain.score import Score
from airboss.store import duckdb as duckdb_store
from airboss.store import duckdb_erase
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.gate import Gate
from tests.store.samples import SEGMENT, START, call_id, closed_json, move, opened_json, record, record_json

pytestmark = pytest.mark.words

ALL = RecordFilter()
LATER = START + timedelta(days=1)
USER = "ann-7f3a-unmistakable"
WORDS = b"the quick brown unmistakable fox"


def body(text: bytes = WORDS) -> msgspec.Raw:
    """A body that says this."""
    return msgspec.Raw(b'{"content":"%s"}' % text)


def theirs(number: int, **fields: Any) -> bytes:
    """A record of the person's."""
    given = {
        "user": USER,
        "session": f"s-{USER}",
        "tags": {"who": USER},
        "request": body(),
        "response": body(),
    }
    return record_json(number, **given | fields)


def score(number: int, record_number: int, **fields: Any) -> Score:
    """A person's judgement of a record."""
    given: dict[str, Any] = {
        "id": f"score-{number}",
        "subject": "record",
        "subject_id": call_id(record_number),
        "name": "helpfulness",
        "source": "human",
        "by": "team-a",
        "at": START,
        "value": 1.0,
        "comment": f"said {USER}",
        "user": USER,
    }
    return Score(**given | fields)


def test_a_person_is_taken_out_and_the_numbers_stay(record_log: RecordLog) -> None:
    """Bodies, user, session and tags go; cost, tokens and times stay; others are left alone."""
    records = (theirs(1), record_json(2, user="bob"), theirs(3, cost_usd=Decimal("0.5")), record_json(4))
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=records))
    before = record_log.stats(START, LATER)
    assert record_log.erase({USER: LATER}) == {USER: Erased(records=2, scores=0)}
    found = {each.id: each for each in record_log.records(ALL, limit=10, bodies=True)}
    blank: dict[str, Any] = {"user": None, "session": None, "tags": {}, "request": None, "response": None}
    assert found[call_id(1)] == msgspec.structs.replace(record(1), **blank)
    assert found[call_id(3)] == msgspec.structs.replace(record(3, cost_usd=Decimal("0.5")), **blank)
    assert found[call_id(2)] == record(2, user="bob")
    assert found[call_id(4)] == record(4)
    assert list(record_log.stats(START, LATER)) == list(before)
    assert record_log.count(RecordFilter(user=USER)) == 0
    assert record_log.erase({USER: LATER}) == {USER: Erased(records=0, scores=0)}


def test_what_began_after_the_erasure_stays(record_log: RecordLog) -> None:
    """Who comes back after having been forgotten is somebody new."""
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), theirs(2))))
    record_log.erase({USER: START + timedelta(seconds=1)})
    (found,) = record_log.records(RecordFilter(user=USER), limit=10, bodies=True)
    assert (found.id, found.request) == (call_id(2), {"content": WORDS.decode()})


def test_several_people_at_once(record_log: RecordLog) -> None:
    """Each has its own time and count; an unknown one is not there."""
    records = (record_json(1, user="a"), record_json(2, user="b"), record_json(3, user="c"))
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=records))
    found = record_log.erase({"a": LATER, "b": START, "nobody": LATER})
    assert {user: each.records for user, each in found.items()} == {"a": 1, "b": 0, "nobody": 0}
    assert [each.user for each in record_log.records(ALL, limit=9, bodies=False)] == ["c", "b", None]


def test_an_open_call_loses_its_answer_when_it_comes(record_log: RecordLog) -> None:
    """It was open when its person was taken out: the record has the numbers of its end, and no body."""
    given: dict[str, Any] = {"user": USER, "session": "s", "tags": {"who": USER}, "request": body()}
    first = {call_id(1): opened_json(1, **given), call_id(2): opened_json(2, user="bob")}
    record_log.apply(JournalMove(segment="w/1", start=0, end=9, opened=first))
    assert record_log.erase({USER: LATER})[USER].records == 1
    assert USER.encode() not in record_log.orphans("w/")[call_id(1)]
    then = {call_id(1): closed_json(1, response=body()), call_id(2): closed_json(2, response=body())}
    record_log.apply(JournalMove(segment="w/1", start=9, end=18, closed=then))
    bob, ann = record_log.records(ALL, limit=9, bodies=True)
    assert (ann.user, ann.session, ann.tags, ann.request, ann.response) == (None, None, {}, None, None)
    assert (ann.output_tokens, ann.cost_usd) == (8, Decimal("0.000123"))
    assert (bob.user, bob.response) == ("bob", {"content": WORDS.decode()})


def test_scores_lose_who_gave_them_and_what_they_wrote(record_log: RecordLog) -> None:
    """Those of the person's records, and those that they gave on others'; values and means stay."""
    record_log.apply(
        JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), record_json(2, user="bob")))
    )
    given = [
        score(1, 1),
        score(2, 1, user="bob", comment="on ann's call"),
        score(3, 2),
        score(4, 2, user="bob", comment="kept"),
    ]
    assert record_log.put_scores(given) == 4
    waiting = JournalMove(
        segment="w/2", start=0, end=5, scores=(msgspec.json.encode(score(5, 77)),), moved_at=START
    )
    record_log.apply(waiting)
    before = record_log.score_stats(START, LATER)
    assert record_log.erase({USER: LATER})[USER].scores == 4
    kept = record_log.scores_of([call_id(1), call_id(2)])
    assert {each.id: (each.user, each.comment, each.value) for each in kept} == {
        "score-1": (None, None, 1.0),
        "score-2": (None, None, 1.0),
        "score-3": (None, None, 1.0),
        "score-4": ("bob", "kept", 1.0),
    }
    (stray,) = record_log.stray_scores(LATER, limit=9)
    assert (stray.user, stray.comment) == (None, None)
    assert list(record_log.score_stats(START, LATER)) == list(before)


def in_files(root: Path, *needles: bytes) -> list[str]:
    """Files under `root` that hold one of these."""
    return [
        path.name
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


def test_nothing_of_a_person_is_left_in_the_files(tmp_path: Path) -> None:
    """Before, the name stands in the file or its log; after, in no file at all, whether open or closed,
    though most of what stood beside it is still there."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    for start in range(0, 2_000, 100):
        mine = tuple(theirs(start + number) for number in range(0, 100, 10))
        others = tuple(
            record_json(start + number, user=f"other-{number}", request=body(b"what others say"))
            for number in range(100)
            if number % 10
        )
        record_log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 100, records=mine + others))
    record_log.put_scores([score(1, 0), score(2, 11)])
    assert in_files(tmp_path, USER.encode())
    assert record_log.erase({USER: LATER + timedelta(days=1)})[USER] == Erased(records=200, scores=2)
    assert in_files(tmp_path, USER.encode(), WORDS) == []
    assert in_files(tmp_path, b"other-11") == ["records.duckdb"]
    assert record_log.count(ALL) == 2_000
    record_log.apply(move(5_000, start=2_000))
    record_log.close()
    assert in_files(tmp_path, USER.encode(), WORDS) == []
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    assert (again.count(ALL), again.offset(SEGMENT)) == (2_001, 2_100)
    again.close()


MANY = """
import random, sys
from datetime import timedelta
from pathlib import Path

import msgspec

from airboss.domain.ports import JournalMove
from airboss.store.duckdb import DuckDBRecordLog
from tests.store.samples import SEGMENT, START, record_json

chance = random.Random(1)
words = [f"w{number:05d}" for number in range(20_000)]

def body(user):
    return msgspec.Raw(msgspec.json.encode({"user": user, "said": " ".join(chance.choices(words, k=40))}))

log = DuckDBRecordLog(Path(sys.argv[1]))
for start in range(0, 20_000, 2_000):
    users = ["ann-of-many" if number % 20 == 0 else f"other-{number % 50}" for number in range(2_000)]
    rows = tuple(
        record_json(number, user=user, request=body(user), response=body(user))
        for number, user in enumerate(users, start)
    )
    log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 2_000, records=rows))
assert log.erase({"ann-of-many": START + timedelta(days=9)})["ann-of-many"].records == 1_000
log.close()
"""


def test_nothing_of_a_person_is_left_between_what_others_said(tmp_path: Path) -> None:
    """Of many calls: where the last page of what was compressed has room left, DuckDB writes what stood in
    its memory, and that may have been theirs. In a process of its own, as the store is."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "records.duckdb")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert in_files(tmp_path, b"other-11")
    assert in_files(tmp_path, b"ann-of-many") == []


def test_what_was_interrupted_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed or failed between taking out and writing anew, the next erasure of anybody writes the file
    anew."""
    DuckDBRecordLog(tmp_path / "records.duckdb").close()
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), record_json(2))))
    record_log.close()  # from the write-ahead log into the file
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")

    def full(*_given: object) -> None:
        raise StoreUnavailable("no room")

    with monkeypatch.context() as patch:
        patch.setattr(duckdb_erase, "copy_whole", full)
        with pytest.raises(StoreUnavailable):
            record_log.erase({USER: LATER})
    record_log.close()
    assert in_files(tmp_path, USER.encode())
    (tmp_path / "records.duckdb.rewriting").write_bytes(USER.encode())
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    assert again.erase({USER: LATER}) == {USER: Erased(records=0, scores=0)}
    assert in_files(tmp_path, USER.encode(), WORDS) == []
    assert again.count(ALL) == 2
    again.close()


def test_the_file_is_written_anew_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom an erasure finds nothing of costs no copy, also after one that found something."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), record_json(2))))
    record_log.erase({USER: LATER})

    def again(*_given: object) -> None:
        raise StoreUnavailable("written anew once more")

    monkeypatch.setattr(duckdb_erase, "copy_whole", again)
    assert record_log.erase({USER: LATER}) == {USER: Erased(records=0, scores=0)}
    record_log.close()


def test_the_copy_is_made_in_zeroed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left without shows on a busy machine only, now and then: so this looks at how it is started."""
    given: list[Mapping[str, str]] = []
    run = subprocess.run

    def watched(*command: Any, **how: Any) -> Any:
        given.append(how["env"])
        return run(*command, **how)

    monkeypatch.setattr(subprocess, "run", watched)
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1),)))
    record_log.erase({USER: LATER})
    record_log.close()
    assert [each["DUCKDB_JE_MALLOC_CONF"] for each in given] == ["zero:true"]
    assert in_files(tmp_path, USER.encode()) == []


def test_a_copy_that_finds_no_room_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Neither the file nor what is beside it; the reason is told."""
    path = tmp_path / "records.duckdb"
    record_log = DuckDBRecordLog(path)
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), record_json(2))))
    record_log.close()
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StoreUnavailable, match=r"cannot be copied: .*File too large"):
            duckdb_erase.copy_whole(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ([each.name for each in tmp_path.iterdir()], path.read_bytes()) == ([path.name], before)


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log goes on with what it has, and the next erasure finishes."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1), record_json(2))))

    def stuck(*_given: object) -> None:
        raise StoreUnavailable("no way")

    with monkeypatch.context() as patch:
        patch.setattr(duckdb_erase, "put_in_place", stuck)
        with pytest.raises(StoreUnavailable):
            record_log.erase({USER: LATER})
    assert record_log.count(ALL) == 2
    record_log.apply(move(3, start=9))
    record_log.erase({USER: LATER})
    assert (record_log.count(ALL), in_files(tmp_path, USER.encode())) == (3, [])
    record_log.close()


def test_a_slow_reader_puts_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's question is cut off: an erasure that finds a reader at work says so, and works later."""
    monkeypatch.setattr(duckdb_store, "REPLACE_WAIT_S", 0.05)
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(theirs(1),)))
    with record_log._reading() as connection:
        with pytest.raises(StoreUnavailable, match="is being read"):
            record_log.erase({USER: LATER})
        assert connection.execute("select count(*) from records").fetchall() == [(1,)]
    record_log.erase({USER: LATER})
    assert in_files(tmp_path, USER.encode()) == []
    record_log.close()


def test_readers_and_writers_go_on_meanwhile(tmp_path: Path) -> None:
    """While the file is replaced again and again, every read sees a whole log and every move arrives once."""
    record_log = DuckDBRecordLog(tmp_path / "records.duckdb")
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        seen = 0
        while not stop.is_set():
            try:
                count = record_log.count(ALL)
                assert count >= seen
                seen = count
                record_log.records(ALL, limit=50, bodies=True)
            except BaseException as error:  # noqa: BLE001 - told to the test, whatever it is
                failures.append(error)
                return

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(4):
        both = (theirs(number), record_json(500 + number))
        record_log.apply(JournalMove(segment=SEGMENT, start=number, end=number + 1, records=both))
        record_log.erase({USER: LATER})
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert record_log.count(ALL) == 8
    assert in_files(tmp_path, USER.encode()) == []
    record_log.close()


def test_a_gate_waits_for_those_inside() -> None:
    """Shut, it is empty or says that it is not; whoever comes waits until it is open."""
    gate = Gate()
    with gate.entered(), gate.shut(0.01) as empty:
        assert not empty
    with gate.shut(0.01) as empty:
        assert empty
        came = threading.Event()

        def enter() -> None:
            with gate.entered():
                came.set()

        late = threading.Thread(target=enter, daemon=True)
        late.start()
        assert not came.wait(0.05)
    late.join(60)
    assert came.is_set()


def day(number: int) -> datetime:
    """Days before START."""
    return START - timedelta(days=number)


def test_the_old_go_in_batches(record_log: RecordLog) -> None:
    """Bodies first, whole records later, the oldest first and no more at once than asked; scores go along."""
    records = tuple(record_json(number, started_at=day(10 - number)) for number in range(10))
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=records))
    record_log.put_scores([score(1, 0), score(2, 9)])
    cut: dict[str, Any] = {"bodies_before": day(3), "records_before": day(7)}
    assert [record_log.expire(**cut, limit=2) for _ in range(5)] == [2, 2, 2, 1, 0]
    left = record_log.records(ALL, limit=99, bodies=True)
    assert [each.id for each in left] == [call_id(number) for number in range(9, 2, -1)]
    assert [each.request is not None for each in left] == [True, True, True, False, False, False, False]
    assert [each.id for each in record_log.scores_of([call_id(0), call_id(9)])] == ["score-2"]
    assert record_log.expire(bodies_before=None, records_before=None, limit=9) == 0
    assert record_log.expire(bodies_before=datetime.now(UTC), records_before=None, limit=99) == 3


def test_bodies_make_room(record_log: RecordLog) -> None:
    """Where the log takes more than it may, the oldest lose their bodies, and only those."""
    records = tuple(record_json(number, request=body(b"x" * 2_000), response=None) for number in range(50))
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=records))
    assert record_log.make_room(10**12) == 0
    assert record_log.make_room(0) > 0
    assert record_log.count(ALL) == 50
    left = [each.request is not None for each in record_log.records(ALL, limit=99, bodies=True)]
    assert left == sorted(left, reverse=True)
    assert not left[-1]
