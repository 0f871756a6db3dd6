"""Which spans of a trace are model calls of their own, so that no call is counted twice. Pure.

A call may leave several spans: an app's framework writes one, the provider's client below it another, and the
gateway a record. The rule, for a span that tells of a model call:

1. One with another such span below it is not counted: the innermost is the call.
2. One that a call of the gateway is below is the client's side of that call, which has a record already.
   Spans may lie between the two (the HTTP client's).
3. A call of the gateway whose parent is not in the trace belongs to the innermost span that was under way
   when it began. Each call of the gateway takes one span at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from airboss.store.span_rows import TraceSpan

MODEL_KINDS: Final = frozenset({"llm", "embedding"})
LOOKED_AT_MAX: Final = 256
"""Spans under way before one is taken: hundreds at once are no one's."""


def record_ids(spans: Sequence[TraceSpan]) -> dict[str, str | None]:
    """For each span that tells of a model call, by its id: the record of that call, which has the id of the
    span itself or of the call of the gateway; None for one that holds another."""
    by_span_id: dict[str, TraceSpan] = {}
    for span in spans:
        by_span_id.setdefault(span.span_id, span)
    above = _models_above(spans, by_span_id)
    told = {span.id: span for span in spans if _tells(span)}
    found: dict[str, str | None] = {each: each for each in told}
    for span in told.values():
        holder = above[span.id]
        if holder is not None:
            found[holder.id] = None
    lost: list[TraceSpan] = []
    for span in spans:
        if not span.gateway:
            continue
        found[span.id] = span.id
        client = above[span.id]
        if client is not None:
            if found[client.id] == client.id:
                found[client.id] = span.id
        elif span.parent_id is not None and not _rooted(span, by_span_id):
            lost.append(span)
    _by_time(lost, [span for span in told.values() if found[span.id] == span.id], found)
    return found


def _tells(span: TraceSpan) -> bool:
    return span.kind in MODEL_KINDS and not span.gateway


def _models_above(
    spans: Sequence[TraceSpan], by_span_id: Mapping[str, TraceSpan]
) -> dict[str, TraceSpan | None]:
    """The nearest span above each that tells of a model call. Each is walked over once; a circle ends it."""
    above: dict[str, TraceSpan | None] = {}
    for span in spans:
        way: list[TraceSpan] = []
        walked: set[str] = set()
        at: TraceSpan | None = span
        while at is not None and at.id not in above and at.id not in walked:
            way.append(at)
            walked.add(at.id)
            at = by_span_id.get(at.parent_id or "")
        found = None
        if at is not None and at.id not in walked:
            found = at if _tells(at) else above[at.id]
        for each in reversed(way):
            above[each.id] = found
            found = each if _tells(each) else found
    return above


def _rooted(span: TraceSpan, by_span_id: Mapping[str, TraceSpan]) -> bool:
    """Whether all above a span is there, up to one without a parent, or a circle."""
    walked: set[str] = set()
    at: TraceSpan | None = span
    while at is not None and at.span_id not in walked and len(walked) < LOOKED_AT_MAX:
        if at.parent_id is None:
            return True
        walked.add(at.span_id)
        at = by_span_id.get(at.parent_id)
    return at is not None


def _by_time(lost: Sequence[TraceSpan], free: Sequence[TraceSpan], found: dict[str, str | None]) -> None:
    """Give each call of the gateway the innermost span that was under way when it began."""
    ordered = sorted(free, key=lambda span: span.started_at)
    starts = [span.started_at for span in ordered]
    for call in lost:
        last = bisect_right(starts, call.started_at)
        for span in reversed(ordered[max(0, last - LOOKED_AT_MAX) : last]):
            over = span.started_at + timedelta(milliseconds=span.duration_ms)
            if found[span.id] == span.id and call.started_at <= over:
                found[span.id] = call.id
                break
