"""A call as rows of the record log's tables, and back: what goes into which column, and in what form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Final

import msgspec

from airboss.domain.ports import WatchedCall
from airboss.domain.record import Attempt, InferenceRecord, PolicyFinding
from airboss.domain.score import ScoreValue
from airboss.store.joining import StoredRecord, body, read_opened
from airboss.store.span_rows import Span

PART_CHARS_MAX: Final = 8192
"""Bodies are stored in parts of so many characters; see the schema."""
ROW_CHARS_MAX: Final = 64 * 1024
"""Of all text of a record beside its bodies; see the schema on why there must be a bound."""

_ADDED: Final = ("cache_write_tokens",)
"""Columns that a migration added: they stand last in the table."""
COLUMNS: Final = (
    *(
        field.name
        for field in msgspec.structs.fields(InferenceRecord)
        if field.name not in {"request", "response", "scores", *_ADDED}
    ),
    *_ADDED,
)
_JSON_COLUMNS: Final = {
    "attempts": tuple[Attempt, ...],
    "policy": tuple[PolicyFinding, ...],
    "tags": dict[str, str],
}
_JSON_PLACES: Final = tuple(map(COLUMNS.index, _JSON_COLUMNS))
_STARTED_AT: Final = COLUMNS.index("started_at")
_values_of: Final = attrgetter(*COLUMNS)


def record_row(seq: int, record: StoredRecord) -> tuple[Any, ...]:
    """The row of `records` that a record is. Raises ValueError if it is too large for one."""
    values = list(_values_of(record))
    values[_STARTED_AT] = naive(record.started_at)
    for place in _JSON_PLACES:
        values[place] = msgspec.json.encode(values[place]).decode()
    _check_size(record.id, values)
    return (seq, *values)


def open_rows(segment: str, payload: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of `pending` that hold an open frame. One that no record could be made of is refused now:
    later nobody could close it."""
    opened = read_opened(payload)
    _check_size(opened.id, [*msgspec.structs.astuple(opened), *opened.tags, *opened.tags.values()])
    if not -(2**63) <= opened.plan < 2**63:
        raise ValueError(f"{opened.id} is of plan {opened.plan}")
    return ((opened.id, segment, part, text) for part, text in enumerate(text_parts(str(payload, "utf-8"))))


def _check_size(record_id: str, values: Iterable[object]) -> None:
    size = sum([len(value) for value in values if isinstance(value, str)])
    if size > ROW_CHARS_MAX:
        raise ValueError(f"{record_id} has {size} characters beside its bodies, of at most {ROW_CHARS_MAX}")


def body_rows(seq: int, record: StoredRecord) -> list[tuple[Any, ...]]:
    """The rows of `bodies` that hold a record's; none where it has none."""
    request, response = _text(record.request), _text(record.response)
    if len(request or "") <= PART_CHARS_MAX and len(response or "") <= PART_CHARS_MAX:
        return [(seq, 0, request, response)] if request or response else []
    both = zip_longest(text_parts(request), text_parts(response))
    return [(seq, part, *texts) for part, texts in enumerate(both)]


def text_parts(text: str | None) -> Iterator[str]:
    """The text in parts small enough for a column."""
    text = text or ""
    return (text[start : start + PART_CHARS_MAX] for start in range(0, len(text), PART_CHARS_MAX))


def _text(raw: msgspec.Raw) -> str | None:
    """The JSON text of a body, None for null."""
    text = str(raw, "utf-8")
    return text if text != "null" else None


def span_row(span: Span) -> tuple[Any, ...]:
    """The row of `spans` that a span is. Raises ValueError if it is too large for one."""
    attributes, events = _text(span.attributes), _text(span.events)
    values = (
        *(span.id, span.trace_id, span.span_id, span.parent_id, span.gateway, span.name, span.kind),
        *(span.service, naive(span.started_at), span.duration_ms, span.status, span.message, span.key),
        *(span.user, span.session, span.sampled, attributes, events),
    )
    _check_size(span.id, values)
    return values


def from_row(row: tuple[Any, ...], request: str | None, response: str | None) -> InferenceRecord:
    """A row of list.sql as a record."""
    values: dict[str, Any] = dict(zip(COLUMNS, row[1:], strict=True))
    values["started_at"] = values["started_at"].replace(tzinfo=UTC)
    if values["cost_usd"] is not None:
        values["cost_usd"] = plain(values["cost_usd"])
    for name, kind in _JSON_COLUMNS.items():
        values[name] = msgspec.json.decode(values[name], type=kind)
    return InferenceRecord(**values, scores={}, request=body(request), response=body(response))


def whole(parts: Iterable[str | None]) -> str | None:
    """A body's text from its parts; no body's JSON is empty."""
    return "".join(filter(None, parts)) or None


def naive(moment: datetime) -> datetime:
    """UTC without saying so: what the `timestamp` columns hold."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def aware(at: datetime) -> datetime:
    """The other way round."""
    return at.replace(tzinfo=UTC)


def watched(
    rows: Iterable[Sequence[Any]],
    scores: Mapping[str, dict[str, ScoreValue | None]],
    moment: Callable[[Any], datetime],
) -> list[WatchedCall]:
    """What the query `watched` gives, with what records show of their scores; `moment` reads the database's
    time."""
    return [
        WatchedCall(
            id=row[0],
            started_at=moment(row[1]),
            release=row[2],
            arm=row[3],
            plan=row[4],
            user=row[5],
            session=row[6],
            status=row[7],
            error_type=row[8],
            latency_ms=float(row[9]),
            ttft_ms=float(row[10]) if row[10] is not None else None,
            cost_usd=Decimal(row[11]) if row[11] is not None else None,
            scores=scores.get(row[0], {}),
        )
        for row in rows
    ]


def plain(cost: Decimal) -> Decimal:
    """Without the zeros that the column's scale adds."""
    short = cost.normalize()
    return short if short != short.to_integral_value() else short.quantize(Decimal(1))
