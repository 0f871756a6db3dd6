"""Dead letters are tried again: each becomes a record once, whoever is killed; what cannot stays."""

from __future__ import annotations

import itertools
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.controller import letter_retry, loop
from airboss.controller.dead_letters import DeadLetters
from airboss.controller.letter_retry import LetterRetry
from airboss.controller.mover import DEAD_LETTERS, Mover
from airboss.domain.errors import StoreUnavailable, Unavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.evaluated import Evaluated, subject_of
from airboss.telemetry.journal import JournalWriter
from tests.controller.houses import KEY, USER, House, letters
from tests.controller.journals import FixedClock, StrictLog
from tests.store.keys import ring
from tests.store.samples import call_id, closed_json, opened_json
from tests.store.spans import span
from tests.store.test_contract_scores import score

ALL = RecordFilter()
GONE = "w-1/000001"
"""A segment of a worker that is gone."""


class Put:
    """Letters in a file, a log, and who tries them."""

    def __init__(self, root: Path, log: Any = None) -> None:
        self.root = root
        self.log = StrictLog() if log is None else log
        self.letters = DeadLetters(root / DEAD_LETTERS)
        self.clock = FixedClock()
        self.retry = LetterRetry(root, self.letters, self.log, self.clock, None)

    def away(self, *payloads: bytes, segment: str = GONE) -> None:
        """Put these away."""
        for payload in payloads:
            assert self.letters.add(segment, len(self.letters.all()), "it was refused", payload)

    def calls(self, *numbers: int) -> None:
        """Calls that the log has."""
        opened = {call_id(each): opened_json(each) for each in numbers}
        closed = {call_id(each): closed_json(each) for each in numbers}
        segment = f"w-9/{numbers[0]}"
        self.log.apply(JournalMove(segment=segment, start=0, end=1, opened=opened, closed=closed))
        self.log.forget(segment)

    def whys(self) -> list[str]:
        """Try; why those that are left are."""
        return [each.why for each in self.retry.retry()[1]]

    def ids(self) -> list[str]:
        """The records there are."""
        return sorted(each.id for each in self.log.records(ALL, limit=100, bodies=True))


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """No letters yet."""
    return Put(tmp_path)


def test_what_becomes_a_record_goes(put: Put) -> None:
    """Both frames of a call, an end whose beginning waits, a beginning that nobody will end, a span, feedback
    whose record has come; nothing of it is left behind, and another try does nothing."""
    put.log.apply(JournalMove(segment="w-2/000001", start=0, end=1, opened={call_id(2): opened_json(2)}))
    put.log.forget("w-2/000001")
    put.calls(4)
    put.away(opened_json(1), closed_json(1), closed_json(2), opened_json(3))
    put.away(msgspec.json.encode(span(1)), msgspec.json.encode(score(1, 4, 0.5)))
    assert put.retry.retry() == (6, [])
    assert put.letters.all() == list(put.letters.newest()) == []
    assert put.ids() == [call_id(number) for number in (1, 2, 3, 4)]
    found = {each.id: each.error_type for each in put.log.records(ALL, limit=9, bodies=False)}
    assert found[call_id(3)] == "interrupted"
    assert [each.value for each in put.log.scores_of([call_id(4)])] == [0.5]
    assert put.log.trace(span(1).trace_id) is not None
    assert put.log.offsets == {}
    assert put.retry.retry() == (0, [])


def test_an_evaluation_whose_call_has_come_goes(put: Put) -> None:
    """It names a span, and the call's record is looked for; one whose call is not there stays."""
    put.calls(4)
    for number, call in enumerate((call_id(4), call_id(5))):
        subject = subject_of(Evaluated(answer_id=call))
        put.away(msgspec.json.encode(score(number, 4, 0.5, subject_id=subject)))
    assert put.whys() == ["its record has not come"]
    assert [each.value for each in put.log.scores_of([call_id(4)])] == [0.5]
    assert put.whys() == ["its record has not come"]


def test_what_cannot_stays_with_why(put: Put) -> None:
    """Damaged bytes, what no reader reads, an end without a beginning or beside a record, feedback without a
    record or on another key's, and what was blanked; each whole, and in its order."""
    put.calls(5, 6)
    put.letters.add(GONE, 1000, "damaged", b"\xff\x00")
    put.away(b'{"id":1}', closed_json(7), closed_json(5), b"")
    put.away(msgspec.json.encode(score(1, 99, 0.5)), msgspec.json.encode(score(2, 6, 0.5, by="another")))
    before = put.letters.all()
    whys = put.whys()[::-1]
    assert whys[0] == "damaged"
    assert whys[1].startswith("it cannot be read: ")
    assert whys[2:] == [
        "the beginning of its call is not there",
        "its call has a record without it",
        "it was refused",
        "its record has not come",
        "its record is another key's",
    ]
    assert put.letters.all() == before
    assert put.ids() == [call_id(5), call_id(6)]
    assert put.log.stray_scores(put.clock.now() + timedelta(hours=1), limit=9) == []
    put.calls(99)
    assert put.retry.retry()[0] == 1


def test_a_living_workers_call_is_ended_by_it(put: Put) -> None:
    """The beginning of a call waits beside those of its worker, whose death ends it."""
    writer = JournalWriter(put.root, "0")
    mover = Mover(put.root, put.log, put.clock)
    mover.tick()
    (worker,) = [each.name for each in put.root.iterdir() if each.is_dir()]
    put.away(opened_json(1), segment=f"{worker}/000001")
    assert put.retry.retry() == (1, [])
    assert put.ids() == []
    writer.stop()
    mover.drain()
    assert put.ids() == [call_id(1)]


def test_a_worker_that_goes_after_a_kill_changes_nothing(put: Put) -> None:
    """What was taken from beside a living worker is known for that when it is gone."""
    (put.root / "w-7").mkdir()
    put.away(opened_json(1), closed_json(1), segment="w-7/000001")
    put.log.down = {"after apply"}
    with pytest.raises(StoreUnavailable):
        put.retry.retry()
    put.log.down = set()
    (put.root / "w-7").rmdir()
    assert Put(put.root, put.log).retry.retry() == (2, [])
    assert put.ids() == [call_id(1)]
    assert put.log.offsets == {}


@pytest.mark.parametrize("point", ["after apply", "removed", "before apply"])
def test_a_kill_loses_none_and_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Between the log and the file, between the file and the end, or while the log is away."""
    put = Put(tmp_path)
    put.calls(4)
    put.away(opened_json(1), closed_json(1), msgspec.json.encode(score(1, 4, 0.5)))
    if point == "removed":
        monkeypatch.setattr(put.log, "forget", lambda _segment: (_ for _ in ()).throw(StoreUnavailable("x")))
    else:
        put.log.down = {point}
    with pytest.raises(StoreUnavailable):
        put.retry.retry()
    assert len(put.letters.all()) == (0 if point == "removed" else 3)
    put.log.down = set()
    again = Put(tmp_path, put.log)
    assert again.retry.retry() == ((0, []) if point == "removed" else (3, []))
    assert again.ids() == [call_id(1), call_id(4)]
    assert len(put.log.scores_of([call_id(4)])) == 1
    assert again.letters.all() == []


def test_a_real_store_that_refuses_keeps_its_letters(tmp_path: Path) -> None:
    """A number out of range stays out of it; the calls beside it are taken."""
    with closing(DuckDBRecordLog(tmp_path / "records.duckdb")) as log:
        put = Put(tmp_path, log)
        put.away(opened_json(1), closed_json(1, output_tokens=2**70), opened_json(2), closed_json(2))
        taken, left = put.retry.retry()
        assert (taken, len(left)) == (2, 2)
        assert put.ids() == [call_id(2)]


def test_time_is_bounded(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records do not wait for a million letters: what there was no time for is left, and says so."""
    monkeypatch.setattr(letter_retry, "TRIED_S", 0.0)
    put.away(opened_json(1), closed_json(1))
    assert put.whys() == ["not tried for want of time; try again"] * 2


def test_a_retry_is_over_before_it_is_taken_for_a_store_that_hangs() -> None:
    """Status and metrics say of a mover that is silent for so long that the store does not answer."""
    assert letter_retry.TRIED_S < loop.STALE_S


def test_each_gets_its_turn(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that can never be taken keep nobody from it who lies behind them, however slow the log is."""
    put.calls(4)
    for number in range(5):
        put.away(msgspec.json.encode(score(number, 90 + number, 0.5)))
    put.away(opened_json(1), closed_json(1))
    monkeypatch.setattr(letter_retry, "TRIED_S", 3.0)
    ticks = itertools.count()
    monkeypatch.setattr(put.clock, "monotonic", lambda: float(next(ticks)))  # a second a letter
    taken = [put.retry.retry()[0] for _ in range(6)]
    assert sum(taken) == 2, taken
    assert put.ids() == [call_id(1), call_id(4)]
    assert len(put.letters.all()) == 5


def test_the_movers_thread_does_it(tmp_path: Path) -> None:
    """Whoever asks gets the answer of the mover, also while nothing comes; without one they are told."""
    put = Put(tmp_path)
    put.away(opened_json(1), closed_json(1))
    mover = Mover(tmp_path, put.log, put.clock)
    with pytest.raises(Unavailable, match="busy or away"):
        mover.letters.ask(0.0)
    stop = threading.Event()
    thread = threading.Thread(target=mover.run, args=(stop, lambda _status: None))
    thread.start()
    try:
        assert mover.letters.ask() == (2, [])
        assert mover.letters.ask() == (0, [])
    finally:
        stop.set()
        thread.join(60)
    assert mover.letters.list() == []


@pytest.mark.parametrize("sealed", [False, True])
def test_letters_open_and_who_is_forgotten_stays_so(tmp_path: Path, *, sealed: bool) -> None:
    """Sealed letters are opened to be tried; who was forgotten does not come back."""
    with ring(tmp_path, secret_of_people=KEY) as keys:
        house = House(tmp_path, keys if sealed else None)
        try:
            bad = closed_json(1, output_tokens=2**70)
            house.opens(1)
            house.worker.close_call(cast("Any", bad))
            house.mover.tick()
            (letter,) = letters(house)
            assert letter["payload"].startswith("{") is not sealed
            (left,) = house.mover.letters.retry()[1]
            assert left.why == letter["why"], "the store's reason, not that it is sealed"
            put_away = DeadLetters(tmp_path / "journal" / DEAD_LETTERS)
            began = {"user": USER, "started_at": house.clock.at}
            put_away.add(GONE, 7, "refused", opened_json(2, **began, request=msgspec.Raw(b'"secret"')))
            house.forgets()
            house.mover._people.begin()  # type: ignore[union-attr]
            assert house.mover.letters.retry()[0] == 1
            (record,) = house.log.records(RecordFilter(id=call_id(2)), limit=1, bodies=True)
            assert (record.user, record.request) == (None, None)
        finally:
            house.close()
