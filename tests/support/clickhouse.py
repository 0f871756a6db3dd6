"""A ClickHouse for tests: chdb's engine behind HTTP, in an environment of its own, or a real one."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from airboss.config.clickhouse import read_url
from airboss.store.clickhouse_http import ClickHouse
from airboss.store.clickhouse_schema import migrate

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-clickhouse/bin/python"
URL_ENV = "AIRBOSS_TEST_CLICKHOUSE_URL"
"""Names a real ClickHouse; databases of random names are made there, and dropped."""

INTERPRETED = ("compile_expressions=0", "compile_aggregate_expressions=0", "compile_sort_description=0")
"""To compile what a question asks for takes longer than to work it out from as few rows as tests have."""

TABLES = (
    "select name, replaceAll(create_table_query, concat(database, '.'), ''),"
    " (select count() from system.mutations where database = currentDatabase())"
    " from system.tables where database = currentDatabase() order by engine = 'MaterializedView', name"
)
"""How each table is made, views last, and how often rows of any were changed."""
FILLED = (
    "select name from system.tables"
    " where database = $source and total_rows > 0 and name != 'schema_migrations'"
)
ATTACH = "alter table {name} attach partition all from {source}.{name}"


class House:
    """A ClickHouse that listens; `url` has no database in it. `real`: somebody's own."""

    def __init__(self, url: str, options: str, *, real: bool) -> None:
        self.url, self._options, self.real = url, options, real
        self._spare: str | None = None
        self._first = ""
        self._tables: list[list[Any]] = []

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database of its own, dropped at the end."""
        url = self._url()
        yield url
        with closing(ClickHouse(read_url(url))) as client:
            client.drop_database()

    @contextmanager
    def copied(self, full: str) -> Iterator[str]:
        """As `emptied`, with the rows of another: to write them takes twice as long."""
        with self.emptied() as url:
            with closing(ClickHouse(read_url(url))) as client:
                source = read_url(full).database
                for (name,) in client.rows(FILLED, {"source": source}):
                    client.run(ATTACH.format(name=name, source=source))
            yield url

    @contextmanager
    def emptied(self) -> Iterator[str]:
        """The URL of a database with every table and no row: the one that was used last, where its tables are
        as they were and no row was changed. To make tables takes longer than most tests."""
        if self.real:
            with self.database() as url, closing(ClickHouse(read_url(url))) as client:
                migrate(client)
                yield url
            return
        url, self._spare = self._spare or self._made(), None
        client = ClickHouse(read_url(url))
        try:
            yield url
            # What became of an insert whose rows were moved or rewritten is remembered by its token.
            if client.rows(TABLES) == self._tables:
                client.run(f"truncate tables from {client.server.database} not like 'schema_migrations'")
                self._spare = url
        finally:
            if self._spare is None:
                client.drop_database()
            client.close()

    def _made(self) -> str:
        """A new one with every table and no row: as the first was made, in half of the time."""
        url = self._url()
        with closing(ClickHouse(read_url(url))) as client:
            if not self._first:
                migrate(client)
                self._first, self._tables = client.server.database, client.rows(TABLES)
                return self._made()
            client.create_database()
            for _, made, _ in self._tables:
                client.run(made)
            client.run(ATTACH.format(name="schema_migrations", source=self._first))
        return url

    def _url(self) -> str:
        return f"{self.url}/airboss_{uuid.uuid4().hex}{self._options}"


@contextmanager
def house() -> Iterator[House]:
    """One for as long as this lasts."""
    real = os.environ.get(URL_ENV)
    if real is not None:
        base, _, options = real.partition("?")
        yield House(base.rstrip("/"), f"?{options}" if options else "", real=True)
        return
    if not PYTHON.exists():
        pytest.skip("no ClickHouse engine: run scripts/setup clickhouse, or set " + URL_ENV)
    with tempfile.TemporaryDirectory(prefix="ab-") as folder, front(Path(folder)) as url:
        yield House(url, "", real=False)


@contextmanager
def front(folder: Path, port: int = 0) -> Iterator[str]:
    """The engine on what is in a folder, on this port if it is not 0; killed at the end, as it may be at any
    moment."""
    with engine(folder, port, *INTERPRETED) as (url, _):
        yield url


@contextmanager
def engine(folder: Path, port: int = 0, *settings: str) -> Iterator[tuple[str, int]]:
    """As `front`, with settings of its own and the number of the engine's process."""
    script = Path(__file__).with_name("clickhouse_front.py")
    with subprocess.Popen(
        [PYTHON, str(script), str(folder), str(port), *settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            listens = process.stdout.readline().strip()
            assert listens, "the engine did not start"
            yield f"clickhouse://127.0.0.1:{listens}", process.pid
        finally:
            process.kill()
