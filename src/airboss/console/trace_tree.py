"""A trace's spans as a tree, walked in order and a page at a time. Every span is reached exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from airboss.store.span_rows import TraceSpan


class TreeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A span in its place: how deep, how many are directly below it and below it in all."""

    span: TraceSpan
    depth: int
    children: int
    below: int


class Tree:
    """The tree of spans. One whose parent is not there is a root, and so is the first of a circle of parents;
    of spans with one id the first has the children."""

    def __init__(self, spans: Sequence[TraceSpan]) -> None:
        self.spans = spans
        self._by_id = {span.id: span for span in spans}
        by_span_id: dict[str, TraceSpan] = {}
        for span in spans:
            by_span_id.setdefault(span.span_id, span)
        self._children: dict[str, list[TraceSpan]] = {}
        self._parents: dict[str, str] = {}
        roots = []
        for span in spans:
            parent = by_span_id.get(span.parent_id or "")
            if parent is None or parent.id == span.id:
                roots.append(span)
            else:
                self._children.setdefault(parent.id, []).append(span)
                self._parents[span.id] = parent.id
        self.roots = self._without_circles(roots)
        self._below: dict[str, int] = {}
        for span in reversed([span for span, _ in self._walk(self.roots)]):
            children = self._children.get(span.id, ())
            self._below[span.id] = sum(1 + self._below[each.id] for each in children)

    def _without_circles(self, roots: list[TraceSpan]) -> list[TraceSpan]:
        """Add a root for each circle of parents, cut open before its first span."""
        reached = {span.id for span, _ in self._walk(roots)}
        for span in self.spans:
            if span.id in reached:
                continue
            self._children[self._parents[span.id]].remove(span)
            roots.append(span)
            reached.update(each.id for each, _ in self._walk([span]))
        return roots

    def _walk(
        self, start: Sequence[TraceSpan], into: Collection[str] | None = None
    ) -> Iterator[tuple[TraceSpan, int]]:
        """Each span with its depth before those below it, in order of time; with `into` only what is below
        these."""
        left = [(span, 0) for span in reversed(start)]
        while left:
            span, depth = left.pop()
            yield span, depth
            if into is None or span.id in into:
                left += [(each, depth + 1) for each in reversed(self.children(span.id))]

    def get(self, row_id: str) -> TraceSpan | None:
        """The span of this row."""
        return self._by_id.get(row_id)

    def children(self, row_id: str) -> list[TraceSpan]:
        """The spans directly below one."""
        return self._children.get(row_id, [])

    def page(self, under: str | None, after: str | None, limit: int) -> tuple[list[TreeRow], bool]:
        """Rows in order, from after that row on, of the whole tree or of all below a span; and whether there
        are more."""
        start = self.roots if under is None else self.children(under)
        rows: list[TreeRow] = []
        begun = after is None
        for span, depth in self._walk(start):
            if begun:
                if len(rows) == limit:
                    return rows, True
                rows.append(self.row(span, depth))
            elif span.id == after:
                begun = True
        return rows, False

    def opened(self, start: Sequence[TraceSpan], limit: int) -> tuple[list[TreeRow], set[str]]:
        """At most `limit` rows, level by level as far as whole families fit; and those that are shut, though
        something is below them. `start` are shown whatever their number."""
        shown = len(start)
        open_ids: set[str] = set()
        waiting = deque(start)
        while waiting:
            span = waiting.popleft()
            children = self.children(span.id)
            if children and shown + len(children) <= limit:
                shown += len(children)
                open_ids.add(span.id)
                waiting.extend(children)
        rows = [self.row(span, depth) for span, depth in self._walk(start, into=open_ids)]
        return rows, {row.span.id for row in rows if row.children and row.span.id not in open_ids}

    def row(self, span: TraceSpan, depth: int) -> TreeRow:
        """A span in its place."""
        return TreeRow(
            span=span, depth=depth, children=len(self.children(span.id)), below=self._below[span.id]
        )

    def extent(self, under: TraceSpan | None = None) -> tuple[datetime, float]:
        """When the spans begin, and how many milliseconds later the last one of them ends."""
        chosen = (
            [under, *(span for span, _ in self._walk(self.children(under.id)))] if under else list(self.spans)
        )
        began = min(span.started_at for span in chosen)
        over = max(span.started_at + timedelta(milliseconds=span.duration_ms) for span in chosen)
        return began, (over - began).total_seconds() * 1000
