"""Tables as files to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from airboss.store.csv_cells import cell

CSV: Final = "text/csv; charset=utf-8"
PARQUET: Final = "application/vnd.apache.parquet"


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
    """A table as CSV with a head. Milliseconds have what is measured, microseconds; no number has what only
    adding up in binary made of it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([cell(_rounded(name, row[name])) for name in table.columns])
    return out.getvalue().encode("utf-8", "backslashreplace")


def _rounded(name: str, value: object) -> object:
    if not isinstance(value, float):
        return value
    return round(value, 3) if name.endswith("_ms") else float(f"{value:.12g}")
