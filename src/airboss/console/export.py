"""Tables as files to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

CSV: Final = "text/csv; charset=utf-8"
PARQUET: Final = "application/vnd.apache.parquet"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the begin of a formula."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, all with these columns, which have the types of their values."""

    columns: dict[str, type]
    rows: Sequence[Mapping[str, object]]


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is a file."""

    content: bytes
    media_type: str
    name: str


def as_csv(table: Table) -> bytes:
    """A table as CSV with a head, times in RFC 3339. A text that a spreadsheet would run as a formula gets a
    quote before it: names in it are anybody's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_cell(row[name]) for name in table.columns])
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
