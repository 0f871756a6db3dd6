"""How the record log's DuckDB file is opened and its schema brought forward, and what keeps it from that."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

import duckdb

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.store.duckdb_run import Connection, run
from airboss.store.rows import naive

DAMAGE: Final = (duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)
DAMAGED: Final = ("Corrupt", "not a valid DuckDB", "Could not read enough bytes")
"""What DuckDB says of a file that is none of its own any more."""


def unopened(path: Path, error: duckdb.Error) -> StoreUnavailable:
    """What keeps this file from being opened, and the next step."""
    wal, why = f"{path}.wal", " ".join(str(error).split())[:600]  # a fatal one has a trace of C++ behind it
    if "set lock on file" in why:
        return StoreUnavailable(
            f"{path} is open in another process: stop that Airboss, or ask it instead ({why})"
        )
    if isinstance(error, DAMAGE) or any(words in why for words in DAMAGED):
        damaged, rest = (wal, "without it") if wal in str(error) else (f"{path}", "anew")
        advice = f"put a copy of the data directory back, or move that file away to begin {rest}"
        return StoreUnavailable(f"{damaged} is damaged: {advice} ({why})")
    return StoreUnavailable(f"{path} cannot be opened: {why}")


def migrate(connection: Connection, path: Path) -> None:
    """Bring the schema forward, one numbered file and one transaction at a time; never back."""
    run(
        connection,
        "create table if not exists schema_migrations"
        " (number integer primary key, name varchar not null, applied_at timestamp not null)",
    )
    ((done,),) = run(connection, "select coalesce(max(number), 0) from schema_migrations")
    folder = resources.files("airboss.store") / "schema"
    files = {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
    if done > len(files):
        raise SetupError(
            f"{path} has schema {done}, this Airboss knows up to {len(files)}: install the one that wrote it"
        )
    for number, name in enumerate(sorted(files)[done:], start=done + 1):
        connection.begin()
        run(connection, files[name])
        applied = [number, name, naive(datetime.now(UTC))]
        run(connection, "insert into schema_migrations values (?, ?, ?)", applied)
        connection.commit()
