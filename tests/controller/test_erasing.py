"""People forgotten while calls go on: what is there goes, what arrives is blanked, and it ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.controller import erasing as erasing_module
from airboss.controller.erased_traces import KEPT
from airboss.controller.mover import Mover
from airboss.domain.errors import StoreUnavailable
from airboss.domain.record import Redacted
from airboss.governance.audit_verify import verify
from airboss.store import duckdb_sums
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.erasure_rows import Erasure
from airboss.store.eval_rows import DatasetRow, ItemRow
from airboss.store.evaluated import Evaluated, subject_of
from tests.controller.houses import ALL, SIGNER, THEIRS, USER, WORDS, House, letters
from tests.store.samples import call_id, record
from tests.store.spans import TRACE, llm, span
from tests.store.test_contract_scores import score
from tests.support.files import holding


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One with nothing in it."""
    made = House(tmp_path)
    yield made
    made.close()


def test_nothing_of_a_person_stands_anywhere(house: House) -> None:
    """Records, scores, dataset items, cached answers, audit names, the journal of a living worker and every
    file beside: grepped through; the sums are as before and the log verifies."""
    for number, user in enumerate([USER, "bob", USER, "bob"]):
        house.opens(number, user)
        house.closes(number, WORDS if user == USER else b"others")
    house.judges(0, "bob", "about ann's call")
    house.judges(1, USER, f"{USER} was here")
    item = ItemRow(id="i", part="train", subject="su", user=USER, content=f'"{WORDS.decode()}"')
    row = DatasetRow(name="d", digest="dd", created_at=house.clock.at, size=1, content="{}")
    house.evals.put_dataset(row, [item])
    house.evals.put_answer("k", subject="su", content=f'"{WORDS.decode()}"', at=house.clock.at)
    house.audit.append("x", actor="admin", subject=USER, detail={}, at=house.clock.at, user=USER)
    house.mover.tick()
    (before,) = house.log.stats(house.clock.at - timedelta(hours=1), house.clock.at + timedelta(hours=1))
    assert set(holding(house.root, *THEIRS)) >= {"ledger.db-wal", "records.duckdb.wal"}
    assert [name for name in holding(house.root, *THEIRS) if name.startswith("journal/")]

    erasure = house.forgets()
    assert house.state(erasure) == "pending"
    house.mover.tick()
    assert house.state(erasure) == "done"
    assert holding(house.root, *THEIRS) == []
    done = house.erasures.get(erasure.id)
    assert done is not None
    assert (done.records, done.scores, done.items, done.names, done.user) == (2, 2, 1, 2, None)

    assert list(house.log.stats(before_start(house), house.clock.at + timedelta(hours=1))) == [before]
    found = {each.id: each for each in house.log.records(ALL, limit=9, bodies=True)}
    assert [found[call_id(n)].user for n in range(4)] == [None, "bob", None, "bob"]
    assert found[call_id(0)].cost_usd == record(0).cost_usd
    assert found[call_id(1)].response == {"content": "others"}
    with house.audit.whole() as data:
        verdict = verify(data, public_key=SIGNER.public_key)
    assert (verdict.valid, verdict.erased) == (True, 2)
    assert house.evals.answer("k") is None


def before_start(house: House) -> datetime:
    """Before every call."""
    return house.clock.at - timedelta(hours=1)


def test_a_call_in_flight_loses_its_answer_when_it_ends(house: House) -> None:
    """It began before its person was forgotten and ends after: the record has numbers only, the journal
    nothing."""
    house.opens(1)
    house.opens(2, "bob")
    house.mover.tick()
    erasure = house.forgets()
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])
    house.clock.at += timedelta(seconds=30)
    house.closes(1)
    house.closes(2, b"for bob")
    house.mover.tick()
    assert holding(house.root, *THEIRS) == []
    bob, ann = house.log.records(ALL, limit=9, bodies=True)
    assert (ann.user, ann.request, ann.response, ann.output_tokens) == (None, None, None, 8)
    assert (bob.user, bob.response) == ("bob", {"content": "for bob"})


def test_a_store_that_is_down_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending while it is down, with the calls still in the journal; done by itself when it is back, and what
    waited was blanked as it arrived."""

    def down(*_given: object) -> int:
        raise StoreUnavailable("down")

    house.opens(1)
    house.closes(1)
    with monkeypatch.context() as patch:
        patch.setattr(house.log, "offset", down)
        erasure = house.forgets()
        assert not house.mover.tick().store_up
        assert house.state(erasure) == "pending"
        assert holding(house.root, WORDS)
    house.mover = house.new_mover()
    house.clock.at += timedelta(hours=1)
    assert house.mover.tick().store_up
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])
    (found,) = house.log.records(ALL, limit=9, bodies=True)
    assert (found.user, found.request, found.cost_usd) == (None, None, record(1).cost_usd)


def test_what_is_blanked_as_it_arrives_is_told_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, however often it arrives: who has just called is no stranger."""
    for number, user in ((1, USER), (2, "bob"), (3, USER)):
        house.opens(number, user)
        house.closes(number)
    house.judges(2, USER, "of bob's call")
    told = llm(4, user=USER, started_at=before_start(house))
    house.worker.span(cast("Redacted", msgspec.json.encode(told)))

    def down(*_given: object) -> int:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(house.log, "apply", down)
        erasure, stranger = house.forgets(), house.people.ask("eve", by="admin", now=house.clock.at)
        for _ in range(3):
            assert not house.mover.tick().store_up
            house.clock.at += timedelta(minutes=1)
    house.mover.tick()
    found = [house.erasures.get(each.id) for each in (erasure, stranger)]
    assert [(each.state, each.records, each.scores) for each in found if each] == [
        ("done", 3, 1),
        ("done", 0, 0),
    ]


def test_who_asks_in_the_midst_of_a_tick_waits_for_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the store hangs then: what was said meanwhile is not moved, so it is not forgotten yet."""
    asked: list[Erasure] = []
    settle_calls = house.log.settle_calls

    def hangs(*given: Any, **more: Any) -> int:
        house.opens(1)
        house.closes(1)
        asked.append(house.forgets())
        return settle_calls(*given, **more)

    house.forgets("bob")
    with monkeypatch.context() as patch:
        patch.setattr(house.log, "settle_calls", hangs)
        house.mover.tick()
    assert (house.state(asked[0]), bool(holding(house.root, WORDS))) == ("pending", True)
    house.mover.tick()
    assert (house.state(asked[0]), holding(house.root, *THEIRS)) == ("done", [])


def test_who_comes_back_is_somebody_new(house: House) -> None:
    """Calls that begin after the person was forgotten are kept as any."""
    erasure = house.forgets()
    house.mover.tick()
    assert house.state(erasure) == "done"
    house.clock.at += timedelta(seconds=10)
    house.opens(1)
    house.closes(1)
    house.mover.tick()
    (found,) = house.log.records(ALL, limit=9, bodies=True)
    assert (found.user, found.response) == (USER, {"content": WORDS.decode()})


def test_ids_that_are_ahead_of_their_time_hide_nobody(house: House) -> None:
    """A worker that follows one that was killed makes ids later than all of that one's, up to an hour ahead:
    calls from before are forgotten all the same, those in the journal and those that arrive."""
    ahead = int(1000 * (house.clock.at + timedelta(minutes=59)).timestamp())
    first, second, later = (
        f"{(ahead + n) >> 16:08x}-{(ahead + n) & 0xFFFF:04x}-7000-8000-{n:012x}" for n in range(3)
    )
    house.opens(1, id=first)
    house.closes(1, id=first)
    house.mover.tick()
    house.opens(2, id=second)
    house.closes(2, id=second)
    erasure = house.forgets()
    house.clock.at += timedelta(seconds=10)
    house.opens(3, "bob", id=later)
    house.closes(3, b"for bob", id=later)
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])
    found = house.log.records(ALL, limit=9, bodies=True)
    assert [(each.user, each.response) for each in found] == [
        ("bob", {"content": "for bob"}),
        (None, None),
        (None, None),
    ]


def test_feedback_that_still_waits_in_the_journal_is_blanked(house: House) -> None:
    """Given before, moved after: the value counts, the words and the person are gone."""
    house.opens(1, "bob")
    house.closes(1, b"others")
    house.judges(1, USER, WORDS.decode())
    erasure = house.forgets()
    house.mover.tick()
    (score,) = house.log.scores_of([call_id(1)])
    assert (score.value, score.user, score.comment) == (1.0, None, None)
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])


def test_what_spans_are_called_goes_with_the_person(house: House) -> None:
    """Apps put into names what they like: those of a person's spans become their kind, there and to come."""
    for number in (1, 2):
        named = span(number, name=f"mail to {USER}", kind="tool", user=USER, started_at=before_start(house))
        house.worker.span(cast("Redacted", msgspec.json.encode(named)))
        if number == 1:
            house.mover.tick()
            house.forgets()
    house.mover.tick()
    assert holding(house.root, USER.encode()) == []
    assert [each.name for each in house.log.trace(TRACE)] == ["tool", "tool"]


@pytest.mark.parametrize("named_first", [True, False], ids=["named before", "named after"])
def test_a_trace_that_is_still_being_sent_stays_forgotten(house: House, *, named_first: bool) -> None:
    """Its spans that come after the erasure and name nobody are blanked, of whatever time, also by the next
    controller. What names somebody later is theirs, others' traces are theirs, and after a week all are."""
    words = msgspec.Raw(b'{"input":"%s"}' % WORDS)

    def sends(number: int, **fields: Any) -> None:
        given: dict[str, Any] = {"attributes": words, "started_at": before_start(house)} | fields
        house.worker.span(cast("Redacted", msgspec.json.encode(span(number, **given))))

    if named_first:
        sends(1, user=USER)
        house.mover.tick()
    erasure = house.forgets()
    if not named_first:
        sends(1, user=USER)
    house.mover.tick()
    assert house.state(erasure) == "done"
    sends(2)
    sends(3, started_at=house.clock.at + timedelta(hours=3))
    house.mover.tick()
    assert holding(house.root, *THEIRS) == []
    house.mover = house.new_mover()
    sends(4)
    house.mover.tick()
    assert holding(house.root, *THEIRS) == []
    assert [each.name for each in house.log.trace(TRACE)] == ["other"] * 4
    sends(5, user=USER, started_at=house.clock.at + timedelta(seconds=5))
    sends(6, trace_id="f" * 32)
    house.clock.at += KEPT + timedelta(seconds=1)
    sends(7)
    house.mover.tick()
    said = [house.log.span(each.trace_id, each.span_id) for each in map(span, (5, 7))]
    assert [WORDS in bytes(each.attributes) for each in said if each is not None] == [True, True]
    other = house.log.span("f" * 32, f"{6:016x}")
    assert other is not None
    assert WORDS in bytes(other.attributes)


def test_a_call_in_a_trace_that_is_still_being_sent_stays_forgotten(house: House) -> None:
    """A call at the gateway in such a trace names nobody: it may be under way, or begin after the erasure.
    One that names its user later, and one of another trace, are theirs."""
    mine: dict[str, Any] = {"trace_id": TRACE, "request": msgspec.Raw(b'{"content":"%s"}' % WORDS)}
    agent = span(9, user=USER, started_at=before_start(house))
    house.worker.span(cast("Redacted", msgspec.json.encode(agent)))
    house.opens(1, None, **mine)
    house.mover.tick()
    erasure = house.forgets()
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])
    house.closes(1)
    later = house.clock.at + timedelta(hours=3)
    stamp = int(1000 * later.timestamp())
    for number, user in ((2, None), (3, "bob"), (4, None)):
        call = f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7000-8000-{number:012x}"
        given = mine if number < 4 else mine | {"trace_id": "f" * 32}
        given |= {"id": call, "started_at": later}
        house.opens(number, user, **given | ({} if number == 2 else {"request": msgspec.Raw(b"1")}))
        house.closes(number, WORDS if number == 2 else b"others'", id=call)
    house.mover.tick()
    assert holding(house.root, *THEIRS) == []
    found = {each.id[-1]: each for each in house.log.records(ALL, limit=9, bodies=True)}
    assert [found[each].response for each in "1234"] == [None, None, *[{"content": "others'"}] * 2]


def test_what_is_said_of_a_forgotten_trace_loses_its_words(house: House) -> None:
    """An evaluation that comes later names the span alone; what it gave stays."""
    told = llm(1, user=USER, started_at=before_start(house))
    house.worker.span(cast("Redacted", msgspec.json.encode(told)))
    house.mover.tick()
    house.forgets()
    house.mover.tick()
    for number, trace in enumerate((TRACE, "f" * 32)):
        subject = subject_of(Evaluated(trace_id=trace, span_id=told.span_id))
        later = house.clock.at + timedelta(hours=1)
        stamp = int(1000 * later.timestamp())
        own = f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}-7000-8000-{number:012x}"
        said = score(number, 1, 0.5, id=own, subject_id=subject, comment=WORDS.decode(), at=later)
        house.worker.score(cast("Redacted", msgspec.json.encode(said)))
    house.mover.tick()
    waiting = house.log.stray_scores(house.clock.at + timedelta(hours=1), limit=9)
    assert [each.comment for each in waiting] == [None, WORDS.decode()]
    house.mover.finish()
    house.clock.at += timedelta(seconds=9)
    house.mover.tick()
    (found,) = house.log.scores_of([call_id(1)])
    assert (found.value, found.comment) == (0.5, None)


def test_a_call_that_a_span_tells_of_counts_without_its_person(house: House) -> None:
    """Whether its span is moved before they are forgotten or comes after: what it cost stays in the sums."""
    for number in (1, 2):
        told = llm(number, user=USER, session=USER, started_at=before_start(house))
        house.worker.span(cast("Redacted", msgspec.json.encode(told)))
        if number == 1:
            house.mover.tick()
            house.forgets()
    house.mover.tick()
    house.mover.finish()
    assert holding(house.root, USER.encode()) == []
    found = house.log.records(ALL, limit=9, bodies=True)
    assert {each.id for each in found} == {call_id(1), call_id(2)}
    assert {(each.user, each.request, each.cost_usd) for each in found} == {(None, None, record(1).cost_usd)}


def test_dead_letters_lose_what_may_be_of_the_person(house: House) -> None:
    """Those that were there: all but what is surely of another. Those that come: what is of them, and what
    nobody can tell of a time before."""
    house.opens(1, plan=2**70)
    house.opens(2, "bob", plan=2**70)
    house.worker.close_call(cast("Redacted", b'{"half":"%s"' % WORDS))
    house.mover.tick()
    assert [bool(each["payload"]) for each in letters(house)] == [True, True, True]
    erasure = house.forgets()
    house.mover.tick()
    assert house.state(erasure) == "done"
    by_payload = {each["payload"][:40]: each["why"] for each in letters(house)}
    assert len(letters(house)) == 3
    assert [why for payload, why in by_payload.items() if not payload]
    assert ["bob" in each["payload"] for each in letters(house)].count(True) == 1
    assert holding(house.root, *THEIRS) == []
    house.opens(3, plan=2**70)
    house.worker.close_call(cast("Redacted", b'{"other half":"%s"' % WORDS))
    house.mover.tick()
    assert [each["payload"] for each in letters(house)[3:]] == ["", ""]
    assert holding(house.root, *THEIRS) == []


def test_damage_in_a_segment_is_overwritten(house: House) -> None:
    """A frame that the disk has broken may have been anybody's; the frames around it stay."""
    house.opens(1)
    house.closes(1)
    house.opens(2, "bob")
    house.closes(2, b"others")
    (segment,) = house.worker.directory.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(WORDS) + 3] ^= 1
    segment.write_bytes(data)
    house.mover.tick()
    assert letters(house)[0]["why"] == "damaged"
    erasure = house.forgets()
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, USER.encode(), WORDS[6:])) == ("done", [])
    assert [each.user for each in house.log.records(ALL, limit=9, bodies=False)] == ["bob"]


def test_killed_between_taking_and_blanking(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next mover looks through all journals once, because a kill may have left what it had to blank."""
    house.opens(1)
    house.mover.tick()
    erasure = house.forgets()
    house.mover.tick()
    house.closes(1)
    with monkeypatch.context() as patch:
        patch.setattr(house.erasing, "taken", lambda *_given: None)
        house.mover.tick()
    assert holding(house.root, WORDS)
    house.mover = house.new_mover()
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])


@pytest.mark.parametrize("point", ["_sweep", "erase", "forget", "found", "clean", "finish"])
def test_killed_or_failing_anywhere_it_is_finished_later(
    house: House, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Whatever step fails, the erasure is pending and calls are moved on; after a while, or a restart, it is
    done."""
    house.opens(1)
    house.closes(1)
    house.mover.tick()
    owner: Any = {
        "_sweep": house.erasing,
        "erase": house.log,
        "forget": house.audit,
        "found": house.erasures,
        "clean": house.erasures,
        "finish": house.erasures,
    }[point]

    def fails(*_given: object, **_named: object) -> None:
        raise StoreUnavailable("not now")

    erasure = house.forgets()
    with monkeypatch.context() as patch:
        patch.setattr(owner, point, fails)
        status = house.mover.tick()
        assert (status.store_up, house.state(erasure)) == (True, "pending")
        house.opens(2, "bob")
        house.closes(2, b"others")
        assert house.mover.tick().moved_records == 2
    house.mover.tick()
    assert house.state(erasure) == "pending", "it is not tried at every tick"
    house.clock.at += timedelta(seconds=erasing_module.PAUSE_S_MAX)
    house.mover.tick()
    assert (house.state(erasure), holding(house.root, *THEIRS)) == ("done", [])
    assert house.log.count(ALL) == 2


def test_a_blanked_segment_stays_whole(house: House) -> None:
    """Its frames keep their places and checksums, so that the writer goes on and a store that lost everything
    reads it again without the person."""
    for number, user in enumerate([USER, "bob", USER]):
        house.opens(number, user)
        house.closes(number, WORDS if user == USER else b"others")
    house.mover.tick()
    house.forgets()
    house.mover.tick()
    house.opens(7, "carl")
    house.closes(7, b"later")
    house.mover.tick()
    fresh = DuckDBRecordLog(house.root / "again.duckdb")
    status = Mover(house.root / "journal", fresh, house.clock).tick()
    assert (status.corrupt_frames, status.moved_records) == (0, 4)
    users = {each.id: (each.user, each.response) for each in fresh.records(ALL, limit=9, bodies=True)}
    assert users == {
        call_id(0): (None, None),
        call_id(1): ("bob", {"content": "others"}),
        call_id(2): (None, None),
        call_id(7): ("carl", {"content": "later"}),
    }
    fresh.close()


def test_no_sum_names_a_person_whose_calls_come_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of calls that were there, nor of one that was open then, nor of those that a worker had
    written and nobody had moved; after a restart it is the same."""
    monkeypatch.setattr(duckdb_sums, "STRETCH", 4)
    for number in range(20, 24):
        house.opens(number)
        house.closes(number)
    house.opens(0)
    house.mover.tick()
    while house.log.tidy():
        pass
    house.opens(1)
    house.closes(1)
    house.mover.tick()
    house.opens(2)
    house.closes(2)
    erasure = house.forgets()
    house.closes(0)
    house.opens(3)
    house.closes(3)
    house.mover.drain()
    assert house.state(erasure) == "done"
    for number in range(4, 9):
        house.opens(number, "bob")
        house.closes(number)
    for _ in range(2):
        house.mover.drain()
        while house.log.tidy():
            pass
        with house.log._reading() as connection:
            users = connection.execute('select "user", sum(requests) from user_sums group by 1').fetchall()
            sessions = connection.execute('select distinct session, "user" from session_sums').fetchall()
        assert sorted(users, key=str) == [("bob", 3), (None, 8)]
        assert sorted(sessions, key=str) == [("s-bob", "bob"), (None, None)]
        house.log.close()
        house.log = DuckDBRecordLog(house.root / "records.duckdb")
        house.mover = house.new_mover()
