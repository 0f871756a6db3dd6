"""The pages of traces: the list, and a trace as a waterfall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from airboss.console.api_traces import FILTERS, STATUSES, place, read_traces, sums_of, tree_of
from airboss.console.curl import body_text
from airboss.console.desk import Desk
from airboss.console.page import Page, View, asking, need, period_of
from airboss.console.query import TIME_NAMES
from airboss.console.reading import note_one
from airboss.console.render import Visit, url
from airboss.console.trace_tree import Tree, TreeRow
from airboss.console.waterfall import Bar, Kind, bar, ticks
from airboss.domain.errors import NotFound
from airboss.store.span_calls import record_ids
from airboss.store.span_rows import SPANS_MAX, SpanDetail, TraceSpan

TRACES: Final = 50
ROWS: Final = 200
"""Spans on one page: a waterfall that a person reads."""
INDENT_MAX: Final = 12
KINDS: Final[Mapping[str, Kind]] = {"llm": "answer", "embedding": "answer", "agent": "ours", "tool": "stream"}
"""How kinds of spans are drawn; others as waiting."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the waterfall; `shut`: what is below is on a page of its own."""

    row: TreeRow
    bar: Bar
    shut: bool
    record: str | None

    @property
    def indent(self) -> int:
        """How far its name is moved in."""
        return min(self.row.depth, INDENT_MAX)


def traces(desk: Desk, seen: Visit) -> View:
    """The list of traces."""
    period = period_of(desk, seen)
    where = read_traces(seen.params, since=period.since, until=period.until)
    found = list(desk.log.traces(where, limit=TRACES + 1))
    keep = {name: value for name, value in seen.params.items() if name != "before"}
    more = len(found) > TRACES
    return View(
        "traces.html",
        period=period,
        keep=keep,
        statuses=STATUSES,
        rows=found[:TRACES],
        filtered=any(name in keep for name in FILTERS),
        first=url("/traces", keep) if "before" in seen.params else None,
        older=url("/traces", keep, before=place(found[TRACES - 1])) if more else None,
        endpoint=f"{desk.base_url}/traces",
    )


def trace(desk: Desk, seen: Visit) -> View:
    """One trace, or what is below one of its spans (`at`), as a waterfall; `span` shows one whole."""
    trace_id = seen.parts["id"]
    tree = tree_of(desk, trace_id)
    at = chosen(tree, seen.params.get("at"), "at") or crowded(tree)
    start = tree.roots if at is None else [at]
    shown, rest = cut(tree, start, at, seen.params.get("after"))
    rows, shut = tree.opened(shown, ROWS)
    records = record_ids(tree.spans)
    began, took = tree.extent(at)
    one = chosen(tree, seen.params.get("span"), "span")
    if one is not None:
        need(desk, seen, "reader", "to read what a span tells")
    detail = desk.log.span(trace_id, one.span_id) if one is not None else None
    if detail is not None:
        note_one(desk, asking(seen))
    whole_began, whole_took = tree.extent()
    return View(
        "trace.html",
        trace_id=trace_id,
        sums=sums_of(desk, trace_id, tree),
        own=f"/traces/{trace_id}",
        tree=tree,
        at=at,
        above=parents(tree, at),
        lines=[line(row, began, took, shut, records) for row in rows],
        ticks=ticks(max(took, 0.001)),
        rest=rest,
        last=shown[-1].id if rest else None,
        after=seen.params.get("after"),
        began=whole_began,
        took=whole_took,
        errors=sum(span.status == "error" for span in tree.spans),
        calls=sorted({each for each in records.values() if each is not None}),
        services=sorted({span.service for span in tree.spans})[:8],
        cut_off=len(tree.spans) >= SPANS_MAX,
        detail=detail,
        record=records.get(detail.id) if detail is not None else None,
        below=tree.row(one, 0).below if one is not None else 0,
        attributes=pairs(detail),
        events=msgspec.json.decode(detail.events) or [] if detail is not None else [],
    )


def chosen(tree: Tree, row_id: str | None, name: str) -> TraceSpan | None:
    """The span that a parameter names. Raises NotFound."""
    if not row_id:
        return None
    found = tree.get(row_id)
    if found is None:
        raise NotFound(f"{name}={row_id[:80]!r} is no span of this trace", param=name)
    return found


def crowded(tree: Tree) -> TraceSpan | None:
    """The only root, where more is directly below it than a page holds, as of an agent with many steps: begun
    with the root itself, the page would show nothing else."""
    only = tree.roots[0] if len(tree.roots) == 1 else None
    return only if only is not None and len(tree.children(only.id)) >= ROWS else None


def cut(
    tree: Tree, start: Sequence[TraceSpan], at: TraceSpan | None, after: str | None
) -> tuple[list[TraceSpan], int]:
    """What to begin with, and how many come after it: where one level alone is more than a page, a page of
    it. `after` is the last span of the page before."""
    level = list(start)
    if at is not None and len(tree.children(at.id)) >= ROWS:
        level = tree.children(at.id)
    if after is not None:
        last = chosen(tree, after, "after")
        places = [index for index, span in enumerate(level) if span is last]
        level = level[places[0] + 1 :] if places else level
    return level[:ROWS], max(0, len(level) - ROWS)


def parents(tree: Tree, at: TraceSpan | None) -> list[TraceSpan]:
    """The spans above one, the topmost first; the nearest few of them."""
    found: list[TraceSpan] = []
    by_span_id = {span.span_id: span for span in reversed(tree.spans)}
    while at is not None and len(found) < INDENT_MAX:
        at = by_span_id.get(at.parent_id or "")
        if at is not None and at not in found:
            found.append(at)
        else:
            at = None
    return found[::-1]


def line(
    row: TreeRow, began: datetime, took: float, shut: set[str], records: Mapping[str, str | None]
) -> Line:
    """A span's line."""
    span = row.span
    start = max(0.0, (span.started_at - began).total_seconds() * 1000)
    kind: Kind = "failed" if span.status == "error" else KINDS.get(span.kind, "wait")
    return Line(
        row=row,
        bar=bar(kind, start, span.duration_ms, max(took, 0.001)),
        shut=span.id in shut,
        record=records.get(span.id),
    )


def pairs(detail: SpanDetail | None) -> list[tuple[str, str]]:
    """A span's attributes, as text."""
    if detail is None:
        return []
    found: dict[str, Any] = msgspec.json.decode(detail.attributes) or {}
    return [
        (name, value if isinstance(value, str) else body_text(value)) for name, value in sorted(found.items())
    ]


PAGES: tuple[Page, ...] = (
    Page(
        path="/traces",
        draw=traces,
        params=(*FILTERS, *TIME_NAMES, "before"),
        role="viewer",
        room="records",
        tab="Traces",
        docs="traces#looking-at-them",
    ),
    Page(
        path="/traces/{id}",
        draw=trace,
        params=("at", "after", "span"),
        role="viewer",
        room="records",
        under="/traces",
        docs="traces#looking-at-them",
    ),
)
"""The pages of this module."""
