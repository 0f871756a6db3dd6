"""Small tables as Parquet, by DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from airboss.store.duckdb_run import append
from airboss.store.rows import naive

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double",
    datetime: "timestamp",
    str: "varchar",
}


def as_parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows, all with the same columns, as a Parquet file; times are UTC. A column without a value is text."""
    with tempfile.TemporaryDirectory(prefix="airboss-") as folder, duckdb.connect() as connection:
        path = Path(folder, "table.parquet")
        columns = list(rows[0]) if rows else ["nothing"]
        kinds = [_type(rows, name) for name in columns]
        quoted = ['"' + name.replace('"', '""') + '"' for name in columns]
        shape = ", ".join(f"{name} {kind}" for name, kind in zip(quoted, kinds, strict=True))
        connection.execute(f"create table usage ({shape})")
        append(connection, "usage", [tuple(map(_value, row.values())) for row in rows])
        connection.execute(f"copy usage to '{path}' (format parquet)")
        return path.read_bytes()


def _type(rows: Sequence[Mapping[str, object]], name: str) -> str:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if kinds == {int, float}:
        return "double"
    return _TYPES[kinds.pop()] if len(kinds) == 1 else "varchar"


def _value(value: object) -> Any:
    return naive(value) if isinstance(value, datetime) else value
