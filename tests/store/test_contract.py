"""What every record log does, whichever it is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter, RecordLog
from airboss.store.sealed_log import SealedLog
from tests.store.keys import in_memory
from tests.store.samples import (
    SEGMENT,
    START,
    call_id,
    closed_json,
    move,
    move_of,
    opened_json,
    record,
    record_json,
)

ALL = RecordFilter()


def listed(record_log: RecordLog, where: RecordFilter = ALL, limit: int = 100) -> list[str]:
    """Ids of the records that match."""
    return [each.id for each in record_log.records(where, limit=limit, bodies=False)]


@pytest.mark.words
def test_a_record_comes_back_as_it_went_in(record_log: RecordLog) -> None:
    """Every field of a record survives, bodies included."""
    assert record_log.apply(move(1)) == 100
    assert list(record_log.records(ALL, limit=10, bodies=True)) == [record(1)]


@pytest.mark.words
def test_bodies_stay_where_they_are_unless_asked_for(record_log: RecordLog) -> None:
    """A list without bodies is the same list with none."""
    record_log.apply(move(1))
    (found,) = record_log.records(ALL, limit=10, bodies=False)
    assert found == msgspec.structs.replace(record(1), request=None, response=None)


@pytest.mark.words
def test_a_record_without_bodies_has_none(record_log: RecordLog) -> None:
    """Where bodies are not kept, both are null."""
    record_log.apply(move(1, request=None, response=None))
    (found,) = record_log.records(ALL, limit=10, bodies=True)
    assert (found.request, found.response) == (None, None)


@pytest.mark.words
def test_bodies_are_any_json(record_log: RecordLog) -> None:
    """NUL characters, any script, numbers beyond 64 bits and bare values come back as they were."""
    texts = [
        '{"content":"nul \\u0000 and \\" and \\\\u0000"}',
        '{"content":"\U0001f600 é \u2028 \u202e عربى"}',
        '{"big":100000000000000000000000000000,"small":-0.0,"exponent":1.5e-300}',
        '"just text"',
        "[]",
        "0",
        "false",
        '{"deep":' + "[" * 200 + "]" * 200 + "}",
    ]
    bodies = [msgspec.Raw(text.encode()) for text in texts]
    record_log.apply(move_of({"request": raw, "response": raw} for raw in bodies))
    for number, text in enumerate(texts):
        (found,) = record_log.records(RecordFilter(id=call_id(number)), limit=1, bodies=True)
        assert found.request == found.response == msgspec.json.decode(text)


@pytest.mark.words
def test_a_body_that_holds_no_value_is_shown_as_text(record_log: RecordLog) -> None:
    """A number that no double holds does not cost the record."""
    record_log.apply(move(1, request=msgspec.Raw(b'{"n":1e999}')))
    (found,) = record_log.records(ALL, limit=1, bodies=True)
    assert found.request == '{"n":1e999}'


def test_text_fields_are_any_text(record_log: RecordLog) -> None:
    """A user named with NUL, quotes or another script is found by that name."""
    users = ["a\0b", "o'hara", '"; drop table records', "\U0001f600é", "", "%_"]
    record_log.apply(move_of({"user": user, "session": user, "tags": {user: user}} for user in users))
    for user in users:
        (found,) = record_log.records(RecordFilter(user=user), limit=10, bodies=False)
        assert (found.user, found.session, found.tags) == (user, user, {user: user})


def test_costs_keep_every_digit(record_log: RecordLog) -> None:
    """Costs from a trillionth of a dollar to thousands come back equal, and plainly written."""
    costs = ["0.000000000001", "0.1", "1234.5", "100", "0", "20"]
    record_log.apply(move_of({"cost_usd": Decimal(cost)} for cost in costs))
    for number, cost in enumerate(costs):
        (found,) = record_log.records(RecordFilter(id=call_id(number)), limit=1, bodies=False)
        assert found.cost_usd == Decimal(cost)
        assert found.cost_usd is not None
        assert "E+" not in str(found.cost_usd)


def test_a_repeated_move_does_nothing(record_log: RecordLog) -> None:
    """A move whose start is not the offset held is not taken; the offset held is the answer."""
    record_log.apply(move(1, 2))
    assert record_log.apply(move(1, 2)) == 200
    assert record_log.apply(move(3, start=100)) == 200
    assert record_log.offset(SEGMENT) == 200
    assert listed(record_log) == [call_id(2), call_id(1)]


def test_a_record_is_stored_once_whatever_the_offsets_say(record_log: RecordLog) -> None:
    """The same id again, from another segment or twice in one move, is the record that is there already."""
    record_log.apply(move(1, 1))
    record_log.apply(move(1, 2, segment="1-0191/000001", user="other"))
    found = record_log.records(ALL, limit=10, bodies=True)
    assert [(each.id, each.user) for each in found] == [(call_id(2), "other"), (call_id(1), None)]


@pytest.mark.words
def test_an_open_waits_for_its_close(record_log: RecordLog) -> None:
    """A call opened in one segment and closed in another of its worker becomes one record."""
    first = JournalMove(segment="w/000001", start=0, end=10, opened={call_id(1): opened_json(1)})
    assert record_log.apply(first) == 10
    assert listed(record_log) == []
    assert list(record_log.orphans("w/")) == [call_id(1)]
    if not isinstance(record_log, SealedLog):
        assert record_log.orphans("w/") == {call_id(1): opened_json(1)}
    then = JournalMove(segment="w/000002", start=0, end=20, closed={call_id(1): closed_json(1)})
    assert record_log.apply(then) == 20
    assert list(record_log.records(ALL, limit=10, bodies=True)) == [record(1)]
    assert record_log.orphans("w/") == {}


@pytest.mark.words
def test_both_frames_of_a_call_in_one_move_are_its_record(record_log: RecordLog) -> None:
    """In the order of the closes, beside a call that an earlier move opened; nothing waits then."""
    record_log.apply(JournalMove(segment="w/1", start=0, end=9, opened={call_id(1): opened_json(1)}))
    numbers = (3, 1, 2)
    both = JournalMove(
        segment="w/1",
        start=9,
        end=20,
        opened={call_id(number): opened_json(number, user="ann") for number in (2, 3, 4)},
        closed={call_id(number): closed_json(number) for number in numbers},
    )
    for _ in range(2):
        assert record_log.apply(both) == 20
        found = record_log.records(RecordFilter(after=""), limit=10, bodies=True)
        assert [each.id for each in found if each.user == "ann"] == [call_id(3), call_id(2)]
        assert sorted(found, key=lambda each: each.id) == [
            record(1),
            record(2, user="ann"),
            record(3, user="ann"),
        ]
        assert list(record_log.orphans("w/")) == [call_id(4)]


def test_a_close_without_an_open_is_ignored(record_log: RecordLog) -> None:
    """It has been joined before."""
    assert record_log.apply(JournalMove(segment="w/1", start=0, end=5, closed={"x": closed_json(1)})) == 5
    assert record_log.count(ALL) == 0


def test_orphans_are_those_of_the_worker_asked_for(record_log: RecordLog) -> None:
    """A prefix is text, not a pattern."""
    for number, segment in enumerate(["a_/1", "ab/1", "a%/1", "a_/2"]):
        record_log.apply(
            JournalMove(segment=segment, start=0, end=1, opened={call_id(number): opened_json(number)})
        )
    assert list(record_log.orphans("a_/")) == [call_id(0), call_id(3)]
    assert record_log.orphans("nobody/") == {}


def test_orphans_come_a_thousand_at_a_time(record_log: RecordLog) -> None:
    """Whoever closes them asks again until there are none."""
    opened = {call_id(number): opened_json(number, request=None) for number in range(1001)}
    record_log.apply(JournalMove(segment="w/1", start=0, end=1, opened=opened))
    assert len(record_log.orphans("w/")) == 1000


def test_a_move_of_no_bytes_closes_orphans(record_log: RecordLog) -> None:
    """So the mover ends the calls of a dead worker; doing it again changes nothing, and no offset is left."""
    record_log.apply(JournalMove(segment="w/1", start=0, end=9, opened={call_id(1): opened_json(1)}))
    close = {call_id(1): closed_json(1, status="error", error_type="interrupted")}
    for segment, at in (("w/1", 9), ("w/1", 9), ("w/none", 0)):
        assert record_log.apply(JournalMove(segment=segment, start=at, end=at, closed=close)) == at
    (found,) = record_log.records(ALL, limit=10, bodies=False)
    assert (found.status, found.error_type) == ("error", "interrupted")


def test_a_forgotten_segment_has_no_offset(record_log: RecordLog) -> None:
    """Forgetting drops the offset, not the records, and may be done twice."""
    record_log.apply(move(1))
    record_log.forget(SEGMENT)
    record_log.forget(SEGMENT)
    assert record_log.offset(SEGMENT) == 0
    assert record_log.count(ALL) == 1


@pytest.mark.words
@pytest.mark.parametrize(
    "wrong",
    [
        {"output_tokens": 2**70},
        {"cost_usd": Decimal("1e9")},
        {"cost_usd": Decimal("NaN")},
        {"request": msgspec.Raw(b'"\xff"')},
    ],
)
def test_a_move_that_cannot_be_stored_is_refused_whole(record_log: RecordLog, wrong: dict[str, Any]) -> None:
    """ValueError, nothing taken, and the next move is taken: the mover can find the call at fault."""
    if in_memory(record_log) and "request" not in wrong:
        pytest.skip("Python's numbers have no bounds")
    bad = JournalMove(segment=SEGMENT, start=0, end=9, records=(record_json(1), record_json(2, **wrong)))
    with pytest.raises(ValueError):
        record_log.apply(bad)
    assert record_log.offset(SEGMENT) == 0
    assert listed(record_log) == []
    assert record_log.apply(move(3)) == 100
    assert listed(record_log) == [call_id(3)]


def test_json_that_is_no_record_is_refused(record_log: RecordLog) -> None:
    """ValueError for anything that is not a record; the log is unharmed."""
    for payload in (b"", b"{}", b"[]", b"nonsense", b'{"id":1}', b"[" * 100_000):
        with pytest.raises(ValueError):
            record_log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=(payload,)))
    assert record_log.apply(move(1)) == 100


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"deployment": "other"}, [1]),
    ({"status": "error"}, [2]),
    ({"model": "large"}, [3]),
    ({"user": "ann"}, [5, 4]),
    ({"key": "team-b"}, [5]),
    ({"user": "ann", "key": "team-b"}, [5]),
    ({"keys": ("team-b", "nobody")}, [5]),
    ({"keys": ("",)}, []),
    ({"id": call_id(3)}, [3]),
    ({"id": "no such id"}, []),
    ({"id": ""}, []),
    ({"ids": (call_id(3), "no such id", call_id(0))}, [3, 0]),
    ({"ids": (call_id(3), call_id(4)), "user": "ann"}, [4]),
    ({"ids": ("no such id",)}, []),
    ({"ids": ()}, []),
    ({"since": START + timedelta(seconds=2), "until": START + timedelta(seconds=4)}, [3, 2]),
    ({"since": START + timedelta(seconds=9)}, []),
    ({"text": "ANN"}, [5, 4]),
    ({"text": "Time"}, [2]),
    ({"text": "%"}, []),
    ({"text": call_id(1)[-6:].upper()}, [1]),
    ({"text": "sess"}, [0]),
    ({"text": ""}, [5, 4, 3, 2, 1, 0]),
]


def test_filters_say_which_records(record_log: RecordLog) -> None:
    """Every condition must hold; the newest comes first; the count agrees."""
    fields: list[dict[str, Any]] = [
        {"session": "Sess"},
        {"deployment": "other"},
        {"status": "error", "error_type": "upstream_timeout"},
        {"model": "large"},
        {"user": "Ann", "session": "s"},
        {"user": "ann", "key": "team-b"},
    ]
    fields[4]["user"] = "ann"
    record_log.apply(move_of(fields))
    for where, numbers in FILTERS:
        wanted = RecordFilter(**where)
        assert listed(record_log, wanted) == [call_id(number) for number in numbers], where
        assert record_log.count(wanted) == len(numbers), where


def test_text_that_is_no_unicode_matches_nothing(record_log: RecordLog) -> None:
    """A lone surrogate in a filter is a wrong call at worst, never a store that is down."""
    record_log.apply(move(1))
    for where in (RecordFilter(user="\ud800"), RecordFilter(text="\ud800"), RecordFilter(before="\ud800")):
        try:
            assert listed(record_log, where) == []
        except ValueError as error:
            assert "surrogate" in str(error)  # noqa: PT017 - either is right


def test_pages_go_backwards_without_gap_or_repeat(record_log: RecordLog) -> None:
    """`before` the last record of a page gives the next page, even where many began at one moment."""
    numbers = list(range(25))
    record_log.apply(
        JournalMove(
            segment=SEGMENT,
            start=0,
            end=1,
            records=tuple(
                record_json(number, started_at=START + timedelta(seconds=number // 10)) for number in numbers
            ),
        )
    )
    seen: list[str] = []
    page = listed(record_log, limit=4)
    while page:
        assert len(seen) < 30
        seen += page
        page = listed(record_log, RecordFilter(before=page[-1]), limit=4)
    assert seen == [call_id(number) for number in reversed(numbers)]


def test_a_clock_that_stepped_back_loses_and_doubles_nothing(record_log: RecordLog) -> None:
    """Half way the clock went back an hour: following gives all in order of storage, pages give each once."""
    back = timedelta(hours=1)
    times = [
        START + timedelta(seconds=number) - (back if number >= 10 else timedelta()) for number in range(20)
    ]
    for first, end in ((0, 7), (7, 10), (10, 11), (11, 20)):
        record_log.apply(move_of(({"started_at": at} for at in times[first:end]), first))
    assert listed(record_log, RecordFilter(after=call_id(0))) == [call_id(number) for number in range(1, 20)]
    followed: list[str] = [call_id(0)]
    while page := listed(record_log, RecordFilter(after=followed[-1]), limit=3):
        followed += page
    assert followed == [call_id(number) for number in range(20)]
    paged: list[str] = []
    page = listed(record_log, limit=3)
    while page:
        assert len(paged) < 30
        paged += page
        page = listed(record_log, RecordFilter(before=page[-1]), limit=3)
    # By when calls began, as their clock said; those of one side of the step stay in order.
    assert paged == [call_id(number) for number in (*range(9, -1, -1), *range(19, 9, -1))]


def test_following_misses_no_record_that_arrives_late(record_log: RecordLog) -> None:
    """`after` gives what was stored later, first stored first: a long call begun earlier is among them."""
    record_log.apply(move(5))
    record_log.apply(move(2, 7, start=100))
    assert listed(record_log, RecordFilter(after=call_id(5))) == [call_id(2), call_id(7)]
    assert listed(record_log, RecordFilter(after=call_id(5)), limit=1) == [call_id(2)]
    assert listed(record_log, RecordFilter(after=call_id(7))) == []
    assert listed(record_log, RecordFilter(after=call_id(5), status="error")) == []


def test_a_page_beyond_an_unknown_record_is_empty(record_log: RecordLog) -> None:
    """There is no place to go on from."""
    record_log.apply(move(1))
    assert listed(record_log, RecordFilter(before="unknown")) == []
    assert listed(record_log, RecordFilter(after="unknown")) == []


def test_paging_does_not_change_the_count(record_log: RecordLog) -> None:
    """A count is of all that match."""
    record_log.apply(move(1, 2, 3))
    assert record_log.count(RecordFilter(before=call_id(2), after=call_id(1))) == 3


def test_statistics_are_those_of_the_period(record_log: RecordLog) -> None:
    """Counts are of all calls, latencies of answered ones, costs of those with a known price."""
    calls: list[dict[str, Any]] = [
        {"latency_ms": 100.0, "ttft_ms": 20.0},
        {"latency_ms": 200.0, "ttft_ms": 50.0, "stream": False, "cost_usd": None},
        {"latency_ms": 200.0, "ttft_ms": None, "output_tokens": 0},
        {"latency_ms": 300.0, "ttft_ms": 100.0, "output_tokens": None},
        {
            "status": "error",
            "latency_ms": 9000.0,
            "input_tokens": None,
            "output_tokens": None,
            "cost_usd": None,
        },
        {"status": "cancelled", "latency_ms": 1.0},
        {
            "status": "refused",
            "latency_ms": 1.0,
            "deployment": "alone",
            "cost_usd": None,
            "input_tokens": None,
        },
        {"latency_ms": 1e6, "deployment": "outside", "started_at": START + timedelta(hours=1)},
    ]
    record_log.apply(move_of(calls[:5]))
    record_log.apply(move_of(calls[5:], 5))
    alone, main = record_log.stats(START, START + timedelta(hours=1))
    assert (main.deployment, main.requests, main.errors, main.cancelled) == ("assistant", 6, 1, 1)
    assert main.latency_p50_ms == pytest.approx(200.0)
    assert main.latency_p95_ms == pytest.approx(285.0)
    assert main.ttft_p50_ms == pytest.approx(50.0)
    assert main.ttft_p95_ms == pytest.approx(95.0)
    assert main.tokens_per_s == pytest.approx((8 / 0.080 + 8 / 0.200) / 2)
    assert (main.input_tokens, main.output_tokens) == (50, 24)
    assert main.cost_usd == pytest.approx(0.000492)
    assert main.cost_unknown == 2
    assert (alone.deployment, alone.requests, alone.errors, alone.cost_unknown) == ("alone", 1, 0, 1)
    assert (main.refused, alone.refused) == (0, 1)
    assert (alone.latency_p50_ms, alone.tokens_per_s, alone.cost_usd) == (None, None, None)


def test_there_are_no_statistics_of_nothing(record_log: RecordLog) -> None:
    """An empty log and an empty period answer with nothing, not with zeros."""
    assert list(record_log.stats(START, START + timedelta(days=1))) == []
    record_log.apply(move(1))
    assert list(record_log.stats(START, START)) == []
    assert list(record_log.series(START, START, step_s=60)) == []


def test_a_series_has_steps_at_multiples_of_the_step(record_log: RecordLog) -> None:
    """Steps start at multiples of the step since the epoch, and those without a call are left out."""
    answered = [
        {"started_at": START + timedelta(seconds=second + 0.25), "latency_ms": 100.0 * (index + 1)}
        for index, second in enumerate((0, 59, 60, 185))
    ]
    others = [
        {"deployment": "alone", "status": "error"},
        {"deployment": "refusing", "status": "refused"},
        {"deployment": "refusing", "status": "cancelled"},
    ]
    record_log.apply(move_of(answered))
    record_log.apply(move_of(others, 4))
    buckets = record_log.series(START, START + timedelta(minutes=5), step_s=60)
    assert [(each.deployment, (each.start - START).total_seconds(), each.requests) for each in buckets] == [
        ("alone", 0.0, 1),
        ("assistant", 0.0, 2),
        ("assistant", 60.0, 1),
        ("assistant", 180.0, 1),
        ("refusing", 0.0, 2),
    ]
    alone, first, *_, refusing = buckets
    assert (first.cancelled, first.refused) == (0, 0)
    assert (refusing.cancelled, refusing.refused, refusing.errors) == (1, 1, 0)
    assert (alone.errors, alone.latency_p50_ms, alone.ttft_p50_ms) == (1, None, None)
    assert first.latency_p50_ms == pytest.approx(150.0)
    assert first.output_tokens == 16
    assert first.latency_p95_ms == pytest.approx(195.0)
    assert first.cost_usd == pytest.approx(0.000246)
    odd = record_log.series(START, START + timedelta(minutes=5), step_s=7)
    assert all(each.start.timestamp() % 7 == 0 for each in odd)


def test_traffic_tells_who_answered(record_log: RecordLog) -> None:
    """By deployment, release and arm, in steps; what was cancelled or refused is no part of an error rate."""
    places = [
        ("d1", "stable", "ok"),
        ("d1", "stable", "error"),
        ("d2", "canary", "cancelled"),
        ("d2", "canary", "ok"),
    ]
    record_log.apply(
        move_of(
            {
                "started_at": START + timedelta(seconds=50 * index),
                "release": release,
                "arm": arm,
                "status": status,
            }
            for index, (release, arm, status) in enumerate(places)
        )
    )
    found = record_log.traffic(START, START + timedelta(minutes=5), step_s=60)
    assert [
        (each.release, each.arm, each.start - START, each.requests, each.errors, each.counted)
        for each in found
    ] == [
        ("d1", "stable", timedelta(), 2, 1, 2),
        ("d2", "canary", timedelta(seconds=60), 1, 0, 0),
        ("d2", "canary", timedelta(seconds=120), 1, 0, 1),
    ]
    assert {each.deployment for each in found} == {"assistant"}
    assert list(record_log.traffic(START, START, step_s=60)) == []
    assert record_log.count(RecordFilter(release="d2")) == 2
    assert record_log.count(RecordFilter(release="d")) == 0


def test_a_closed_log_says_so(record_log: RecordLog) -> None:
    """Whatever is asked after `close` raises StoreUnavailable."""
    record_log.close()
    with pytest.raises(StoreUnavailable):
        record_log.count(ALL)
    with pytest.raises(StoreUnavailable):
        record_log.apply(move(1))
