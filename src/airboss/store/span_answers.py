"""Model calls that spans tell of and that the gateway has recorded, though nothing in their traces says so: a
client writes down what the answer is called, and the gateway's record has that answer. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.domain.record import ClosedCall, InferenceRecord, OpenedCall
from airboss.store.span_rows import Span, SpanDetail

ANSWER_ID: Final = "gen_ai.response.id"
"""The attribute that has it, in whichever conventions the span was written."""
CALLS_MAX: Final = 20_000
"""Calls of the gateway that are looked at for the spans that are settled at once."""
SKEW: Final = timedelta(seconds=1)
"""By how much the clock of who sends spans may be off: the call of the gateway begins while its client waits.
A name alone does not do, as an answer from a cache has that of the first one."""


class AnsweredCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the gateway, by what an answer in it is called; fields as in its record."""

    answer_id: str
    id: str
    started_at: datetime
    latency_ms: float
    operation: str
    model: str
    deployment: str
    status: str
    error_type: str | None
    key: str
    user: str | None
    session: str | None


class _Attributes(msgspec.Struct):
    answer_id: str | None = msgspec.field(default=None, name=ANSWER_ID)


_attributes: Final = msgspec.json.Decoder(_Attributes)


def answer_ids(spans: Iterable[SpanDetail]) -> dict[str, str]:
    """What the answers of those of these calls are called that say so, by the spans' ids."""
    found = {}
    for span in spans:
        try:
            said = _attributes.decode(span.attributes).answer_id
        except ValueError:  # erased, or another's idea of a name
            continue
        if said:
            found[span.id] = said
    return found


def asked_in(spans: Sequence[SpanDetail]) -> tuple[datetime, datetime]:
    """When the gateway's calls of these clients' began: from the one moment up to the other."""
    since = min(span.started_at for span in spans) - SKEW
    until = max(span.started_at + timedelta(milliseconds=span.duration_ms) for span in spans) + SKEW
    return since, until


def joined(
    clients: Sequence[SpanDetail], named: Mapping[str, str], calls: Iterable[AnsweredCall]
) -> dict[str, Span]:
    """For each of these model calls that is one of the gateway's, by its span's id: the span that the latter
    is in its trace. Of several that answered the same, the one that began nearest."""
    by_answer: defaultdict[str, list[AnsweredCall]] = defaultdict(list)
    for call in calls:
        by_answer[call.answer_id].append(call)
    found = {}
    for client in clients:
        since, until = asked_in([client])
        theirs = [
            call for call in by_answer.get(named.get(client.id, ""), ()) if since <= call.started_at <= until
        ]
        if theirs:
            found[client.id] = span_of(
                min(theirs, key=lambda call: abs(call.started_at - client.started_at)), client
            )
    return found


def span_of(call: AnsweredCall | InferenceRecord, client: SpanDetail) -> Span:
    """A gateway's call below its client's."""
    return call_span(call, call, trace_id=client.trace_id, parent_id=client.span_id)


def call_span(
    call: OpenedCall | AnsweredCall | InferenceRecord,
    ended: ClosedCall | AnsweredCall | InferenceRecord,
    *,
    trace_id: str,
    parent_id: str | None,
    sampled: bool = True,
) -> Span:
    """A call of the gateway, at its place in a trace."""
    return Span(
        id=call.id,
        trace_id=trace_id,
        span_id=call.id.replace("-", "")[16:],
        parent_id=parent_id,
        gateway=True,
        name=f"{call.operation} {call.model}"[:256],
        kind="embedding" if call.operation == "embeddings" else "llm",
        service=call.deployment,
        started_at=call.started_at,
        duration_ms=ended.latency_ms,
        status="error" if ended.status == "error" else "ok",
        message=ended.error_type,
        key=call.key,
        user=call.user,
        session=call.session,
        sampled=sampled,
    )
