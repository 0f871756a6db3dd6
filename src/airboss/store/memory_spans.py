"""Traces of the record log in memory."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from airboss.domain.record import EXTERNAL, InferenceRecord
from airboss.store import span_asked, span_messages
from airboss.store.span_answers import AnsweredCall, answer_ids, joined
from airboss.store.span_calls import MODEL_KINDS, record_ids
from airboss.store.span_messages import PLAIN, Texts
from airboss.store.span_rows import (
    NOTHING,
    SPANS_MAX,
    Span,
    SpanDetail,
    TraceFilter,
    TraceSpan,
    TraceSummary,
    trace_key,
)


class MemorySpans:
    """Implements `SpanLog` within the log that it is a part of."""

    _lock: threading.Lock
    _check: Callable[[], None]
    _make: Callable[[bytes], None]
    _records: dict[str, InferenceRecord]
    texts: Texts = PLAIN
    """Opens what is sealed, where calls are put together of what came apart."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._calls: dict[str, tuple[datetime, bytes]] = {}

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """As `SpanLog.traces`."""
        with self._lock:
            self._check()
            by_trace: defaultdict[str, list[Span]] = defaultdict(list)
            for span in self._spans.values():
                if where.since <= span.started_at < where.until:
                    by_trace[span.trace_id].append(span)
            records = dict(self._records)
        found = [
            each
            for each in (_summary(spans, records) for spans in by_trace.values())
            if _matches(each, where)
        ]
        return sorted(found, key=lambda each: each.place, reverse=True)[:limit]

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """As `SpanLog.trace`."""
        with self._lock:
            self._check()
            return self._tree(trace_key(trace_id))

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`."""
        wanted = (trace_key(trace_id), span_id)
        with self._lock:
            self._check()
            found = [each for each in self._spans.values() if (each.trace_id, each.span_id) == wanted]
        return _detail(min(found, key=lambda each: each.id)) if found else None

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`."""
        with self._lock:
            self._check()
            found = [self._spans[each] for each in record_ids if each in self._spans]
        return [_detail(each) for each in found]

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """As `SpanLog.settle_calls`."""
        with self._lock:
            self._check()
            due = [each for each, (moved_at, _) in sorted(self._calls.items()) if moved_at < before][:limit]
            waiting = [each for each in due if not self._is_said(each)]
            traces = {self._spans[each].trace_id for each in waiting}
            found: dict[str, str | None] = {}
            said: dict[str, list[str]] = {}
            for trace_id in traces:
                tree = self._tree(trace_id)
                found |= record_ids(tree)
                said |= span_messages.of_calls(waiting, tree, filter(self._is_said, self._calls))
            own = [each for each in waiting if found.get(each, each) == each]
            texts = {each: self._filled(each, said.get(each, ())) for each in own}
            ours: dict[str, Span | None] = {}
            ours |= self._answered_calls([self.texts.span(_detail(self._spans[each])) for each in own])
            ours |= self._asked_calls({each: texts[each] for each in own if each not in ours})
            for span_id in own:
                if span_id not in ours:
                    self._make(texts[span_id])
            for span_id in [*due, *(each for call in waiting for each in said.get(call, ()))]:
                self._calls.pop(span_id, None)
            self._take_spans([each for each in ours.values() if each is not None], before)
            return len(due)

    def _is_said(self, span_id: str) -> bool:
        return self._calls[span_id][1].startswith(span_messages.SAID.encode())

    def _filled(self, span_id: str, said: Sequence[str]) -> bytes:
        call, span = self._calls[span_id][1], _detail(self._spans[span_id])
        if not said:
            return call
        sizes = {each: len(self._calls[each][1]) for each in said}
        messages = {each: self._calls[each][1] for each in span_messages.chosen(said, sizes)}
        return span_messages.filled_with((span_id, call), messages, span, among=len(said), sealed=self.texts)

    def _answered_calls(self, clients: Sequence[SpanDetail]) -> dict[str, Span]:
        """As `span_answers.joined`, for these model calls."""
        calls = []
        for record in self._records.values():
            answer_id = record.response.get("id") if isinstance(record.response, dict) else None
            if isinstance(answer_id, str) and record.arm != EXTERNAL:
                names = [name for name in AnsweredCall.__struct_fields__ if name != "answer_id"]
                given = {name: getattr(record, name) for name in names}
                calls.append(AnsweredCall(answer_id=answer_id, **given))
        return joined(clients, answer_ids(clients), calls)

    def _asked_calls(self, texts: Mapping[str, bytes]) -> dict[str, Span | None]:
        """As `span_asked.joined`, for these model calls."""
        clients = span_asked.clients_of(
            [self.texts.span(_detail(self._spans[each])) for each in texts],
            {each: self.texts.waiting(each, text) for each, text in texts.items()},
        )
        untraced = [
            self.texts.record(record)
            for record in self._records.values()
            if record.arm != EXTERNAL and record.trace_id is None and record.id not in self._spans
        ]
        return span_asked.joined(clients, untraced)

    def _take_spans(self, spans: Sequence[Span], moved_at: datetime) -> None:
        for span in spans:
            if span.id in self._spans:
                continue
            self._spans[span.id] = msgspec.structs.replace(span, call=NOTHING, said=NOTHING)
            beyond = len(self._calls) - span_messages.WAITING_MAX
            for each in list(filter(self._is_said, self._calls))[: max(0, beyond)]:
                del self._calls[each]
            waits = span_messages.waiting(span, moved_at, patient=beyond <= 0)
            if waits is not None:
                self._calls[span.id] = waits[0], waits[1].encode()

    def _erase_spans(self, user: str, before: datetime) -> tuple[set[str], set[str]]:
        """Take a person out of the traces that name them; returns these and the ids of their spans."""
        theirs = [each for each in self._spans.values() if each.started_at <= before]
        named = {each.trace_id for each in theirs if each.user == user}
        found = [each for each in theirs if each.trace_id in named]
        for span in found:
            self._spans[span.id] = msgspec.structs.replace(
                span,
                name=span.name if span.gateway else span.kind,
                user=None,
                session=None,
                message=None,
                attributes=NOTHING,
                events=NOTHING,
            )
            if span.id in self._calls:
                moved_at, payload = self._calls[span.id]
                self._calls[span.id] = moved_at, span_messages.blank_waiting(payload)
        return named, {each.id for each in found}

    def _expire_spans(
        self, bodies_before: datetime | None, records_before: datetime | None, limit: int
    ) -> int:
        oldest = sorted(self._spans.values(), key=lambda each: each.started_at)
        gone = [each for each in oldest if records_before is not None and each.started_at < records_before]
        for span in gone[:limit]:
            del self._spans[span.id]
        texts = [
            each
            for each in oldest
            if bodies_before is not None
            and each.started_at < bodies_before
            and each.id in self._spans
            and (bytes(each.attributes) != b"null" or bytes(each.events) != b"null")
        ][:limit]
        for span in texts:
            self._spans[span.id] = msgspec.structs.replace(
                span, message=None, attributes=NOTHING, events=NOTHING
            )
        return len(gone[:limit]) + len(texts)

    def _tree(self, trace_id: str) -> list[TraceSpan]:
        found = [each for each in self._spans.values() if each.trace_id == trace_id]
        found.sort(key=lambda each: (each.started_at, each.id))
        return [
            TraceSpan(**{name: getattr(each, name) for name in TraceSpan.__struct_fields__})
            for each in found[:SPANS_MAX]
        ]


def _detail(span: Span) -> SpanDetail:
    return SpanDetail(**{name: getattr(span, name) for name in SpanDetail.__struct_fields__})


def _summary(spans: Sequence[Span], records: Mapping[str, InferenceRecord]) -> TraceSummary:
    ordered = sorted(spans, key=lambda each: each.started_at)
    first = next((each for each in ordered if each.parent_id is None), ordered[0])
    calls = [
        records[each.id]
        for each in ordered
        if (each.kind in MODEL_KINDS or each.gateway) and each.id in records
    ]
    costs = [float(each.cost_usd) for each in calls if each.cost_usd is not None]
    over = max(each.started_at + timedelta(milliseconds=each.duration_ms) for each in ordered)
    return TraceSummary(
        trace_id=first.trace_id,
        started_at=ordered[0].started_at,
        duration_ms=(over - ordered[0].started_at).total_seconds() * 1000,
        name=first.name,
        service=first.service,
        spans=len(ordered),
        errors=sum(each.status == "error" for each in ordered),
        model_calls=sum(each.kind in MODEL_KINDS or each.gateway for each in ordered),
        user=max((each.user for each in ordered if each.user is not None), default=None),
        session=max((each.session for each in ordered if each.session is not None), default=None),
        input_tokens=sum(each.input_tokens or 0 for each in calls),
        output_tokens=sum(each.output_tokens or 0 for each in calls),
        cost_usd=sum(costs) if costs else None,
        cost_unknown=len(calls) - len(costs),
    )


def _matches(trace: TraceSummary, where: TraceFilter) -> bool:
    return (
        all(
            getattr(where, name) in {None, getattr(trace, name)}
            for name in ("service", "user", "session", "trace_id")
        )
        and (where.status is None or (trace.errors > 0) == (where.status == "error"))
        and (where.before is None or trace.place < where.before)
    )
