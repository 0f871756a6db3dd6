"""What every record log does with traces, whichever it is."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import EXTERNAL
from airboss.store.sealed_log import SealedLog
from airboss.store.span_rows import Span, TracedLog, TraceFilter
from tests.store.keys import in_memory
from tests.store.samples import SEGMENT, START, call_id, closed_json, opened_json, record_json
from tests.store.spans import TRACE, llm, span, span_move
from tests.store.test_contract_scores import score

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


@pytest.mark.words
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


@pytest.mark.words
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


@pytest.mark.words
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


OURS = 'provider "up" refused it: too long'
ASKS: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "embeddings": {"input": ["a", "b"]},
}


def asked(number: int, operation: str, at: float, **fields: Any) -> bytes:
    """A call, as JSON, that began so many seconds after START: embeddings, or one that failed."""
    failed = operation == "chat"
    said: Any = {"error": {"message": OURS}} if failed else None
    given: dict[str, Any] = {
        "operation": operation,
        "started_at": START + timedelta(seconds=at),
        "status": "error" if failed else "ok",
        "request": msgspec.Raw(msgspec.json.encode({"model": "m", **ASKS[operation]})),
        "response": msgspec.Raw(msgspec.json.encode(said)),
    }
    return record_json(number, **(given | fields))


def asking(number: int, operation: str, at: float, **fields: Any) -> Span:
    """A client's span of such a call, of half a second, in the words of OpenAI's client."""
    call = asked(number, operation, at, arm=EXTERNAL, trace_id=TRACE)
    said = {"error": {"message": OURS}}
    given: dict[str, Any] = {
        "kind": "llm" if operation == "chat" else "embedding",
        "started_at": START + timedelta(seconds=at),
        "duration_ms": 500.0,
        "message": f"BadRequestError: Error code: 400 - {said!r}",
    }
    return span(number, **given | {"call": msgspec.Raw(call)} | fields)


@pytest.mark.words
@pytest.mark.parametrize("operation", ["chat", "embeddings"])
def test_a_call_is_known_by_what_it_asked(record_log: TracedLog, operation: str) -> None:
    """Embeddings and failures have no answer with a name: the same question of the same key, in the client's
    time, is the same call; any other is not."""
    records = [
        asked(2, operation, 2.1),
        asked(3, operation, 13.7),  # after its client's end
        asked(4, operation, 24.1, key="team-b"),
        asked(5, operation, 35.1, request=msgspec.Raw(b'{"model":"m","input":["c"],"messages":["c"]}')),
        asked(6, operation, 46.1, trace_id="ab" * 16, trace_parent=f"{99:016x}-00"),
        asked(7, operation, 57.1, status="error" if operation == "embeddings" else "ok"),
    ]
    if operation == "chat":
        other = {"error": {"message": "another's own words"}}
        records.append(asked(8, operation, 68.1, response=msgspec.Raw(msgspec.json.encode(other))))
    ours = [call_id(number) for number in range(2, 2 + len(records))]
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    clients = [asking(20 + number, operation, 2.0 + 11 * number) for number in range(len(records))]
    record_log.apply(span_move(*clients, start=100))
    assert settle(record_log) == sorted([*ours, *(each.id for each in clients[1:])])
    tree = {each.id: each for each in record_log.trace(TRACE)}
    assert tree.keys() == {call_id(2), *(each.id for each in clients)}
    assert (tree[call_id(2)].gateway, tree[call_id(2)].parent_id) == (True, f"{20:016x}")


def test_a_chat_without_a_named_answer_is_known_by_what_it_asked(record_log: TracedLog) -> None:
    """Langfuse's client writes down no answer's name: the same question, with as many tokens, is the same
    call; one whose answer has a name is not looked for so, nor one that counts other tokens."""
    fine: dict[str, Any] = {"status": "ok", "response": msgspec.Raw(b'{"id":"a1"}'), "input_tokens": 41}
    whole = {"model": "m", "instructions": "be brief", "input": "hi"}
    listed = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    response = fine | {"request": msgspec.Raw(msgspec.json.encode(whole))}
    records = [
        asked(2, "chat", 2.1, **fine),
        asked(3, "chat", 13.1, **fine | {"input_tokens": 42}),
        asked(4, "chat", 24.1, **fine),
        asked(5, "chat", 35.1, **response),
    ]
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    said = {"arm": EXTERNAL, "trace_id": TRACE, **fine, "response": msgspec.Raw(b"null")}
    named = {"model": "small", "input": listed}  # the one that answered
    other = said | {"request": msgspec.Raw(msgspec.json.encode(named))}

    def client(number: int, at: float, call: dict[str, Any], **fields: Any) -> Span:
        return asking(number, "chat", at, call=msgspec.Raw(asked(number, "chat", at, **call)), **fields)

    clients = [
        client(20, 2.0, said),
        client(21, 13.0, said),
        client(22, 24.0, said, attributes=msgspec.Raw(b'{"gen_ai.response.id":"b1"}')),
        client(23, 35.0, other),
    ]
    record_log.apply(span_move(*clients, start=100))
    assert settle(record_log) == sorted(call_id(each) for each in (2, 3, 4, 5, 21, 22))
    tree = {each.id: each for each in record_log.trace(TRACE) if each.gateway}
    assert {each: tree[each].parent_id for each in tree} == {
        call_id(2): f"{20:016x}",
        call_id(5): f"{23:016x}",
    }


@pytest.mark.parametrize(
    ("operation", "calls", "spans", "own"),
    [
        ("chat", 1, 2, 1),  # which of the two went elsewhere nobody knows
        ("embeddings", 1, 2, 1),
        ("chat", 3, 1, 0),  # it was told to try again
        ("embeddings", 2, 1, 0),  # one of the two, whichever
        ("chat", 2, 2, 0),
        ("embeddings", 3, 3, 0),
    ],
)
def test_calls_that_are_alike(
    record_log: TracedLog, operation: str, calls: int, spans: int, own: int
) -> None:
    """At the same time: none is counted twice, and none stands below a client that may be another's."""
    records = [asked(2 + number, operation, 1.05 + number / 100) for number in range(calls)]
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    clients = [asking(50 + number, operation, 1.0 + number / 1000) for number in range(spans)]
    record_log.apply(span_move(*clients, start=100))
    assert len(settle(record_log)) == calls + own
    below = {each.parent_id for each in record_log.trace(TRACE) if each.gateway}
    assert below <= ({None} if spans > 1 else {clients[0].span_id})
    if calls == spans:
        record_log.apply(span_move(asking(60, operation, 1.0), start=100 + 100 * spans))
        assert len(settle(record_log)) == calls + 1  # none is left for it


@pytest.mark.parametrize("seed", range(4))
def test_alike_calls_at_once_stand_below_their_own_clients(record_log: TracedLog, seed: int) -> None:
    """Whatever the order in which they end: by their times, where these leave one way; else below none."""
    times = random.Random(seed)
    clients, records, whose = [], [], {}
    for number in range(12):
        start, length = times.random(), 0.02 + times.random()
        records.append(asked(2 + number, "embeddings", start + 0.001, latency_ms=1000 * length - 2))
        clients.append(asking(50 + number, "embeddings", start, duration_ms=1000 * length))
        whose[call_id(2 + number)] = clients[-1].span_id
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=tuple(records)))
    record_log.apply(span_move(*clients, start=100))
    assert settle(record_log) == sorted(whose)
    placed = {each.id: each.parent_id for each in record_log.trace(TRACE) if each.gateway}
    assert placed.keys() == whose.keys()
    assert all(parent in {None, whose[each]} for each, parent in placed.items())


def test_a_short_call_within_a_long_one_is_not_taken_for_it(record_log: TracedLog) -> None:
    """Two alike at once, one within the other: each stands below its own client, though the longer call began
    first and the shorter client ended first."""
    long, short = (
        asked(2, "embeddings", 1.01, latency_ms=130.0),
        asked(3, "embeddings", 1.04, latency_ms=40.0),
    )
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=100, records=(long, short)))
    outer = asking(50, "embeddings", 1.0, duration_ms=150.0)
    inner = asking(51, "embeddings", 1.03, duration_ms=60.0)
    record_log.apply(span_move(outer, inner, start=100))
    assert settle(record_log) == [call_id(2), call_id(3)]
    placed = {each.id: each.parent_id for each in record_log.trace(TRACE) if each.gateway}
    assert placed == {call_id(2): outer.span_id, call_id(3): inner.span_id}


def test_traces_are_listed(record_log: TracedLog) -> None:
    """The newest first, by what they have, in pages."""
    sent: list[Span] = []
    for number in range(5):
        trace = f"{number + 1:032x}"
        sent += (
            llm(10 * number, trace_id=trace, user=f"u{number % 2}", session="s"),
            span(10 * number + 1, 10 * number, trace_id=trace, service="inner", status="error"),
        )
    record_log.apply(span_move(*sent))
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


def test_traces_tell_what_their_calls_used(record_log: TracedLog) -> None:
    """Tokens and cost of the records that are in a trace, whoever made them, each once; a call whose cost
    nobody knows is counted apart, and one that is no record yet is not."""
    other = "cd" * 16
    for number, trace_id, cost in ((2, TRACE, Decimal("0.25")), (3, other, None)):
        at = 200 * (number - 2)
        record_log.apply(gateway_call(number, number - 1, at=at, trace_id=trace_id))
        closed = {call_id(number): closed_json(number, cost_usd=cost)}
        record_log.apply(JournalMove(segment=SEGMENT, start=at + 100, end=at + 200, closed=closed))
    spans = (llm(1), llm(4), span(5, 4, kind="tool"), llm(6, trace_id="ab" * 16))
    record_log.apply(span_move(*spans, start=400))
    settle(record_log)
    record_log.apply(span_move(llm(7, trace_id="ab" * 16), start=800))
    found = {each.trace_id: each for each in record_log.traces(DAY, limit=9)}
    told = {name: (each.input_tokens, each.output_tokens, each.cost_unknown) for name, each in found.items()}
    assert told == {TRACE: (20, 16, 0), "ab" * 16: (10, 8, 0), other: (10, 8, 1)}
    costs = {name: each.cost_usd for name, each in found.items()}
    assert costs == {TRACE: pytest.approx(0.250123), "ab" * 16: pytest.approx(0.000123), other: None}
    (one,) = record_log.traces(msgspec.structs.replace(DAY, trace_id="ab" * 16), limit=9)
    assert one == found["ab" * 16]


@pytest.mark.words
def test_a_person_is_taken_out_of_traces(record_log: TracedLog) -> None:
    """All of a trace that names them loses its texts, the calls in it theirs; numbers stay, others stay."""
    other = "ab" * 16
    record_log.apply(
        span_move(
            span(1, user="ann", name="agent"),
            llm(2, 1),
            span(3, 1, message="for ann", name="mail to ann@example.com", kind="tool"),
            span(6, 1, gateway=True, name="chat small", kind="llm"),
            llm(4, trace_id=other, user="bob"),
            llm(5, trace_id=other, user="ann", started_at=START + timedelta(hours=1)),
        )
    )
    assert settle(record_log) == [call_id(2), call_id(4), call_id(5)]
    record_log.erase({"ann": START + timedelta(minutes=1)})
    for number, name in ((1, "other"), (2, "llm"), (3, "tool"), (6, "chat small")):
        found = record_log.span(TRACE, f"{number:016x}")
        assert found is not None
        assert (found.user, found.message, bytes(found.attributes)) == (None, None, b"null")
        assert found.name == name, "what an app has called a span may name anybody"
    kept = record_log.span(other, f"{4:016x}")
    assert kept is not None
    assert (kept.user, bytes(kept.attributes)) == ("bob", b'{"a":1}')
    records = {each.id: each for each in record_log.records(RecordFilter(), limit=10, bodies=True)}
    assert (records[call_id(2)].request, records[call_id(2)].response) == (None, None)
    assert records[call_id(2)].cost_usd == Decimal("0.000123")
    assert records[call_id(4)].request is not None
    assert records[call_id(5)].user == "ann"


@pytest.mark.words
def test_a_person_is_taken_out_of_what_was_said_of_their_traces(record_log: TracedLog) -> None:
    """What reviewers wrote of calls in them that name nobody goes, so does the answer of one under way."""
    record_log.apply(span_move(span(1, user="ann", name="agent"), llm(2, 1)))
    assert settle(record_log) == [call_id(2)]
    said: dict[str, Any] = {"name": "right", "source": "review", "by": "bob", "comment": "ann's own words"}
    record_log.put_scores([score(1, 2, True, **said)])
    opened = opened_json(3, trace_id=TRACE)
    record_log.apply(JournalMove(segment="w/000001", start=0, end=1, opened={call_id(3): opened}))
    assert record_log.erase({"ann": LATER})["ann"].scores == 1
    assert [each.comment for each in record_log.scores_of([call_id(2)])] == [None]
    record_log.apply(JournalMove(segment="w/000001", start=1, end=2, closed={call_id(3): closed_json(3)}))
    (found,) = record_log.records(RecordFilter(id=call_id(3)), limit=1, bodies=True)
    assert (found.request, found.response, found.output_tokens) == (None, None, 8)


@pytest.mark.words
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


@pytest.mark.words
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
    if in_memory(record_log) or isinstance(record_log, SealedLog):
        pytest.skip("memory has no rows, and what is sealed is made smaller")
    huge = span(1, attributes=msgspec.Raw(b'{"a":"%s"}' % (b"x" * 70_000)))
    with pytest.raises(ValueError, match="characters"):
        record_log.apply(span_move(huge))
    assert record_json(1)
