"""What was said in a model call and came apart from its span, in every record log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import EXTERNAL, InferenceRecord, PolicyFinding
from airboss.store import span_messages
from airboss.store.sealed_log import SealedLog
from airboss.store.span_messages import CALLS_FOR, SAID_FOR
from airboss.store.span_rows import NOTHING, Said, Span, TracedLog
from tests.store.samples import SEGMENT, START, call_id, closed_json, record_json
from tests.store.spans import TRACE, llm, span, span_move
from tests.store.test_contract_search import searched
from tests.store.test_contract_spans import gateway_call

pytestmark = pytest.mark.words

SOON = START + timedelta(milliseconds=1)
LATE = START + CALLS_FOR + timedelta(seconds=1)


def silent(number: int, **fields: Any) -> Span:
    """Span `number`, which tells of a call and not of what was said in it."""
    given: dict[str, Any] = {
        "request": NOTHING,
        "response": NOTHING,
        "output_chars": 0,
        "finish_reason": None,
    }
    call = record_json(number, arm=EXTERNAL, trace_id=TRACE, **given)
    told = msgspec.Raw(b'{"gen_ai.request.temperature":0.5,"gen_ai.response.id":"a-1"}')
    return span(number, kind="llm", call=msgspec.Raw(call), awaits=True, **{"attributes": told} | fields)


def says(number: int, below: int, request: Any = None, response: Any = None, **fields: Any) -> Span:
    """A log record that became span `number`, with messages of span `below`."""
    said = Said(
        said_in=f"{below:016x}",
        at_ns=fields.pop("at_ns", number),
        place=fields.pop("place", 0),
        whole=fields.pop("whole", False),
        request=raw(request),
        response=raw(response),
        policy=fields.pop("policy", ()),
    )
    return span(number, below, said=raw(said), **fields)


def raw(value: Any) -> msgspec.Raw:
    """JSON of a value."""
    return msgspec.Raw(msgspec.json.encode(value)) if value is not None else NOTHING


def asks(text: str, role: str = "user") -> dict[str, Any]:
    """A request of one message."""
    return {"messages": [{"role": role, "content": text}]}


def answers(text: str, index: int = 0) -> dict[str, Any]:
    """An answer of one choice."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": index, "message": message, "finish_reason": "stop"}]}


def settled(log: TracedLog, before: datetime = LATE) -> Sequence[InferenceRecord]:
    """All records with their bodies, once what waits since then is settled."""
    while log.settle_calls(before, limit=1000):
        pass
    return log.records(RecordFilter(), limit=100, bodies=True)


TALK = [
    says(2, 1, asks("be kind", "system")),
    says(3, 1, asks("my order 4711")),
    says(4, 1, response=answers("it is on its way")),
]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_messages_fill_the_bodies_in_any_order(record_log: TracedLog, order: tuple[int, ...]) -> None:
    """Before their span, after it and with it, each in a move of its own or twice; text search finds them.
    Each comes first, amid and last, and before and after each other."""
    parts = [[silent(1), TALK[0]], [TALK[1]], [TALK[2], TALK[2]]]
    start = 0
    for number in order:
        record_log.apply(span_move(*parts[number], start=start))
        start += 100 * len(parts[number])
    record_log.apply(span_move(*TALK, silent(1), start=start))  # all of it once more
    assert settled(record_log, SOON) == []
    (found,) = settled(record_log)
    assert found.request == {
        "model": found.model,
        "temperature": 0.5,
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "my order 4711"}],
    }
    assert found.response == {"id": "a-1", **answers("it is on its way")}
    assert (found.output_chars, found.finish_reason) == (16, "stop")
    if not isinstance(record_log, SealedLog):
        assert searched(record_log, "order 4711") == searched(record_log, "way") == [call_id(1)]
    assert len(record_log.trace(TRACE)) == 4
    record_log.apply(span_move(*TALK, start=start + 400))
    assert settled(record_log, START + 2 * SAID_FOR) == [found]


def test_a_call_waits_only_so_long(record_log: TracedLog) -> None:
    """Then it is a record without; what comes later stands in the trace alone, and is not kept waiting."""
    record_log.apply(span_move(silent(1), llm(5)))
    assert [each.id for each in settled(record_log, SOON)] == [call_id(5)]
    assert {each.id for each in settled(record_log)} == {call_id(1), call_id(5)}
    record_log.apply(span_move(*TALK, start=200))
    found = {each.id: each for each in settled(record_log, START + SAID_FOR + timedelta(seconds=1))}
    assert found[call_id(1)].request is found[call_id(1)].response is None
    assert record_log.settle_calls(START + timedelta(days=1), limit=9) == 0


def test_only_its_own_messages_are_a_calls(record_log: TracedLog) -> None:
    """Not those of another span, key or trace; and a span that tells itself is believed."""
    other = "ab" * 16
    told = llm(20)
    record_log.apply(
        span_move(
            silent(1),
            says(2, 7, asks("another span's")),
            says(3, 1, asks("another key's"), key="team-b"),
            says(4, 1, asks("another trace's"), trace_id=other),
            told,
            says(21, 20, asks("not this")),
        )
    )
    found = {each.id: each for each in settled(record_log)}
    assert (found[call_id(1)].request, found[call_id(1)].response) == (None, None)
    assert found[call_id(20)].request["messages"][0]["content"] == "hi"


def test_messages_stand_in_order(record_log: TracedLog) -> None:
    """By time, then as they came; choices by index; who says all at once is not added to."""
    record_log.apply(
        span_move(
            silent(1),
            says(5, 1, asks("third"), at_ns=9),
            says(4, 1, asks("second"), at_ns=8, place=2),
            says(6, 1, asks("first"), at_ns=8, place=1),
            says(7, 1, response=answers("b", 1)),
            says(8, 1, response=answers("a", 0)),
            silent(30),
            says(31, 30, asks("one event of several")),
            says(32, 30, asks("all of it") | {"tools": [{"type": "function"}]}, answers("yes"), whole=True),
        )
    )
    found = {each.id: each for each in settled(record_log)}
    first, whole = found[call_id(1)], found[call_id(30)]
    assert [each["content"] for each in first.request["messages"]] == ["first", "second", "third"]
    assert [each["message"]["content"] for each in first.response["choices"]] == ["a", "b"]
    assert [each["content"] for each in whole.request["messages"]] == ["all of it"]
    assert whole.request["tools"] == [{"type": "function"}]


def test_what_policies_found_is_told(record_log: TracedLog) -> None:
    """In all messages together."""
    mail = PolicyFinding(kind="email", action="mask", count=1, where="request.messages.content")
    record_log.apply(
        span_move(silent(1), says(2, 1, asks("a"), policy=(mail,)), says(3, 1, asks("b"), policy=(mail,)))
    )
    (found,) = settled(record_log)
    assert found.policy == (msgspec.structs.replace(mail, count=2),)


def test_a_long_talk_is_kept_whole_and_a_longer_one_cut(
    record_log: TracedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the parts that texts are kept in; what is beyond the bound is counted."""
    monkeypatch.setattr(span_messages, "BODY_BYTES_MAX", 200_000)
    long = "é" * 60_000
    record_log.apply(span_move(silent(1), *(says(2 + n, 1, asks(f"{n}{long}")) for n in range(3))))
    (found,) = settled(record_log)
    texts = [each["content"] for each in found.request["messages"]]
    assert texts == [f"0{long}", "[cut: 2 more messages]"]


def test_only_so_much_of_a_talk_is_read(record_log: TracedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of it and its last, the answer; what is between is counted, and waits no more either. Several
    calls at once have each their own."""
    monkeypatch.setattr(span_messages, "READ_BYTES_MAX", 2_000)
    for first in (1, 31):
        talk = [says(first + 1 + n, first, asks(f"{n}{'x' * 300}")) for n in range(9)]
        answer = says(first + 10, first, response=answers("so it is"))
        record_log.apply(span_move(silent(first), *talk, answer, start=100 * first))
    for found in settled(record_log):
        texts = [each["content"].rstrip("x") for each in found.request["messages"]]
        assert texts == ["0", "1", "2", "3", "[cut: 5 more messages]"]
        assert found.response["choices"][0]["message"]["content"] == "so it is"
    assert record_log.settle_calls(START + timedelta(days=1), limit=9) == 0


def test_what_is_said_in_a_call_of_the_gateway_waits_no_longer_than_that(record_log: TracedLog) -> None:
    """Its record has all that was said; the client's messages are done with when its span is."""
    record_log.apply(gateway_call(6, 1))
    client = silent(1, duration_ms=9_000.0)
    record_log.apply(span_move(client, *TALK, start=100))
    record_log.apply(JournalMove(segment=SEGMENT, start=500, end=600, closed={call_id(6): closed_json(6)}))
    assert [each.id for each in settled(record_log)] == [call_id(6)]
    assert record_log.settle_calls(START + timedelta(days=1), limit=9) == 0
    assert len(record_log.trace(TRACE)) == 5


def test_only_so_much_waits(record_log: TracedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that the oldest messages wait no more, and calls for none."""
    monkeypatch.setattr(span_messages, "WAITING_MAX", 3)
    record_log.apply(span_move(*(says(10 + n, 1, asks(f"m{n}")) for n in range(5))))
    record_log.apply(span_move(says(20, 1, asks("m5")), start=500))
    record_log.apply(span_move(silent(1), start=600))
    (found,) = settled(record_log, SOON)
    texts = [each["content"] for each in found.request["messages"]]
    assert 1 <= len(texts) <= 4
    assert texts[-1] == "m5"
    assert "m0" not in texts


def test_a_person_is_taken_out_of_messages_that_wait(record_log: TracedLog) -> None:
    """Whether their call waits too or is still to come."""
    record_log.apply(span_move(span(9, user="ann"), *TALK, silent(1), says(31, 30, asks("a secret"))))
    record_log.erase({"ann": START + timedelta(hours=1)})
    record_log.apply(span_move(silent(30), start=600))
    for found in settled(record_log):
        assert (found.request, found.response) == (None, None)
    if not isinstance(record_log, SealedLog):
        assert searched(record_log, "secret") == searched(record_log, "4711") == []


def test_messages_that_are_none_are_refused(record_log: TracedLog) -> None:
    """By the move, so that the mover puts them away."""
    with pytest.raises(ValueError):
        record_log.apply(span_move(span(2, 1, said=msgspec.Raw(b'{"said_in":5}'))))
