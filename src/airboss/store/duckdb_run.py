"""How statements are run on DuckDB, for every module that keeps something there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

import duckdb

Connection = duckdb.DuckDBPyConnection

ENGINE: Final = duckdb.__version__
"""Whose hashes are kept: another's may differ."""
PARSED_MAX: Final = 256
NEAR_MS = 3_600_000
"""Ids whose times lie closer together than this are looked for at once."""

_parsed: dict[str, duckdb.Statement] = {}


@cache
def query(name: str) -> str:
    """The text of a named query."""
    return (resources.files("airboss.store") / "queries" / f"{name}.sql").read_text()


def execute(connection: Connection, text: str, asked: list[Any] | dict[str, Any] | None = None) -> Connection:
    """Begin a statement, whose rows the caller reads to their end. Its text is parsed once a process: a long
    question takes DuckDB 5 to 12 ms each time."""
    statement = _parsed.get(text)
    if statement is None:
        statements = connection.extract_statements(text)
        if len(statements) != 1:  # a migration
            return connection.execute(text, asked)
        if len(_parsed) >= PARSED_MAX:
            _parsed.clear()
        (statement,) = statements
        _parsed[text] = statement
    return connection.execute(statement, asked)


def run(connection: Connection, text: str, asked: list[Any] | dict[str, Any] | None = None) -> list[Any]:
    """Run a statement to its end and return its rows: DuckDB 2 hands rows out while it still works, and one
    that nobody reads keeps the connection busy."""
    return execute(connection, text, asked).fetchall()


def let_go(connection: Connection) -> None:
    """Close it. While a question to a cursor of its is answered DuckDB refuses to: it ends with that."""
    with suppress(duckdb.ResourceInUseException):
        connection.close()


def reach(connection: Connection, table: str) -> tuple[int, datetime | None]:
    """Before which `seq` records are in the sums of this table, and from which day on these are there."""
    asked = {"name": table}
    ((seq, since),) = run(connection, "select seq, since from summed_people where name = $name", asked)
    return seq, since


def append(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows of all of the table's columns. An appender that fails still holds its rows: drop them."""
    with connection.appender(table) as appender:
        try:
            appender.append_rows(rows)
            appender.flush()
        except BaseException:
            appender.clear()
            raise


def run_by_ids(connection: Connection, name: str, ids: Collection[str], **filled: str) -> Iterator[Any]:
    """The rows of a named query that takes `first`, `last` and `ids`, asked once for every run of ids (UUID
    version 7) that are near each other in time: one that spans months would read all that lies between.
    `filled` is what fills the query's own places."""
    text = query(name).format(**filled) if filled else query(name)
    ordered = sorted(ids)
    start = 0
    for at in range(1, len(ordered) + 1):
        if at == len(ordered) or _millisecond(ordered[at]) - _millisecond(ordered[at - 1]) > NEAR_MS:
            group = ordered[start:at]
            yield from run(connection, text, {"first": group[0], "last": group[-1], "ids": group})
            start = at


def _millisecond(uuid7: str) -> int:
    """The time in an id; 0 where there is none, as in a text that is no id."""
    try:
        return int(uuid7[:8] + uuid7[9:13], 16)
    except ValueError:
        return 0
