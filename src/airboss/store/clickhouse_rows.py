"""A call as rows of ClickHouse's tables, and back: the forms that JSON has for what the columns hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from airboss.domain.record import InferenceRecord
from airboss.store.clickhouse_http import moment, stamp
from airboss.store.joining import StoredRecord
from airboss.store.rows import COLUMNS, from_row, plain, record_row

RECORD_COLUMNS: Final = ("seq", *COLUMNS, "move")
BODY_COLUMNS: Final = ("id", "started_at", "request", "response")
PENDING_COLUMNS: Final = ("id", "segment", "opened", "done")
_FLOATS: Final = tuple(COLUMNS.index(name) + 1 for name in ("latency_ms", "ttft_ms", "overhead_ms"))
_INTEGERS: Final = tuple(
    COLUMNS.index(name)
    for name in (
        *("plan", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"),
        "cache_write_tokens",
        "output_chars",
    )
)
_STARTED: Final = COLUMNS.index("started_at") + 1
_COST: Final = COLUMNS.index("cost_usd") + 1
COST_DIGITS: Final = Decimal("1e-12")
COST_MAX: Final = Decimal(10**6)


def row_of(seq: int, record: StoredRecord, move: int) -> tuple[Any, ...]:
    """The row of `records` that a record is. Raises ValueError for a number that no column holds: here, since
    the server would refuse the whole move, or take the number for another."""
    values = list(record_row(seq, record))
    values[_STARTED] = stamp(record.started_at)
    for place in _INTEGERS:
        number = values[place + 1]
        if number is not None and not -(2**63) <= number < 2**63:
            raise ValueError(f"{record.id}: {COLUMNS[place]} is {number}, more than 64 bits hold")
    if record.cost_usd is not None:
        if not record.cost_usd.is_finite() or abs(record.cost_usd) >= COST_MAX:
            raise ValueError(f"{record.id}: cost_usd is {record.cost_usd}, of less than {COST_MAX}")
        values[_COST] = f"{record.cost_usd.quantize(COST_DIGITS):f}"
    return (*values, move)


def body_of(record: StoredRecord) -> tuple[str, str, str, str] | None:
    """The row of `bodies` that holds a record's; None where it has none."""
    request, response = (
        "" if text == "null" else text
        for text in (str(record.request, "utf-8"), str(record.response, "utf-8"))
    )
    return (record.id, stamp(record.started_at), request, response) if request or response else None


def record_of(row: Sequence[Any], bodies: tuple[str | None, str | None]) -> InferenceRecord:
    """A row of `list` as a record."""
    values = list(row)
    values[_STARTED] = moment(values[_STARTED])
    if values[_COST] is not None:
        values[_COST] = Decimal(values[_COST])
    for place in _FLOATS:
        if values[place] is not None:
            values[place] = float(values[place])
    return from_row(tuple(values), *bodies)


def started(row: Sequence[Any]) -> datetime:
    """When the call of a row of `list` began."""
    return moment(row[_STARTED])


def money(text: str | None) -> Decimal | None:
    """A sum of costs."""
    return plain(Decimal(text)) if text is not None else None
