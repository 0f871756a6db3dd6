"""Traces in the record log's DuckDB file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from airboss.store import duckdb_sums, span_asked, span_messages
from airboss.store.duckdb_read import with_bodies
from airboss.store.duckdb_run import Connection, append, query, run, run_by_ids
from airboss.store.joining import StoredRecord, read_record
from airboss.store.rows import COLUMNS, aware, naive, span_row, text_parts
from airboss.store.span_answers import CALLS_MAX, AnsweredCall, answer_ids, asked_in, joined
from airboss.store.span_calls import record_ids
from airboss.store.span_messages import PLAIN, Texts
from airboss.store.span_rows import (
    NOTHING,
    SPANS_MAX,
    Span,
    SpanDetail,
    TraceFilter,
    TraceSpan,
    TraceSummary,
    around,
    summary,
    trace_key,
    with_sums,
)

_DETAIL: Final = ", ".join(f'"{name}"' for name in SpanDetail.__struct_fields__)
_ANSWERED: Final = ", ".join(f'"{name}"' for name in AnsweredCall.__struct_fields__)
_CONDITIONS: Final = {
    "service": "service = $service",
    "user": "person = $user",
    "session": "session = $session",
    "trace_id": "trace_id = $trace_id::uuid",
}

Insert = Callable[[Connection, Sequence[StoredRecord]], None]
"""Stores records that are not there yet."""


class DuckDBSpans:
    """Implements `SpanLog` over the connections of the log that it is a part of."""

    _reading: Callable[[], AbstractContextManager[Connection]]
    _transaction: Callable[[], AbstractContextManager[Connection]]
    _insert: Insert
    texts: Texts = PLAIN
    """Opens what is sealed, where calls are put together of what came apart."""

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """As `SpanLog.traces`."""
        with self._reading() as connection:
            return traces(connection, where, limit)

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """As `SpanLog.trace`."""
        with self._reading() as connection:
            return of_trace(connection, trace_key(trace_id))

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`."""
        with self._reading() as connection:
            asked = {"trace": trace_key(trace_id), "span": span_id}
            rows = run(connection, query("span").format(columns=_DETAIL), asked)
            return _detail(rows[0]) if rows else None

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`."""
        with self._reading() as connection:
            text = query("spans_of").format(columns=_DETAIL)
            if not record_ids:
                return []
            asked = {"first": min(record_ids), "last": max(record_ids), "ids": list(record_ids)}
            return [_detail(row) for row in run(connection, text, asked)]

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """As `SpanLog.settle_calls`."""
        with self._reading() as connection:  # most of the time nothing waits, and nobody need be held up
            if not run(connection, "select 1 from waiting_calls limit 1"):
                return 0
        with self._transaction() as connection:
            return settle(connection, before, limit, self._insert, self.texts)


def take(connection: Connection, given: Iterable[Span], moved_at: datetime) -> None:
    """Keep spans that are not there yet."""
    spans = {span.id: span for span in given}
    if not spans:
        return
    for (known,) in list(run_by_ids(connection, "known_spans", spans)):
        del spans[known]
    append(connection, "spans", [span_row(span) for span in spans.values()])
    beyond = 0
    if any(span.awaits or bytes(span.said) != b"null" for span in spans.values()):
        ((held,),) = run(connection, "select count(*) from waiting_calls")
        beyond = held - span_messages.WAITING_MAX
    if beyond > 0:
        run(connection, query("too_many_messages"), {"said": span_messages.SAID, "limit": beyond})
    waiting = [(span, span_messages.waiting(span, moved_at, patient=beyond <= 0)) for span in spans.values()]
    rows = [
        (span.id, span.trace_id, naive(what[0]), part, text)
        for span, what in waiting
        if what is not None
        for part, text in enumerate(text_parts(what[1]))
    ]
    if rows:
        append(connection, "waiting_calls", rows)


def settle(
    connection: Connection, before: datetime, limit: int, insert: Insert, sealed: Texts = PLAIN
) -> int:
    """As `SpanLog.settle_calls`, within a transaction."""
    asked = {"before": naive(before), "said": span_messages.SAID, "limit": limit}
    waiting = run(connection, query("settling"), asked)
    if not waiting:
        return 0
    ids = [each for each, _, said in waiting if not said]
    done = [each for each, _, said in waiting if said]  # messages whose call has not come
    if ids:
        traces = list({str(trace) for _, trace, said in waiting if not said})
        done += _settle(connection, ids, traces, before, insert, sealed)
    run(connection, "delete from waiting_calls where id in (select unnest(?::varchar[]))", [done])
    return len(waiting)


def _settle(  # noqa: PLR0917 - what settling has, in the order it came to be
    connection: Connection,
    ids: Sequence[str],
    traces: Sequence[str],
    before: datetime,
    insert: Insert,
    sealed: Texts,
) -> list[str]:
    """Settle these calls of these traces; returns what need wait no more."""
    asked: dict[str, Any] = {"traces": traces, "first": around(min(ids)), "limit": 4 * SPANS_MAX}
    by_trace: defaultdict[UUID, list[TraceSpan]] = defaultdict(list)
    for row in run(connection, query("settling_spans"), asked):
        by_trace[row[-1]].append(_tree_span(row))
    found: dict[str, str | None] = {}
    said: dict[str, list[str]] = {}
    asked = {"traces": traces, "said": span_messages.SAID}
    sizes = dict(run(connection, query("messages_waiting"), asked))
    for spans in by_trace.values():
        found |= record_ids(spans)
        said |= span_messages.of_calls(ids, spans, sizes)
    # One beyond what of a trace is looked at counts by itself.
    own = [each for each in ids if found.get(each, each) == each]
    ours = _answered(connection, own, sealed)
    texts = _texts(connection, [each for each in own if each not in ours])
    texts = _filled(connection, texts, said, sizes, sealed)
    asked_of_us = _asked(connection, texts, sealed)
    insert(connection, [read_record(text) for each, text in texts.items() if each not in asked_of_us])
    take(connection, [*ours.values(), *filter(None, asked_of_us.values())], before)
    return [*ids, *(message for each in ids for message in said.get(each, ()))]


def _texts(connection: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    """What waits under these ids, as JSON."""
    parts = sorted(run(connection, query("waiting_call_parts"), {"ids": ids})) if ids else []
    return {
        each: "".join(text for _, _, text in rows).encode()
        for each, rows in groupby(parts, key=itemgetter(0))
    }


def _filled(
    connection: Connection,
    texts: Mapping[str, bytes],
    said: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    sealed: Texts,
) -> dict[str, bytes]:
    """These calls with what was said in them."""
    mine = [each for each in texts if each in said]
    spans = {row[0]: _detail(row) for row in run_by_ids(connection, "spans_of", mine, columns=_DETAIL)}
    filled = {}
    for each in mine:  # one at a time, as they may be long
        messages = _texts(connection, span_messages.chosen(said[each], sizes))
        filled[each] = span_messages.filled_with(
            (each, texts[each]), messages, spans[each], among=len(said[each]), sealed=sealed
        )
    return {**texts, **filled}


def _answered(connection: Connection, ids: Sequence[str], sealed: Texts) -> dict[str, Span]:
    """As `span_answers.joined`, for these model calls."""
    clients = [sealed.span(_detail(row)) for row in run_by_ids(connection, "spans_of", ids, columns=_DETAIL)]
    named = answer_ids(clients)
    clients = [each for each in clients if each.id in named]
    if not clients:
        return {}
    since, until = asked_in(clients)
    asked = {
        "since": naive(since),
        "until": naive(until),
        "limit": CALLS_MAX,
        "answers": list(named.values()),
    }
    rows = run(connection, query("answered").format(columns=_ANSWERED), asked)
    calls = [AnsweredCall(**dict(zip(AnsweredCall.__struct_fields__, row, strict=True))) for row in rows]
    return joined(clients, named, [replace(each, started_at=aware(each.started_at)) for each in calls])


def _asked(connection: Connection, texts: Mapping[str, bytes], sealed: Texts) -> dict[str, Span | None]:
    """As `span_asked.joined`, for these model calls."""
    named = run_by_ids(connection, "spans_of", list(texts), columns=_DETAIL)
    details = [sealed.span(_detail(row)) for row in named]
    clients = span_asked.clients_of(
        details, {each: sealed.waiting(each, text) for each, text in texts.items()}
    )
    if not clients:
        return {}
    asked = span_asked.asked_in(clients)
    columns = ", ".join(f'"{name}"' for name in ("seq", *COLUMNS))
    text = query("list").format(columns=columns, where=query("asked"), order="started_at")
    times = {name: naive(asked[name]) for name in ("since", "until")}
    rows = run(connection, text, {**asked, **times, "limit": span_asked.CALLS_MAX})
    known = {each for (each,) in run_by_ids(connection, "known_spans", [row[1] for row in rows])}
    found = with_bodies(connection, [row for row in rows if row[1] not in known])
    return span_asked.joined(clients, map(sealed.record, found))


def of_trace(connection: Connection, trace: str) -> list[TraceSpan]:
    """As `SpanLog.trace`."""
    return [_tree_span(row) for row in run(connection, query("trace"), {"trace": trace, "limit": SPANS_MAX})]


def _tree_span(row: Sequence[Any]) -> TraceSpan:
    fields = dict(zip(TraceSpan.__struct_fields__, row, strict=False))
    return TraceSpan(**fields | {"started_at": aware(row[7])})


def traces(connection: Connection, where: TraceFilter, limit: int) -> list[TraceSummary]:
    """As `SpanLog.traces`."""
    asked: dict[str, Any] = {"since": naive(where.since), "until": naive(where.until), "limit": limit}
    given = {name: getattr(where, name) for name in _CONDITIONS}
    asked |= {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name, value in given.items() if value is not None]
    if where.status is not None:
        conditions.append("errors > 0" if where.status == "error" else "errors = 0")
    if where.before is not None:
        at, trace_id = where.before
        conditions.append("(began, trace_id) < ($before_at, $before_trace::uuid)")
        asked |= {"before_at": naive(at), "before_trace": trace_key(trace_id)}
    text = query("traces").format(where=" and ".join(conditions) or "true")
    found = [
        summary((trace.hex, aware(at), ms, *rest)) for trace, at, ms, *rest in run(connection, text, asked)
    ]

    def sums(of: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
        times = {name: naive(of[name]) for name in ("since", "until")}
        traces = [trace_key(each) for each in of["traces"]]
        return (
            (row[0].hex, *row[1:])
            for row in run(connection, query("trace_sums"), {**times, "traces": traces})
        )

    return with_sums(found, where.until, sums)


def erase(connection: Connection, user: str, before: datetime) -> int:
    """Take a person out of the traces that name them, within a transaction; returns how many spans named
    them."""
    asked = {"user": user, "before": naive(before)}
    mine = '"user" = $user and started_at <= $before'
    ((found,),) = run(connection, f"select count(*) from spans where {mine}", asked)  # noqa: S608 - fixed
    if found:
        _blank_waiting(connection, asked)
        duckdb_sums.blank(connection, [seq for seq, _ in run(connection, query("seqs_traced"), asked)])
        for name in ("erase_traced_bodies", "erase_traced_records", "erase_spans"):
            run(connection, query(name), asked)
    return int(found)


def _blank_waiting(connection: Connection, asked: Mapping[str, Any]) -> None:
    """Take a person out of the calls of their traces that are no records yet, and what was said in them."""
    for span_id, trace_id, moved_at in run(connection, query("erase_waiting"), dict(asked)):
        parts = sorted(run(connection, query("waiting_call_parts"), {"ids": [span_id]}))
        blank = str(span_messages.blank_waiting("".join(text for _, _, text in parts).encode()), "utf-8")
        run(connection, "delete from waiting_calls where id = ?", [span_id])
        rows = [(span_id, trace_id, moved_at, part, text) for part, text in enumerate(text_parts(blank))]
        append(connection, "waiting_calls", rows)


def expire(connection: Connection, before: datetime, limit: int, *, whole: Literal["texts", "spans"]) -> int:
    """Delete old spans, or what they hold of texts, the oldest first; returns how many."""
    name = "old_spans" if whole == "spans" else "old_span_texts"
    ids = [each for (each,) in run(connection, query(name), {"before": naive(before), "limit": limit})]
    if ids and whole == "spans":
        run(connection, "delete from spans where id in (select unnest(?::varchar[]))", [ids])
    elif ids:
        text = "update spans set message = null, attributes = null, events = null"
        run(connection, f"{text} where id in (select unnest(?::varchar[]))", [ids])
    return len(ids)


def _detail(row: Sequence[Any]) -> SpanDetail:
    fields = dict(zip(SpanDetail.__struct_fields__, row, strict=True))
    fields["trace_id"] = fields["trace_id"].hex
    fields["started_at"] = aware(fields["started_at"])
    for name in ("attributes", "events"):
        text = fields[name]
        fields[name] = NOTHING if text is None else msgspec.Raw(text.encode())
    return SpanDetail(**fields)
