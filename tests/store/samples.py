"""Calls to store: small builders with a default for every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from airboss.domain.ports import JournalMove
from airboss.domain.record import Attempt, ClosedCall, InferenceRecord, OpenedCall
from airboss.store.joining import join, read_closed, read_opened

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
SEGMENT = "0-0190/000001"


def call_id(number: int) -> str:
    """An id of the right shape, later for a higher number."""
    return f"019a3f00-{number // 65536:04x}-7{number % 4096:03x}-8000-{number:012x}"


def opened(number: int, **fields: Any) -> OpenedCall:
    """Call `number`, begun that many seconds after START."""
    given: dict[str, Any] = {
        "id": call_id(number),
        "started_at": START + timedelta(seconds=number),
        "deployment": "assistant",
        "release": "d" * 64,
        "arm": "stable",
        "plan": 1,
        "model": "small",
        "provider": "local",
        "key": "team-a",
        "operation": "chat",
        "stream": True,
        "tags": {"team": "a"},
        "request": msgspec.Raw(b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'),
    }
    return OpenedCall(**{**given, **fields})


def closed(number: int, **fields: Any) -> ClosedCall:
    """How call `number` ended: well, after 100 ms."""
    given: dict[str, Any] = {
        "id": call_id(number),
        "status": "ok",
        "latency_ms": 100.0,
        "overhead_ms": 0.5,
        "ttft_ms": 20.0,
        "finish_reason": "stop",
        "input_tokens": 10,
        "output_tokens": 8,
        "cost_usd": Decimal("0.000123"),
        "output_chars": 30,
        "attempts": (
            Attempt(
                provider="local", model="small", url="http://127.0.0.1:1/v1", start_ms=0.1, latency_ms=99.0
            ),
        ),
        "response": msgspec.Raw(b'{"choices":[]}'),
    }
    return ClosedCall(**{**given, **fields})


def opened_json(number: int, **fields: Any) -> bytes:
    """The open frame of call `number`."""
    return msgspec.json.encode(opened(number, **fields))


def closed_json(number: int, **fields: Any) -> bytes:
    """The close frame of call `number`."""
    return msgspec.json.encode(closed(number, **fields))


_OPENED = set(OpenedCall.__struct_fields__)


def record_json(number: int, **fields: Any) -> bytes:
    """The record of call `number`; fields of either frame."""
    first = {name: value for name, value in fields.items() if name in _OPENED}
    then = {name: value for name, value in fields.items() if name not in _OPENED}
    whole = join(read_opened(opened_json(number, **first)), read_closed(closed_json(number, **then)))
    return msgspec.json.encode(whole)


def record(number: int, **fields: Any) -> InferenceRecord:
    """The same as a record log gives it back."""
    return msgspec.json.decode(record_json(number, **fields), type=InferenceRecord)


def move(*numbers: int, start: int = 0, segment: str = SEGMENT, **fields: Any) -> JournalMove:
    """A move of whole calls, in 100 bytes each."""
    return JournalMove(
        segment=segment,
        start=start,
        end=start + 100 * len(numbers),
        records=tuple(record_json(number, **fields) for number in numbers),
    )


def move_of(calls: Iterable[Mapping[str, Any]], first: int = 0) -> JournalMove:
    """A move of calls that differ, numbered from `first` on: one takes a store as long as a hundred."""
    records = tuple(record_json(number, **fields) for number, fields in enumerate(calls, first))
    start = 100 * first
    return JournalMove(segment=SEGMENT, start=start, end=start + 100 * len(records), records=records)
