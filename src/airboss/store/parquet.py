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


def as_parquet(columns: Mapping[str, type], rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows with these columns as a Parquet file; times are UTC. Its types are those of the columns, whatever
    the rows hold, so that files of several days can be read together."""
    with tempfile.TemporaryDirectory(prefix="airboss-") as folder, duckdb.connect() as connection:
        path = Path(folder, "table.parquet")
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in columns}
        shape = ", ".join(f"{quoted[name]} {_TYPES[kind]}" for name, kind in columns.items())
        connection.execute(f"create table usage ({shape})")
        if rows:
            append(connection, "usage", [tuple(_value(row[name]) for name in columns) for row in rows])
        connection.execute(f"copy usage to '{path}' (format parquet)")
        return path.read_bytes()


def _value(value: object) -> Any:
    return naive(value) if isinstance(value, datetime) else value
