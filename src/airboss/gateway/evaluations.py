"""Scores that apps send by OpenTelemetry: `gen_ai.evaluation.result`, as an event of a span, as a span of no
time below it, or as a log record. Each becomes a score of its call, once that has a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from airboss.domain.score import Score
from airboss.store.evaluated import Evaluated, subject_of
from airboss.telemetry.otlp_bounds import SPANS_MAX

if TYPE_CHECKING:
    from airboss.gateway.traces import Spans
    from airboss.telemetry.otlp_read import RawSpan

_encode = msgspec.json.Encoder().encode


class Told(msgspec.Struct, frozen=True):
    """An event: when, of which span ("" for none), and what it says."""

    at_ns: int
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


def told_in(spans: Iterable[RawSpan]) -> Iterator[Told]:
    """The evaluations that spans hold."""
    from airboss.telemetry.genai_evaluations import EVENT  # noqa: PLC0415 - with the reader

    for span in spans:
        if span.name == EVENT and span.parent_id is not None:
            yield Told(span.start_ns, span.trace_id, span.parent_id, span.attributes)
        for each in span.events:
            if each.name == EVENT:
                yield Told(each.at_ns or span.end_ns, span.trace_id, span.span_id, each.attributes)


def frames(told: Iterable[Told], spans: Spans, now_ns: int) -> tuple[list[bytes], dict[str, int]]:
    """The frames of these for the journal, and how many are refused, by their reason."""
    from airboss.telemetry.otlp_read import Rejecting, Wrong  # noqa: PLC0415 - 7 MB of protobuf

    found: list[bytes] = []
    refused = Rejecting()
    for each in told:
        if len(found) == SPANS_MAX:
            refused.reject(f"more than {SPANS_MAX} in one request")
            continue
        try:
            found.append(_encode(_score(each, spans, now_ns)))
        except Wrong as wrong:
            refused.reject(str(wrong))
    return found, refused.rejected


def _score(told: Told, spans: Spans, now_ns: int) -> Score:
    from airboss.gateway.traces import NAME_CHARS_MAX, moment, uuid7  # noqa: PLC0415 - they import us
    from airboss.telemetry.genai_evaluations import read  # noqa: PLC0415 - with the reader
    from airboss.telemetry.otlp_read import Wrong, checked_times  # noqa: PLC0415 - as above

    checked_times(told.at_ns, told.at_ns, now_ns)
    said = read(told.attributes)
    subject = subject_of(Evaluated(trace_id=told.trace_id, span_id=told.span_id, answer_id=said.answer_id))
    if not told.span_id and not said.answer_id:
        raise Wrong("an evaluation names neither the span of a call nor a gen_ai.response.id")
    value = spans.text(said.value) if isinstance(said.value, str) else said.value
    # By all that it says, and when: sent again it is the same score.
    named = _encode([spans.key, subject, told.at_ns, said]).decode()
    return Score(
        id=uuid7(told.at_ns, named),
        subject="record",
        subject_id=subject,
        name=said.name,
        source="scorer",
        by=spans.key,
        at=moment(told.at_ns),
        value=value,
        unscored=None if said.unscored is None else spans.kept(said.unscored, NAME_CHARS_MAX),
        comment=said.comment(spans.kept, content=spans.bodies),
    )
