"""What every record log does with traces, whichever it is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store.span_rows import TracedLog, TraceFilter
from tests.store.samples import SEGMENT, START, call_id, closed_json, opened_json, record_json
from tests.store.spans import TRACE, llm, span, span_move

DAY = TraceFilter(since=START - timedelta(days=1), until=START + timedelta(days=1))
LATER = START + timedelta(seconds=10)


def ids(log: TracedLog) -> list[str]:
    """Ids of all records, in order."""
    return sorted(each.id for each in log.records(RecordFilter(), limit=1000, bodies=False))


def settle(log: TracedLog) -> list[str]:
    """The records there are once all that waits is settled."""
    while log.settle_calls(LATER, limit=1000):
        pass
    return ids(log)


def test_spans_come_back_as_they_went_in(record_log: TracedLog) -> None:
    """Every field of a span survives; a trace is in order of time."""
    sent = span(2, 1, user="ann", session="s", message="m", status="error", sampled=False)
    assert record_log.apply(span_move(sent, span(1))) == 200
    tree = record_log.trace(TRACE)
    assert [each.id for each in tree] == [call_id(1), call_id(2)]
    assert tree[1].parent_id == tree[0].span_id
    found = record_log.span(TRACE, sent.span_id)
    assert found is not None
    for name in type(found).__struct_fields__:
        assert getattr(found, name) == getattr(sent, name), name
    assert record_log.span(TRACE, "f" * 16) is None
    assert record_log.trace("ab" * 16) == []


@pytest.mark.parametrize("wrong", ["", "x", TRACE.upper(), TRACE[:-1], "0x" + TRACE[2:], TRACE + "' or 1"])
def test_ids_that_are_none_are_refused(record_log: TracedLog, wrong: str) -> None:
    """ValueError, in reading as in moving."""
    with pytest.raises(ValueError, match="trace id"):
        record_log.trace(wrong)
    with pytest.raises(ValueError):
        record_log.apply(span_move(span(1, trace_id=wrong)))
    with pytest.raises(ValueError):
        record_log.apply(span_move(span(1, span_id=wrong)))
    assert record_log.apply(span_move(span(1))) == 100


def test_a_span_is_kept_once(record_log: TracedLog) -> None:
    """However often it is sent, in one move or in several; so is the call that it tells of."""
    record_log.apply(span_move(llm(1), llm(1)))
    assert settle(record_log) == [call_id(1)]
    record_log.apply(span_move(llm(1), span(2), start=200))
    assert len(record_log.trace(TRACE)) == 2
    assert settle(record_log) == [call_id(1)]


def test_a_model_call_becomes_a_record(record_log: TracedLog) -> None:
    """Once it has waited; with its bodies; and it costs no budget."""
    record_log.apply(span_move(llm(1)))
    assert record_log.settle_calls(START, limit=10) == 0
    assert ids(record_log) == []
    assert record_log.settle_calls(LATER, limit=10) == 1
    (found,) = record_log.records(RecordFilter(), limit=10, bodies=True)
    assert (found.trace_id, found.arm, found.deployment) == (TRACE, "external", "otlp:bot")
    assert found.request["messages"][0]["content"] == "hi"
    assert found.cost_usd == Decimal("0.000123")
    assert record_log.spent(START - timedelta(days=1)) == []
    assert record_log.settle_calls(LATER, limit=10) == 0


def gateway_call(number: int, parent: int | None, **fields: Any) -> JournalMove:
    """A call of the gateway, in a trace, in two moves."""
    at = fields.pop("at", 0)
    given = {"trace_id": TRACE, "trace_parent": f"{parent or 99:016x}-00"} | fields
    return JournalMove(
        segment=SEGMENT, start=at, end=at + 100, opened={call_id(number): opened_json(number, **given)}
    )


@pytest.mark.parametrize("span_first", [True, False])
def test_a_call_of_the_gateway_is_counted_once(record_log: TracedLog, span_first: bool) -> None:
    """The client's span of it, and one of its HTTP client between the two, give no second record; the call
    of the gateway has its place in the tree."""
    client = span_move(llm(1, duration_ms=9_000.0), span(2, 1, name="POST"), llm(7, user="ann"))
    opened = gateway_call(3, 2, at=300 if span_first else 0)
    moves = [client, opened] if span_first else [opened, msgspec.structs.replace(client, start=100, end=400)]
    for each in moves:
        record_log.apply(each)
    close = JournalMove(segment=SEGMENT, start=400, end=500, closed={call_id(3): closed_json(3)})
    record_log.apply(close)
    assert settle(record_log) == [call_id(3), call_id(7)]
    tree = {each.id: each for each in record_log.trace(TRACE)}
    ours = tree[call_id(3)]
    assert (ours.gateway, ours.parent_id, ours.kind, ours.duration_ms) == (True, f"{2:016x}", "llm", 100.0)
    (detail,) = record_log.spans_of([call_id(3), call_id(50)])
    assert (detail.id, detail.sampled) == (call_id(3), False)


def answered(number: int, answer: str, **fields: Any) -> JournalMove:
    """A call of the gateway that came without a trace, whose answer has this name; in one move."""
    said = msgspec.Raw(
        b'{"choices":[{"message":{"content":"%s"}}],"id": "%s"}' % (b"x" * 10, answer.encode())
    )
    at = fields.pop("at")
    return JournalMove(
        segment=SEGMENT,
        start=at,
        end=at + 100,
        records=(record_json(number, response=said, **fields),),
    )


def test_a_call_is_known_by_its_answer(record_log: TracedLog) -> None:
    """A client's span that names the answer of a call of the gateway is that call's client side, in whichever
    trace; the call gets its place there. An answer of that name at another time is of another call."""
    named = msgspec.Raw(b'{"a":1,"gen_ai.response.id":"chatcmpl-7"}')
    client: dict[str, Any] = {"duration_ms": 3_000.0, "attributes": named}
    record_log.apply(answered(2, "chatcmpl-7", at=0, deployment="d", user="ann"))
    record_log.apply(answered(3, "chatcmpl-8", at=100))
    record_log.apply(
        span_move(llm(1, **client), llm(20, **client), llm(4, trace_id="ab" * 16, **client), start=200)
    )
    assert settle(record_log) == [call_id(2), call_id(3), call_id(4), call_id(20)]
    record_log.apply(span_move(llm(0, **client), start=500))
    assert settle(record_log) == [call_id(2), call_id(3), call_id(4), call_id(20)]
    odd = msgspec.json.encode({"gen_ai.response.id": "x' or 1 -- \"\\$answers {columns}\n\0é🛫"})
    number = msgspec.Raw(b'{"gen_ai.response.id":7}')
    other = "cd" * 16
    record_log.apply(
        span_move(
            llm(5, attributes=msgspec.Raw(odd), trace_id=other),
            llm(6, attributes=number, trace_id=other),
            start=600,
        )
    )
    assert {call_id(5), call_id(6)} <= set(settle(record_log))
    tree = record_log.trace(TRACE)
    assert [each.id for each in tree] == [call_id(0), call_id(1), call_id(2), call_id(20)]
    ours = tree[2]
    assert (ours.gateway, ours.parent_id, ours.service, ours.duration_ms) == (True, f"{1:016x}", "d", 100.0)
    (detail,) = record_log.spans_of([call_id(2)])
    assert (detail.user, detail.trace_id) == ("ann", TRACE)


def test_traces_are_listed(record_log: TracedLog) -> None:
    """The newest first, by what they have, in pages."""
    for number in range(5):
        trace = f"{number + 1:032x}"
        record_log.apply(
            span_move(
                llm(10 * number, trace_id=trace, user=f"u{number % 2}", session="s"),
                span(10 * number + 1, 10 * number, trace_id=trace, service="inner", status="error"),
                start=200 * number,
            )
        )
    listed = record_log.traces(DAY, limit=3)
    assert [int(each.trace_id, 16) for each in listed] == [5, 4, 3]
    rest = record_log.traces(msgspec.structs.replace(DAY, before=listed[-1].place), limit=3)
    assert [int(each.trace_id, 16) for each in rest] == [2, 1]
    first = listed[0]
    assert (first.name, first.service, first.spans, first.errors) == ("span 40", "bot", 2, 1)
    assert (first.model_calls, first.user, first.session, first.duration_ms) == (1, "u0", "s", 1_100.0)
    for given, count in (
        ({"user": "u1"}, 2),
        ({"session": "s"}, 5),
        ({"session": "t"}, 0),
        ({"service": "bot"}, 5),
        ({"status": "error"}, 5),
        ({"status": "ok"}, 0),
        ({"since": START + timedelta(seconds=20)}, 3),
        ({"until": START}, 0),
    ):
        assert len(record_log.traces(msgspec.structs.replace(DAY, **given), limit=100)) == count, given


def test_a_person_is_taken_out_of_traces(record_log: TracedLog) -> None:
    """All of a trace that names them loses its texts, the calls in it theirs; numbers stay, others stay."""
    other = "ab" * 16
    record_log.apply(
        span_move(
            span(1, user="ann", name="agent"),
            llm(2, 1),
            span(3, 1, message="for ann"),
            llm(4, trace_id=other, user="bob"),
            llm(5, trace_id=other, user="ann", started_at=START + timedelta(hours=1)),
        )
    )
    assert settle(record_log) == [call_id(2), call_id(4), call_id(5)]
    record_log.erase({"ann": START + timedelta(minutes=1)})
    for number in (1, 2, 3):
        found = record_log.span(TRACE, f"{number:016x}")
        assert found is not None
        assert (found.user, found.message, bytes(found.attributes)) == (None, None, b"null")
    kept = record_log.span(other, f"{4:016x}")
    assert kept is not None
    assert (kept.user, bytes(kept.attributes)) == ("bob", b'{"a":1}')
    records = {each.id: each for each in record_log.records(RecordFilter(), limit=10, bodies=True)}
    assert (records[call_id(2)].request, records[call_id(2)].response) == (None, None)
    assert records[call_id(2)].cost_usd == Decimal("0.000123")
    assert records[call_id(4)].request is not None
    assert records[call_id(5)].user == "ann"


def test_a_person_is_taken_out_of_calls_that_wait(record_log: TracedLog) -> None:
    """A call of their trace that is no record yet becomes one without them and what was said, at its cost;
    others' stay whole."""
    other = "ab" * 16
    record_log.apply(span_move(llm(1, user="ann"), llm(2, 1), llm(3, trace_id=other, user="bob")))
    record_log.erase({"ann": LATER})
    assert settle(record_log) == [call_id(2), call_id(3)]
    bob, anonymous = record_log.records(RecordFilter(), limit=9, bodies=True)
    assert (bob.user, bob.request is not None) == ("bob", True)
    assert (anonymous.user, anonymous.request, anonymous.response) == (None, None, None)
    assert (anonymous.tags, anonymous.cost_usd) == ({}, Decimal("0.000123"))


def test_traces_expire(record_log: TracedLog) -> None:
    """Texts first, then whole spans, as records do."""
    record_log.apply(span_move(span(1), span(100)))
    assert record_log.expire(bodies_before=START + timedelta(seconds=50), records_before=None, limit=10) == 1
    assert record_log.expire(bodies_before=START + timedelta(seconds=50), records_before=None, limit=10) == 0
    found = [record_log.span(TRACE, f"{number:016x}") for number in (1, 100)]
    assert [bytes(each.attributes) for each in found if each] == [b"null", b'{"a":1}']
    assert record_log.expire(bodies_before=None, records_before=START + timedelta(seconds=50), limit=10) == 1
    assert [each.id for each in record_log.trace(TRACE)] == [call_id(100)]


def test_a_record_with_a_trace_that_is_none_is_moved(record_log: TracedLog) -> None:
    """What an older gateway took for a trace's id stops no move."""
    record_log.apply(gateway_call(1, 2, trace_id="0X" + TRACE[2:]))
    close = JournalMove(segment=SEGMENT, start=100, end=200, closed={call_id(1): closed_json(1)})
    assert record_log.apply(close) == 200
    assert ids(record_log) == [call_id(1)]


def test_a_span_that_is_too_large_is_refused(record_log: TracedLog) -> None:
    """DuckDB would hold 2,048 of them in memory: the mover puts it away."""
    if type(record_log).__name__ == "MemoryRecordLog":
        pytest.skip("memory has no rows")
    huge = span(1, attributes=msgspec.Raw(b'{"a":"%s"}' % (b"x" * 70_000)))
    with pytest.raises(ValueError, match="characters"):
        record_log.apply(span_move(huge))
    assert record_json(1)
