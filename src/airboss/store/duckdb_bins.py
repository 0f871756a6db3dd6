"""What calls are summed up to in the record log's DuckDB file, with histograms."""

from __future__ import annotations

from typing import Final

from airboss.store.duckdb_run import query
from airboss.store.rollups import GROWTH, LEAST

BINNED: Final = {"latency": "latency_ms", "ttft": "ttft_ms", "cost": "cost_usd * 1e6"}
"""What histograms are of."""


def bin_of(column: str) -> str:
    """The bin that a value lies in."""
    return f"round(ln(greatest({column}, {LEAST})) / ln({GROWTH}))::smallint"


def numbers() -> str:
    """The numbers of a sum of records."""
    return query("roll_up_numbers").format(**{name: bin_of(column) for name, column in BINNED.items()})
