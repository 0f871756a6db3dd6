"""Spans to store: small builders with a default for every field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from airboss.domain.ports import JournalMove
from airboss.domain.record import EXTERNAL
from airboss.store.span_rows import Span
from tests.store.samples import SEGMENT, START, call_id, record_json

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(number: int, parent: int | None = None, **fields: Any) -> Span:
    """Span `number`, begun so many seconds after START."""
    given: dict[str, Any] = {
        "id": call_id(number),
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": f"{parent:016x}" if parent is not None else None,
        "name": f"span {number}",
        "kind": "other",
        "service": "bot",
        "started_at": START + timedelta(seconds=number),
        "duration_ms": 100.0,
        "key": "team-a",
        "attributes": msgspec.Raw(b'{"a":1}'),
        "events": msgspec.Raw(b"[]"),
    }
    return Span(**{**given, **fields})


def llm(number: int, parent: int | None = None, **fields: Any) -> Span:
    """Span `number`, which tells of a model call."""
    call = record_json(
        number,
        arm=EXTERNAL,
        deployment="otlp:bot",
        trace_id=fields.get("trace_id", TRACE),
        started_at=fields.get("started_at", START + timedelta(seconds=number)),
        user=fields.get("user"),
    )
    return span(number, parent, kind="llm", call=msgspec.Raw(call), **fields)


def span_move(*spans: Span, start: int = 0, **fields: Any) -> JournalMove:
    """A move of spans, in 100 bytes each."""
    return JournalMove(
        segment=SEGMENT,
        start=start,
        end=start + 100 * len(spans),
        spans=tuple(map(msgspec.json.encode, spans)),
        moved_at=START,
        **fields,
    )
