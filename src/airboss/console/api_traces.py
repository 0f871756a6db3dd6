"""Traces in the admin API: lists, trees a page at a time, single spans."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from airboss.console.desk import Desk
from airboss.console.query import Limit, check_length, filled, iso
from airboss.console.reading import note_one
from airboss.console.route import Call, Route
from airboss.console.trace_tree import Tree, TreeRow
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.store.span_calls import record_ids
from airboss.store.span_rows import SPANS_MAX, SpanDetail, TraceFilter, TraceSummary, trace_key

LIMIT: Final = Limit(50, 500)
ROWS: Final = Limit(500, 5_000)
STATUSES: Final = ("ok", "error")
FILTERS: Final = ("service", "user", "session", "status")


class TracePage(msgspec.Struct, frozen=True, kw_only=True):
    """Traces, newest first. `next` is the `before` of the next page; None: there is no older trace."""

    traces: tuple[TraceSummary, ...]
    next: str | None


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A span in its place in the tree. `record` is the record of the model call that it tells of, if it does;
    `below` counts all spans under it, `children` those directly."""

    id: str
    span_id: str
    parent_id: str | None
    depth: int
    children: int
    below: int
    name: str
    kind: str
    service: str
    started_at: datetime
    duration_ms: float
    status: str
    gateway: bool
    record: str | None


class TraceTree(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a trace's tree, each span before those below it. Spans, tokens and cost are of the whole
    trace, as in a list; `next` is the `after` of the next page; None: that was all."""

    trace_id: str
    started_at: datetime
    duration_ms: float
    spans: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cost_unknown: int
    rows: tuple[TraceRow, ...]
    next: str | None


class SpanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One span, and the record of the model call that it tells of, if it does."""

    span: SpanDetail
    record: str | None


def traces(desk: Desk, call: Call) -> TracePage:
    """GET /api/v1/traces."""
    period = call.period()
    where = read_traces(call.params, since=period.since, until=period.until)
    limit = LIMIT.read(call.params)
    found = desk.log.traces(where, limit=limit + 1)
    return TracePage(
        traces=tuple(found[:limit]), next=place(found[limit - 1]) if len(found) > limit else None
    )


def read_traces(params: Mapping[str, str], *, since: datetime, until: datetime) -> TraceFilter:
    """The filter that a query string means. Raises InvalidRequest."""
    given = {name: filled(name, params[name]) for name in FILTERS if params.get(name)}
    for name, value in given.items():
        check_length(name, value)
    if given.get("status", "ok") not in STATUSES:
        raise InvalidRequest(
            f"status={given['status'][:60]!r} is none of {', '.join(STATUSES)}", param="status"
        )
    before = None
    if params.get("before"):
        at, _, trace_id = params["before"].rpartition("_")
        try:
            before = (datetime.fromisoformat(at).astimezone(UTC), trace_key(trace_id))
        except (ValueError, OverflowError):
            raise InvalidRequest(
                f"before={params['before'][:80]!r} is no place in a list; send the `next` of a page",
                param="before",
            ) from None
    return TraceFilter(since=since, until=until, before=before, **given)


def place(trace: TraceSummary) -> str:
    """Where a trace stands in a list, as a `before`."""
    return f"{iso(trace.started_at)}_{trace.trace_id}"


def tree_of(desk: Desk, trace_id: str) -> Tree:
    """A trace's tree. Raises NotFound."""
    try:
        spans = desk.log.trace(trace_id)
    except ValueError as error:
        raise NotFound(str(error), param="id") from None
    if not spans:
        raise NotFound(
            f"no trace {trace_id!r}; its spans appear within a second of being sent to /v1/traces", param="id"
        )
    return Tree(spans)


def sums_of(desk: Desk, trace_id: str, tree: Tree) -> TraceSummary:
    """A whole trace in the words of the list. Raises NotFound."""
    began, took = tree.extent()
    until = began + timedelta(milliseconds=took + 1)
    for found in desk.log.traces(
        TraceFilter(since=began, until=until, trace_id=trace_key(trace_id)), limit=1
    ):
        return found
    raise NotFound(f"trace {trace_id!r} was deleted a moment ago", param="id")


def trace(desk: Desk, call: Call) -> TraceTree:
    """GET /api/v1/traces/{id}."""
    limit = ROWS.read(call.params)
    tree = tree_of(desk, call.path["id"])
    under, after = call.params.get("under") or None, call.params.get("after") or None
    for name, row in (("under", under), ("after", after)):
        if row is not None and tree.get(row) is None:
            raise NotFound(
                f"{name}={row[:80]!r} is no span of this trace; send the `id` of a row", param=name
            )
    rows, more = tree.page(under, after, limit)
    began, took = tree.extent()
    records = record_ids(tree.spans)
    sums = sums_of(desk, call.path["id"], tree)
    return TraceTree(
        trace_id=call.path["id"],
        started_at=began,
        duration_ms=took,
        spans=len(tree.spans),
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        cost_usd=sums.cost_usd,
        cost_unknown=sums.cost_unknown,
        rows=tuple(trace_row(row, records) for row in rows),
        next=rows[-1].span.id if more else None,
    )


def trace_row(row: TreeRow, records: Mapping[str, str | None]) -> TraceRow:
    """A row as the API has it."""
    span = row.span
    return TraceRow(
        id=span.id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        depth=row.depth,
        children=row.children,
        below=row.below,
        name=span.name,
        kind=span.kind,
        service=span.service,
        started_at=span.started_at,
        duration_ms=span.duration_ms,
        status=span.status,
        gateway=span.gateway,
        record=records.get(span.id),
    )


def span(desk: Desk, call: Call) -> SpanAnswer:
    """GET /api/v1/traces/{id}/spans/{span}."""
    tree = tree_of(desk, call.path["id"])
    found = desk.log.span(call.path["id"], call.path["span"])
    if found is None:
        raise NotFound(f"no span {call.path['span'][:80]!r} in this trace; send its `span_id`", param="span")
    note_one(desk, call)
    return SpanAnswer(span=found, record=record_ids(tree.spans).get(found.id))


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/traces",
        summary="Traces with a span in a period, newest first",
        handle=traces,
        role="viewer",
        params={
            "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
            "until": "before this: RFC 3339, or so long ago; now unless given",
            "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 24h unless given",
            "service": "only of this service",
            "user": "only of this user",
            "session": "only of this session",
            "status": "error: with a span that failed; ok: without",
            "limit": LIMIT.told(),
            "before": "the `next` of the page before",
        },
    ),
    Route(
        method="GET",
        path="/api/v1/traces/{id}",
        summary=f"A trace's tree, a page at a time; at most {SPANS_MAX:,} spans of it",
        handle=trace,
        role="viewer",
        params={
            "under": "only what is below the row of this id",
            "after": "the `next` of the page before",
            "limit": ROWS.told(" rows"),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/traces/{id}/spans/{span}",
        summary="One span with its attributes and events",
        handle=span,
        role="reader",
    ),
)
"""Every route about traces."""
