"""A ledger moved to another database: all of it in one transaction there, and after that nobody opens the old
one any more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Table, delete, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import LargeBinary, String

from airboss.domain.errors import SetupError
from airboss.store.ledger_lead import LEADER
from airboss.store.ledger_open import MOVED, cannot, engine_on, named
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_postgres import take_long
from airboss.store.ledger_tables import audit_head, audit_leaves, metadata, revision, schema_version

MOVE: Final = "ledger.move"
"""The action of the leaf that ends a move, and is the first of what the old ledger has not."""
PAGE_ROWS: Final = 500
PAGE_CHARS: Final = 4 * 1024 * 1024
"""So much is in memory at a time, or one row."""
LOOKS: Final = 30
"""How often others are looked for, a tenth of a second apart: a server sees a moment later that one ended."""
STATEMENT_S: Final = 600
"""A page takes moments, but to count the rows of a table with much in it may take minutes."""

Tell = Callable[[int, int], object]
"""Called with how many rows are done, and how many there are: each is written and read back."""


class TableMoved(msgspec.Struct, frozen=True, kw_only=True):
    """What a table has, here and there: its rows, and the sum of their sha256 modulo 2^256, in hex, so that
    their order is of no account."""

    rows: int
    sha256: str


class MovableLedger(LedgerPart):
    """A ledger that is moved, or an empty one that another is moved to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, moved=True)
        self.name = named(self._engine.url)
        """What to call it: no password, no user."""

    def move_to(
        self, target: MovableLedger, *, tell: Tell, seal: Callable[[], None]
    ) -> Mapping[str, TableMoved]:
        """Move all of it, whole or not at all; what each table has, by name. Empty where all was there
        already, and a move only had to be ended that was killed on its last steps.

        `seal` is called within the target's transaction: it adds the leaf MOVE to the audit log, and raises
        where that is not valid. Raises SetupError, with both ledgers as they were.
        """
        with self._write() as leaving:
            _wait_long(leaving)
            check_alone(leaving, self.name)
            moved: Mapping[str, TableMoved] = {}
            if not target._goes_on_from(leaving):
                self._check_movable(leaving)
                target._check_empty()  # before its lock is taken, which it has itself where it is this one
                with target.together():
                    moved = target._take(leaving, tell)
                    seal()
                    check_alone(leaving, self.name)
            # Only when it is there whole: whoever still has this one open would go on in another history.
            leaving.execute(update(schema_version).values(version_num=MOVED))
        return moved

    def _check_movable(self, leaving: Connection) -> None:
        if leaving.execute(select(schema_version.c.version_num)).scalar() == MOVED:
            raise SetupError(
                f"the ledger {self.name} was moved before, to another database, and goes on there: name that"
                " one in [store] ledger, with the data directory that led on it"
            )
        if not _held(leaving):
            raise SetupError(
                f"the ledger {self.name} is empty, so there is nothing to move: name the other one in [store]"
                " ledger, and start"
            )

    def _goes_on_from(self, leaving: Connection) -> bool:
        """Whether this is the other one with a move's leaf after it, which stands in no ledger but whole."""
        head = leaving.execute(select(audit_head.c.size, audit_head.c.root)).first()
        if head is None:
            return False
        leaf = audit_leaves.c
        asked = select(leaf.root, leaf.action).where(leaf.number >= head.size - 1).order_by(leaf.number)
        with self._read() as here:
            found = here.execute(asked.limit(3)).all()
        return [each.root for each in found[:1]] == [head.root] and [e.action for e in found[1:]] == [MOVE]

    def _check_empty(self) -> None:
        with self._read() as here:
            held = _held(here)
        if held:
            there = ", ".join(f"{name} ({rows:,})" for name, rows in list(held.items())[:6])
            raise SetupError(
                f"the ledger {self.name} is not empty: it has rows in {there}. Make another database, empty,"
                " and name that; or, if nothing of this one is needed, make it anew"
            )

    def _take(self, leaving: Connection, tell: Tell) -> Mapping[str, TableMoved]:
        """Copy each table, and read it back."""
        with self._write() as here:
            _wait_long(here)
            self._check_empty()  # again, now that nobody else can write to it
            here.execute(delete(revision))
            tables = metadata.sorted_tables
            done, total = 0, 2 * sum(_count(leaving, table) for table in tables)
            moved = {}
            for table in tables:
                there = _Sum()
                for page in _pages(leaving, table):
                    here.execute(insert(table), [row._asdict() for row in page])
                    there.add(page)
                    done += len(page)
                    tell(done, total)
                kept = _Sum()
                for page in _pages(here, table):
                    kept.add(page)
                    done += len(page)
                    tell(done, total)
                if there.said() != kept.said():
                    raise SetupError(
                        f"the table {table.name} is another one in {self.name}: of {there.rows:,} rows there"
                        f" are {kept.rows:,}, or not the same. Nothing was moved; try again"
                    )
                _number_on(here, table)
                moved[table.name] = kept.said()
            return moved


def check_database(url: str) -> None:
    """Raise SetupError where a database has tables of others, or a SQLite's folder is not there. A file is
    made where there is none, which nobody else may read."""
    engine = engine_on(url)
    file = Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None
    try:
        if file is not None:
            file.touch(mode=0o600)
        with engine.connect() as connection:
            others = set(inspect(connection).get_table_names()) - {*metadata.tables, schema_version.name}
    except DBAPIError as error:
        raise cannot(error, engine) from error
    except OSError as error:
        raise SetupError(
            f"{file} cannot be made: {error.strerror}; make its folder, or name another"
        ) from error
    finally:
        engine.dispose()
    if others:
        there = ", ".join(sorted(others)[:6])
        raise SetupError(
            f"{named(engine.url)} has tables of others ({there}): make a database of its own for the ledger"
        )


def check_alone(connection: Connection, name: str) -> None:
    """Raise SetupError where another Airboss is connected to a PostgreSQL that this one leads on: a machine
    that has joined, say, which would go on with the old ledger. Of others' users the server may not tell."""
    if connection.dialect.name != "postgresql":
        return
    asked = text(
        "SELECT count(*), string_agg(DISTINCT coalesce(host(client_addr), 'a socket of its machine'), ', ')"
        " FROM pg_stat_activity AS other WHERE datname = current_database() AND application_name = 'airboss'"
        " AND pid <> pg_backend_pid() AND NOT EXISTS (SELECT FROM pg_locks WHERE pid = other.pid"
        " AND locktype = 'advisory' AND objid = :leader)"
    )
    for _ in range(LOOKS):
        # What it tells is of the transaction's first look otherwise.
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        count, places = connection.execute(asked, {"leader": LEADER}).one()
        if not count:
            return
        connection.execute(text("SELECT pg_sleep(0.1)"))
    raise SetupError(
        f"another Airboss is connected to the ledger {name} ({count} times, from {places}): stop every"
        " machine that has joined this one, then move it"
    )


class _Sum:
    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, page: Sequence[Row[Any]]) -> None:
        for row in page:
            digest = hashlib.sha256(msgspec.json.encode([_plain(each) for each in row])).digest()
            self._sum = (self._sum + int.from_bytes(digest)) % 2**256
        self.rows += len(page)

    def said(self) -> TableMoved:
        return TableMoved(rows=self.rows, sha256=f"{self._sum:064x}")


def _plain(value: Any) -> Any:
    """PostgreSQL's texts have no NUL: its symbol is written (`store.ledger_postgres`)."""
    return value.replace("\0", "\N{SYMBOL FOR NULL}") if isinstance(value, str) else value


def _pages(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    long = [each for each in table.c if isinstance(each.type, (String, LargeBinary))]
    lengths: Any = sum(func.coalesce(func.length(each), 0) for each in long)
    largest = connection.execute(select(func.max(lengths)).select_from(table)).scalar() or 1
    size = max(1, min(PAGE_ROWS, PAGE_CHARS // largest))
    with connection.execute(select(table), execution_options={"yield_per": size}) as found:
        yield from found.partitions()


def _held(connection: Connection) -> dict[str, int]:
    """How many rows there are in which table, where there are any that a new ledger has not."""
    counts = {each.name: _count(connection, each) for each in metadata.sorted_tables if each is not revision}
    return {name: rows for name, rows in counts.items() if rows}


def _count(connection: Connection, table: Table) -> int:
    rows: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return rows


def _number_on(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows from the last one on, as SQLite does by itself."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    sequence = func.pg_get_serial_sequence(table.name, column.name)
    connection.execute(select(func.setval(sequence, select(func.max(column)).scalar_subquery())))


def _wait_long(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        take_long(connection, STATEMENT_S)
        # The one waits for as long as the other one is written.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
