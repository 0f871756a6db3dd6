"""Traces in ClickHouse; as `duckdb_spans`, in steps that may be repeated."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from zlib import crc32

import msgspec

from airboss.domain.record import InferenceRecord
from airboss.store import clickhouse_bodies, span_asked, span_messages
from airboss.store.clickhouse_bodies import IDS_AT_ONCE
from airboss.store.clickhouse_http import ClickHouse, moment, query, stamp
from airboss.store.rows import PART_CHARS_MAX, span_row
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

COLUMNS: Final = (*SpanDetail.__struct_fields__, "move")
WAITING_COLUMNS: Final = ("id", "trace_id", "moved_at", "record", "done")
SETTLEMENT_COLUMNS: Final = ("token", "ids", "own", "answered", "done")
HALF_MADE: Final = timedelta(minutes=10)
"""So much longer calls wait while a move is half made; not for ever, since its journal may be lost."""
_DETAIL: Final = ", ".join(f'"{name}"' for name in SpanDetail.__struct_fields__)
_ANSWERED: Final = ", ".join(
    f'{"answers" if name in {"id", "answer_id"} else "calls"}."{name}" as "{name}"'
    for name in AnsweredCall.__struct_fields__
)
_STARTED: Final = COLUMNS.index("started_at")
_TEXTS: Final = (COLUMNS.index("attributes"), COLUMNS.index("events"))
_FORGOTTEN: Final = (
    "\"user\" = null, session = null, message = null, attributes = '', events = '',"
    " name = if(gateway, name, kind)"
)
_CONDITIONS: Final = {
    "service": "service_ = $service",
    "user": "person = $user",
    "session": "session_ = $session",
    "trace_id": "trace_id = $trace_id",
}

Make = Callable[[Sequence[bytes], str], None]
"""Stores records, given as JSON, that are not there yet, under a token."""


Listed = Callable[..., list[InferenceRecord]]
"""The records that fulfil conditions, given with what those ask for and an order."""


class ClickHouseSpans:
    """Implements `SpanLog` over the server of the log that it is a part of."""

    _house: ClickHouse
    _writing: threading.Lock
    _begin: Callable[[], None]
    _make: Make
    _listed: Listed
    texts: Texts = PLAIN
    """Opens what is sealed, where calls are put together of what came apart."""

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """As `SpanLog.traces`."""
        self._begin()
        return traces(self._house, where, limit)

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """As `SpanLog.trace`."""
        self._begin()
        asked = {"trace": trace_key(trace_id), "limit": SPANS_MAX}
        return [_tree_span(row) for row in self._house.rows(query("trace"), asked)]

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`."""
        self._begin()
        asked = {"trace": trace_key(trace_id), "span": span_id}
        rows = self._house.rows(query("span").format(columns=_DETAIL), asked)
        return _detail(rows[0]) if rows else None

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`."""
        self._begin()
        return _details(self._house, record_ids)

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """As `SpanLog.settle_calls`, those of a whole move at once: so a step that is repeated after a kill
        is the same step, and adds nothing."""
        self._begin()
        done = 0
        with self._writing:
            while done < limit and (
                settled := settle(self._house, before, self._make, self._listed, self.texts)
            ):
                done += settled
        return done


def settle(house: ClickHouse, before: datetime, make: Make, listed: Listed, sealed: Texts = PLAIN) -> int:
    """Settle the calls of one move; returns how many.

    Which of them are calls of their own is written down before anything is made of it. Killed meanwhile, the
    next one does just that, whatever spans have come since: another answer under the same token would lose a
    record, and under another token a call might have two. While a move is half made, calls wait longer: of a
    call of the gateway the record may be there already and its span not yet."""
    begun = house.rows(query("settlement"))
    if not begun:
        if house.rows(query("half_made")):
            before -= HALF_MADE
        decided = _decide(house, before, listed, sealed)
        if decided is None:
            return 0
        house.insert("settlements", SETTLEMENT_COLUMNS, [(*decided, 0)], decided[0])
        begun = [list(decided)]
    ((token, ids, own, answered),) = begun
    number = crc32(token.encode())
    said = _said(house, ids)
    texts = _texts(house, [*own, *answered], said, sealed)
    make([texts[each] for each in own if each in texts], token)
    ours = _ours(house, texts, listed, number, sealed)  # all of them again: who is alone may be another's
    take(house, [span for each in answered if (span := ours.get(each))], before, token, number)
    _wait_no_more(house, [*ids, *(message for each in said.values() for message in each)], token)
    house.insert("settlements", SETTLEMENT_COLUMNS, [(token, [], [], [], 1)], f"{token}:done")
    return len(ids)


def _decide(
    house: ClickHouse, before: datetime, listed: Listed, sealed: Texts
) -> tuple[str, list[str], list[str], list[str]] | None:
    """The token, the calls, those of them that are calls of their own and those that the gateway answered;
    None where none has waited."""
    waiting = house.rows(query("settling"), {"before": before, "said": span_messages.SAID})
    if not waiting:
        return None
    ids = [row[0] for row in waiting]
    calls = [row[0] for row in waiting if not row[2]]
    found: dict[str, str | None] = {}
    for spans in _trees(house, ids, [row[1] for row in waiting]):
        found |= record_ids(spans)
    mine = [each for each in calls if found.get(each, each) == each]
    own = _texts(house, mine, _said(house, mine), sealed)
    token = f"settle:{crc32(' '.join(ids).encode())}:{ids[0]}"
    ours = _ours(house, own, listed, crc32(token.encode()), sealed)
    return token, ids, [each for each in own if each not in ours], list(ours)


def _trees(house: ClickHouse, ids: Sequence[str], traces: Sequence[str]) -> list[list[TraceSpan]]:
    """The spans of these traces, which began about when these did, trace by trace."""
    asked = {"traces": list(set(traces)), "first": around(min(ids)), "limit": 4 * SPANS_MAX}
    by_trace: defaultdict[str, list[TraceSpan]] = defaultdict(list)
    for row in house.rows(query("settling_spans"), asked):
        by_trace[row[-1]].append(_tree_span(row))
    return list(by_trace.values())


def _said(house: ClickHouse, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """The messages that wait for these calls, by call, with how many bytes each has."""
    if not ids:
        return {}
    asked = {"said": span_messages.SAID, "ids": list(ids)}
    traces = [each for (each,) in house.rows(query("waiting_traces"), asked)]
    if not traces:
        return {}
    asked = {"said": span_messages.SAID, "traces": traces}
    sizes = {each: int(size) for each, size in house.rows(query("messages_waiting"), asked)}
    found: dict[str, dict[str, int]] = {}
    for spans in _trees(house, ids, traces) if sizes else ():
        for call, messages in span_messages.of_calls(ids, spans, sizes).items():
            found[call] = {each: sizes[each] for each in messages}
    return found


def _texts(
    house: ClickHouse, ids: Sequence[str], said: Mapping[str, Mapping[str, int]], sealed: Texts
) -> dict[str, bytes]:
    """The records that these calls become, as JSON, with what was said in them."""
    texts = _waiting(house, ids)
    read = {call: span_messages.chosen(list(said[call]), said[call]) for call in texts if call in said}
    spans = {each.id: each for each in _details(house, list(read))}
    for calls in _together({call: sum(said[call][each] for each in ids) for call, ids in read.items()}):
        messages = _waiting(house, [each for call in calls for each in read[call]])
        for call in calls:
            given = {each: messages[each] for each in read[call] if each in messages}  # one may have gone
            texts[call] = span_messages.filled_with(
                (call, texts[call]), given, spans[call], among=len(said[call]), sealed=sealed
            )
    return texts


def _together(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """These calls, so many at once as have messages of the bytes that one call may have."""
    calls: list[str] = []
    room = span_messages.READ_BYTES_MAX
    for call, size in sizes.items():
        room -= size
        if calls and room < 0:
            yield calls
            calls, room = [], span_messages.READ_BYTES_MAX - size
        calls.append(call)
    if calls:
        yield calls


def _waiting(house: ClickHouse, ids: Sequence[str]) -> dict[str, bytes]:
    """What waits under these ids, as JSON."""
    asked = {"ids": list(ids)}
    return {each: text.encode() for each, text in house.rows(query("waiting_calls"), asked)} if ids else {}


def _details(house: ClickHouse, ids: Sequence[str]) -> list[SpanDetail]:
    if not ids:
        return []
    asked: dict[str, Any] = {"first": min(ids), "last": max(ids), "ids": list(ids)}
    return [_detail(row) for row in house.rows(query("spans_of").format(columns=_DETAIL), asked)]


def _wait_no_more(house: ClickHouse, ids: Sequence[str], token: str) -> None:
    rows = [(each, "", "1970-01-01 00:00:00", "", 1) for each in ids]
    house.insert("waiting_calls", WAITING_COLUMNS, rows, token)


def _ours(
    house: ClickHouse, texts: Mapping[str, bytes], listed: Listed, move: int, sealed: Texts
) -> dict[str, Span | None]:
    """Which of these model calls, given by the records that they would become, are the gateway's."""
    ours: dict[str, Span | None] = {**_answered(house, list(texts), sealed)}
    rest = {each: text for each, text in texts.items() if each not in ours}
    return ours | _asked(house, rest, listed, move, sealed)


def _asked(
    house: ClickHouse, texts: Mapping[str, bytes], listed: Listed, move: int, sealed: Texts
) -> dict[str, Span | None]:
    """As `span_asked.joined`, for these model calls."""
    if not texts:
        return {}
    clients = span_asked.clients_of(
        [sealed.span(each) for each in _details(house, list(texts))],
        {each: sealed.waiting(each, text) for each, text in texts.items()},
    )
    if not clients:
        return {}
    asked = {**span_asked.asked_in(clients), "limit": span_asked.CALLS_MAX}
    records = listed(query("asked"), asked, "started_at", bodies=True)
    if not records:
        return {}
    ids = [record.id for record in records]
    # Those that this move itself has brought, before it was broken off, are none that were there.
    wanted: dict[str, Any] = {"first": min(ids), "last": max(ids), "ids": ids, "move": move}
    known = {each for (each,) in house.rows(query("known_spans"), wanted)}
    return span_asked.joined(clients, [sealed.record(each) for each in records if each.id not in known])


def _answered(house: ClickHouse, ids: Sequence[str], sealed: Texts) -> dict[str, Span]:
    """As `span_answers.joined`, for these model calls."""
    clients = [sealed.span(each) for each in _details(house, ids)]
    named = answer_ids(clients)
    clients = [each for each in clients if each.id in named]
    if not clients:
        return {}
    since, until = asked_in(clients)
    asked: dict[str, Any] = {
        "since": since,
        "until": until,
        "limit": CALLS_MAX,
        "answers": list(named.values()),
    }
    calls = []
    for row in house.rows(query("answered").format(columns=_ANSWERED), asked):
        fields = dict(zip(AnsweredCall.__struct_fields__, row, strict=True))
        fields["started_at"] = moment(fields["started_at"])
        calls.append(AnsweredCall(**fields | {"latency_ms": float(fields["latency_ms"])}))
    return joined(clients, named, calls)


def take(house: ClickHouse, given: Iterable[Span], moved_at: datetime, token: str, move: int) -> None:
    """Keep spans that no other move has brought."""
    spans = {span.id: span for span in given}
    if not spans:
        return
    asked = {"first": min(spans), "last": max(spans), "ids": list(spans), "move": move}
    for (known,) in house.rows(query("known_spans"), asked):
        spans.pop(known, None)
    house.insert("spans", COLUMNS, [_row(span, move) for span in spans.values()], token)
    beyond = 0
    if any(span.awaits or bytes(span.said) != b"null" for span in spans.values()):
        ((held,),) = house.rows(query("waiting_parts"), {"part": PART_CHARS_MAX})
        beyond = held - span_messages.WAITING_MAX
    if beyond > 0:
        oldest = house.rows(query("too_many_messages"), {"said": span_messages.SAID, "limit": beyond})
        _wait_no_more(house, [each for (each,) in oldest], f"{token}:beyond")
    waiting = [
        (span.id, span.trace_id, stamp(what[0]), what[1], 0)
        for span in spans.values()
        if (what := span_messages.waiting(span, moved_at, patient=beyond <= 0)) is not None
    ]
    house.insert("waiting_calls", WAITING_COLUMNS, waiting, token)


def traces(house: ClickHouse, where: TraceFilter, limit: int) -> list[TraceSummary]:
    """As `SpanLog.traces`."""
    asked: dict[str, Any] = {"since": where.since, "until": where.until, "limit": limit}
    given = {name: getattr(where, name) for name in _CONDITIONS}
    asked |= {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name, value in given.items() if value is not None]
    if where.status is not None:
        conditions.append("errors > 0" if where.status == "error" else "errors = 0")
    if where.before is not None:
        at, trace_id = where.before
        conditions.append("(began, trace_id) < ($before_at, $before_trace)")
        asked |= {"before_at": at, "before_trace": trace_key(trace_id)}
    text = query("traces").format(where=" and ".join(conditions) or "true")
    found = [summary((trace, moment(at), ms, *rest)) for trace, at, ms, *rest in house.rows(text, asked)]
    return with_sums(found, where.until, lambda of: house.rows(query("trace_sums"), of))


def erase(house: ClickHouse, user: str, before: datetime) -> int:
    """Take a person out of the traces that name them; returns how many spans were theirs."""
    ids = [each for (each,) in house.rows(query("erase_traced"), {"user": user, "before": before})]
    clickhouse_bodies.drop(house, ids)
    for start in range(0, len(ids), IDS_AT_ONCE):
        some: Mapping[str, Any] = {"ids": ids[start : start + IDS_AT_ONCE]}
        for table, nothing in (
            ("records", "\"user\" = null, session = null, tags = '{}'"),
            ("spans", _FORGOTTEN),
        ):
            update = f"alter table {table}{house.on_cluster} update {nothing} where id in $ids"
            house.run(update, some, hard=True)
        for span_id, text in house.rows(query("waiting_calls"), some):
            blank = {"record": str(span_messages.blank_waiting(text.encode()), "utf-8"), "id": span_id}
            update = f"alter table waiting_calls{house.on_cluster} update record = $record where id = $id"
            house.run(update, blank, hard=True)
    return len(ids)


def expire(house: ClickHouse, before: datetime, limit: int, *, whole: Literal["texts", "spans"]) -> int:
    """Delete old spans, or what they hold of texts, the oldest first; returns how many."""
    name = "old_spans" if whole == "spans" else "old_span_texts"
    ids = [each for (each,) in house.rows(query(name), {"before": before, "limit": limit})]
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = {"ids": ids[start : start + IDS_AT_ONCE]}
        if whole == "spans":
            house.run(f"delete from spans{house.on_cluster} where id in $ids", some)  # noqa: S608 - fixed
        else:
            nothing = "message = null, attributes = '', events = ''"
            house.run(
                f"alter table spans{house.on_cluster} update {nothing} where id in $ids", some, hard=True
            )
    return len(ids)


def _row(span: Span, move: int) -> tuple[Any, ...]:
    values = list(span_row(span))
    values[_STARTED] = stamp(span.started_at)
    for place in _TEXTS:
        values[place] = values[place] or ""
    return (*values, move)


def _tree_span(row: Sequence[Any]) -> TraceSpan:
    fields = dict(zip(TraceSpan.__struct_fields__, row, strict=False))
    return TraceSpan(**fields | {"started_at": moment(row[7]), "duration_ms": float(row[8])})


def _detail(row: Sequence[Any]) -> SpanDetail:
    fields = dict(zip(SpanDetail.__struct_fields__, row, strict=True))
    fields["started_at"] = moment(fields["started_at"])
    fields["duration_ms"] = float(fields["duration_ms"])
    for name in ("attributes", "events"):
        fields[name] = msgspec.Raw(fields[name].encode()) if fields[name] else NOTHING
    return SpanDetail(**fields)
