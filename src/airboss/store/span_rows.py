"""What is kept of traces, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec.structs import replace

from airboss.domain.ports import RecordLog
from airboss.domain.record import PolicyFinding

SPANS_MAX: Final = 50_000
"""Of one trace; what is beyond, by the time of its start, is kept and not shown."""

SpanStatus = Literal["unset", "ok", "error"]
"""How a span ended, in OpenTelemetry's words."""

NOTHING: Final = msgspec.Raw(b"null")
"""JSON where there is none."""
_HEX: Final = frozenset("0123456789abcdef")


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A span as it is kept: the journal's `span` frame.

    `id` is a UUID version 7 of its start and of what identifies it, so that sending it twice keeps it once;
    `trace_id` and `span_id` are hex. `gateway`: a call of ours, whose record has the same id. `sampled` is
    the flag of the trace that it came with. `attributes` is a JSON object, `events` a JSON list of objects
    with `at_ms` (after the start), `name` and `attributes`. `call` is JSON of the `InferenceRecord` that it
    becomes where it is a model call that nobody else records, else null; `awaits`: what was said in it may
    come apart (`span_messages`). `said` is JSON of `Said` where the span is a log record with messages.
    """

    id: str
    trace_id: str
    span_id: str
    name: str
    kind: str
    service: str
    started_at: datetime
    duration_ms: float
    key: str
    parent_id: str | None = None
    gateway: bool = False
    status: SpanStatus = "unset"
    message: str | None = None
    user: str | None = None
    session: str | None = None
    sampled: bool = True
    attributes: msgspec.Raw = NOTHING
    events: msgspec.Raw = NOTHING
    call: msgspec.Raw = NOTHING
    awaits: bool = False
    said: msgspec.Raw = NOTHING


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Messages of the call that the span `said_in` tells of. `place`: of what came at once. `whole`: all of
    the call's. `request` has `messages` and perhaps `tools`, `response` has `choices`: as OpenAI's chat."""

    said_in: str
    at_ns: int
    place: int = 0
    whole: bool = False
    request: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    policy: tuple[PolicyFinding, ...] = ()


class TraceSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A span as a tree needs it; fields as in `Span`."""

    id: str
    span_id: str
    parent_id: str | None
    gateway: bool
    name: str
    kind: str
    service: str
    started_at: datetime
    duration_ms: float
    status: SpanStatus
    key: str


class SpanDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one span; `attributes` and `events` are JSON, null once erased or expired."""

    id: str
    trace_id: str
    span_id: str
    parent_id: str | None
    gateway: bool
    name: str
    kind: str
    service: str
    started_at: datetime
    duration_ms: float
    status: SpanStatus
    message: str | None
    key: str
    user: str | None
    session: str | None
    sampled: bool
    attributes: msgspec.Raw
    events: msgspec.Raw


class TraceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces: those with a span that began in `[since, until)` and has what is given. `before` is the
    place of a trace in the list: only those after it there (`TraceSummary.place`)."""

    since: datetime
    until: datetime
    service: str | None = None
    user: str | None = None
    session: str | None = None
    status: str | None = None
    trace_id: str | None = None
    before: tuple[datetime, str] | None = None


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trace, by its spans that began in the period asked for. `name` and `service` are of the first one
    without a parent, else of the first; `duration_ms` is from the first start to the last end. Tokens and
    cost are of its calls' records; `cost_usd` leaves out `cost_unknown` calls, and is None without others."""

    trace_id: str
    started_at: datetime
    duration_ms: float
    name: str
    service: str
    spans: int
    errors: int
    model_calls: int
    user: str | None
    session: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    cost_unknown: int = 0

    @property
    def place(self) -> tuple[datetime, str]:
        """Where it stands in a list, newest first."""
        return self.started_at, self.trace_id


def summary(row: Sequence[Any]) -> TraceSummary:
    """A trace by a row of `traces`, without what its calls used: the fields in their order."""
    fields = dict(zip(TraceSummary.__struct_fields__, row, strict=False))
    return TraceSummary(**fields | {"duration_ms": max(0.0, float(row[2]))})


def with_sums(
    found: Sequence[TraceSummary],
    until: datetime,
    ask: Callable[[Mapping[str, Any]], Iterable[Sequence[Any]]],
) -> list[TraceSummary]:
    """Traces with what their calls used: `ask` gives rows of `trace_sums`, with the trace's id in hex."""
    if not found:
        return []
    since = min(each.started_at for each in found)
    rows = ask({"since": since, "until": until, "traces": [each.trace_id for each in found]})
    sums = {row[0]: row[1:] for row in rows}
    names = ("input_tokens", "output_tokens", "cost_usd", "cost_unknown")
    return [
        replace(each, **dict(zip(names, sums[each.trace_id], strict=True))) if each.trace_id in sums else each
        for each in found
    ]


class SpanLog(Protocol):
    """Traces, beside the records that they belong to. Raises StoreUnavailable."""

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """Traces that match, the newest first, at most `limit` (1 to 1,000)."""

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """The spans of a trace in order of their start, the first SPANS_MAX of them; none if there is no such
        trace. Raises ValueError for an id that is not 32 hex digits."""

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """One span. Raises ValueError for an id that is none."""

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """The spans of those of these records (at most 1,000) that are in a trace."""

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """Make records of model calls that spans told of and that were moved before that time, but for those
        that others record (`span_calls`); returns how many spans were settled, at most `limit`."""


class TracedLog(RecordLog, SpanLog, Protocol):
    """A record log with its traces."""


AROUND_MS: Final = 3_600_000


def around(span_id: str) -> str:
    """Ids of spans that began up to an hour before this one come after it."""
    first = f"{max(0, int(span_id[:8] + span_id[9:13], 16) - AROUND_MS):012x}"
    return f"{first[:8]}-{first[8:]}"


def trace_key(trace_id: str) -> str:
    """A trace's id, checked. Raises ValueError for one that is none."""
    return _checked(trace_id, 32, "trace")


def span_key(span_id: str) -> str:
    """A span's id, checked. Raises ValueError for one that is none."""
    return _checked(span_id, 16, "span")


def _checked(given: str, length: int, what: str) -> str:
    if len(given) != length or not _HEX.issuperset(given):
        raise ValueError(f"{given[:80]!r} is no {what} id: those are {length} hex digits, in lower case")
    return given
