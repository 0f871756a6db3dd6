"""Evaluations that came by OpenTelemetry find their calls, in every record log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airboss.controller.span_scores import AT_ONCE, SpanScores
from airboss.domain.ports import JournalMove
from airboss.domain.score import Score
from airboss.store.evaluated import Evaluated, evaluated_in, subject_of
from airboss.store.sealed_log import SealedLog
from airboss.store.span_rows import TracedLog, TraceSpan
from tests.controller.journals import FixedClock
from tests.store.samples import SEGMENT, START, call_id, closed_json, move
from tests.store.spans import TRACE, llm, span, span_move
from tests.store.test_contract_scores import feedback, score
from tests.store.test_contract_spans import gateway_call, settle

NAMED = b'{"gen_ai.response.id":"chatcmpl-%d"}'


class Waiting:
    """A log with the scores that look for their records in it."""

    def __init__(self, log: TracedLog) -> None:
        self.log, self.clock = log, FixedClock()
        self.scores = SpanScores(log, self.clock)
        self.at = 0

    def say(self, number: int, span: int | None = None, answer: str = "", **fields: Any) -> None:
        """Evaluation `number`, of a span, or of what an answer is called."""
        trace, name = ("", "") if span is None else (TRACE, f"{span:016x}")
        subject = subject_of(Evaluated(trace_id=trace, span_id=name, answer_id=answer))
        given: dict[str, Any] = {"source": "scorer", "subject_id": subject}
        said = score(number, 1, number / 10, **given | fields)
        self.log.apply(feedback(said, start=self.at, segment="0-0190/000009"))
        self.at += 10

    def look(self) -> list[Score]:
        """The scores that wait after one more look."""
        self.clock.at += timedelta(minutes=5)  # each is tried ever less often
        self.scores.attach(moved=True)
        return list(self.log.stray_scores(self.clock.at, limit=100))

    def of(self, *records: int) -> list[float | bool | str | None]:
        """What these calls have been given, in order of time."""
        return [each.value for each in self.log.scores_of([call_id(number) for number in records])]


@pytest.fixture
def waiting(record_log: TracedLog) -> Waiting:
    """A log of each kind."""
    return Waiting(record_log)


@pytest.mark.words
def test_it_finds_its_call_in_whatever_order(waiting: Waiting) -> None:
    """Before the call is a record, and after; twice is once; its words are read in the clear."""
    waiting.say(1, 1, comment="on topic")
    (waits,) = waiting.look()
    assert waits.id == score(1, 1).id
    waiting.log.apply(span_move(llm(1, user="ann")))
    waiting.look()
    assert waiting.of(1) == []
    settle(waiting.log)
    assert waiting.look() == []
    waiting.say(1, 1, comment="on topic")
    waiting.say(2, 1)
    assert waiting.look() == []
    assert waiting.of(1) == [0.1, 0.2]
    first, _ = waiting.log.scores_of([call_id(1)])
    assert (first.comment, first.source, first.by) == ("on topic", "scorer", "team-a")
    if isinstance(waiting.log, SealedLog):  # with ann's keys from now on, which go when she is forgotten
        assert waiting.log.inner.scores_of([call_id(1)])[0].comment not in {waits.comment, "on topic"}


def test_it_is_the_gateways_call_that_has_the_record(waiting: Waiting) -> None:
    """Of the client's span, of the framework's around it, of the gateway's own; another key's is not."""
    log = waiting.log
    log.apply(gateway_call(9, 2, at=0))
    closed = JournalMove(segment=SEGMENT, start=100, end=200, closed={call_id(9): closed_json(9)})
    log.apply(closed)
    log.apply(span_move(llm(1), llm(2, 1), start=200))
    assert settle(log) == [call_id(9)]
    for number, of in enumerate((1, 2, int(call_id(9).replace("-", "")[16:], 16)), 1):
        waiting.say(number, of)
    waiting.say(4, 2, by="another")
    assert [each.by for each in waiting.look()] == ["another"]
    assert waiting.of(9) == [0.1, 0.2, 0.3]


def test_one_around_two_calls_is_nobodys(waiting: Waiting) -> None:
    """It stands in its trace alone, as that of an agent does; what names a span that is not there waits."""
    waiting.log.apply(span_move(llm(1), llm(2, 1), llm(3, 1), span(4)))
    settle(waiting.log)
    waiting.say(1, 1)
    waiting.say(2, 4)
    waiting.say(3, 5)
    assert [evaluated_in(each.subject_id) for each in waiting.look()] == [
        Evaluated(trace_id=TRACE, span_id=f"{1:016x}"),
        Evaluated(trace_id=TRACE, span_id=f"{5:016x}"),
    ]
    assert waiting.of(1, 2, 3) == []


def test_what_names_its_answer_is_of_that_answer(waiting: Waiting) -> None:
    """In a trace whichever span it was said at, a judge's say; without one by the record's id."""
    first, second = (llm(number, attributes=msgspec.Raw(NAMED % number)) for number in (1, 2))
    waiting.log.apply(span_move(first, second, span(3)))
    settle(waiting.log)
    waiting.say(1, 2, "chatcmpl-1")
    waiting.say(2, 3, "chatcmpl-2")
    waiting.say(3, None, call_id(1))
    waiting.say(4, 1, "chatcmpl-7")
    waiting.say(5, None, call_id(1), by="another")
    assert [each.value for each in waiting.look()] == [0.4, 0.5]
    assert (waiting.of(1), waiting.of(2)) == ([0.1, 0.3], [0.2])


def test_those_that_wait_in_vain_keep_nobody_from_being_tried(waiting: Waiting) -> None:
    """An app that sends a tenth of its traces may evaluate all of its calls, here fifty of a trace: each
    trace is a question."""
    numbers = range(50, AT_ONCE + 50)
    named = [Evaluated(trace_id=f"{number // 50:032x}", span_id=f"{number:016x}") for number in numbers]
    vain = [
        score(number, 1, source="scorer", subject_id=subject_of(each)) for number, each in enumerate(named, 2)
    ]
    waiting.log.apply(feedback(*vain, segment="0-0191/000009"))
    waiting.log.apply(span_move(llm(1)))
    settle(waiting.log)
    waiting.look()
    waiting.say(4_000, 1)
    assert len(waiting.look()) == 100
    assert waiting.of(1) == [400.0]


def test_two_spans_of_one_name(waiting: Waiting) -> None:
    """As a program that is wrong may send them: each is found by its answer, one around another call too."""
    first, second, inner = llm(1), llm(2, span_id=f"{1:016x}"), llm(3, 1)
    told = [
        msgspec.structs.replace(each, attributes=msgspec.Raw(NAMED % number))
        for number, each in enumerate((first, second, inner), 1)
    ]
    waiting.log.apply(span_move(*told))
    settle(waiting.log)
    for number in (1, 2, 3):
        waiting.say(number, 3, f"chatcmpl-{number}")
    assert waiting.look() == []
    assert (waiting.of(2), waiting.of(3)) == ([0.2], [0.1, 0.3])


@pytest.mark.words
def test_an_answer_is_found_in_bodies(waiting: Waiting) -> None:
    """In another trace, or none; where bodies are sealed nothing can be looked for in them."""
    for number, answer in ((1, "chatcmpl-1"), (2, "chatcmpl-2"), (3, "other")):
        response = msgspec.Raw(msgspec.json.encode({"id": answer, "choices": [{"text": "chatcmpl-1"}]}))
        waiting.log.apply(move(number, start=200 * (number - 1), response=response))
    waiting.say(1, None, "chatcmpl-1")
    left = waiting.look()
    assert (waiting.of(1) == []) == isinstance(waiting.log, SealedLog) == bool(left)
    assert waiting.of(2, 3) == []


@pytest.mark.words
def test_while_it_waits_it_may_be_anybodys(waiting: Waiting) -> None:
    """So its words go when somebody is forgotten; the value stays."""
    waiting.log.apply(span_move(llm(1)))
    waiting.say(1, 1, comment="ann said so")
    waiting.log.erase({"ann": START + timedelta(days=1)})
    settle(waiting.log)
    waiting.look()
    (found,) = waiting.log.scores_of([call_id(1)])
    assert (found.value, found.comment) == (0.1, None)


def test_feedback_waits_as_ever(waiting: Waiting) -> None:
    """What names its record is not looked at."""
    waiting.log.apply(feedback(score(1, 1), start=0, segment="0-0190/000008"))
    assert [each.id for each in waiting.look()] == [score(1, 1).id]
    assert waiting.of(1) == []


def test_each_is_tried_ever_less_often(waiting: Waiting) -> None:
    """After one second, two more, four more: what never comes costs little."""
    waiting.say(1, 1)
    looked: list[float] = []
    trace, began = waiting.log.trace, waiting.clock.at

    def watched(trace_id: str) -> Sequence[TraceSpan]:
        looked.append((waiting.clock.at - began).total_seconds())
        return trace(trace_id)

    waiting.log.trace = watched  # type: ignore[method-assign]
    for _ in range(40):
        waiting.scores.attach(moved=False)
        waiting.clock.at += timedelta(seconds=1)
    assert looked == [0, 1, 3, 7, 15, 31]
