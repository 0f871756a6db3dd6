"""The ledger's schema: what the migrations make is what the code asks for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from airboss.store import ledger_open, ledger_rows, ledger_sqlite, ledger_tables
from airboss.store.ledger import SqlLedger
from tests.store.ledgers import KINDS, empty_url, plan

VERSIONS = Path(ledger_open.__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """The migrations."""
    config = Config()
    config.set_main_option("script_location", str(VERSIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


@pytest.mark.parametrize("way", ["_make", "_migrate"])
def test_migrations_make_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A migrated database and the tables in the code are the same, types and nulls included; so is a new one,
    which is made without migrations."""
    monkeypatch.setattr(ledger_open, "_make", getattr(ledger_open, way))
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    SqlLedger(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, ledger_tables.metadata) == []
        assert set(inspect(connection).get_table_names()) == {
            *ledger_tables.metadata.tables,
            "alembic_version",
        }
    engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_ledger_is_what_the_migrations_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every column, index and key, and the first rows."""
    found = []
    for way in ("_make", "_migrate"):
        monkeypatch.setattr(ledger_open, "_make", getattr(ledger_open, way))
        (tmp_path / way).mkdir()
        found.append(described(SqlLedger(empty_url(kind, tmp_path / way))))
    assert found[0] == found[1]
    assert len(found[0]) > len(ledger_tables.metadata.tables)


def described(ledger: SqlLedger) -> list[str]:
    """All that is in its database."""
    columns = "table_name, column_name, data_type, is_nullable, column_default, character_maximum_length"
    asked = [
        f"SELECT {columns} FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint",
    ]
    if ledger._engine.dialect.name == "sqlite":
        asked = ["SELECT type, name, tbl_name, sql FROM sqlite_master"]
    asked += ["SELECT * FROM revision", "SELECT * FROM alembic_version"]
    with ledger._engine.connect() as connection:
        rows = [row for each in asked for row in connection.exec_driver_sql(each)]
    ledger.close()
    return sorted(str([clauses(each) for each in row]) for row in rows)


def clauses(value: object) -> object:
    """Of an SQL text what it has between commas, in order: SQLite writes a column that was added behind the
    keys, and one that was there from the start before them."""
    if not isinstance(value, str):
        return value
    text = "".join(value.split())
    return sorted(text.removesuffix(")").split(",")) if text.startswith("CREATETABLE") else text


def test_the_schema_that_is_looked_for_is_the_newest_migration() -> None:
    """SCHEMA names the head, and there is one line of migrations, in order of their names."""
    assert scripts().get_current_head() == ledger_rows.SCHEMA
    revisions = [script.revision for script in scripts().walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


def test_migrations_only_go_forward() -> None:
    """No migration can be undone: an older program refuses a newer ledger instead."""
    assert not [script for script in scripts().walk_revisions() if hasattr(script.module, "downgrade")]


def test_an_opened_ledger_is_durable_and_does_not_block_readers(tmp_path: Path) -> None:
    """Every connection writes ahead, syncs each commit, and waits for others."""
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with ledger._engine.connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    ledger.close()
    assert asked == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": ledger_sqlite.BUSY_TIMEOUT_MS}


def test_an_up_to_date_ledger_opens_without_alembic_and_quickly(tmp_path: Path) -> None:
    """A gateway pays neither for the migrations nor for their library."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    SqlLedger(url).close()
    code = (
        "import sys, time\n"
        "from airboss.store.ledger import SqlLedger\n"
        "started = time.process_time()\n"
        f"ledger = SqlLedger({url!r}); ledger.snapshot(); ledger.close()\n"
        "print(time.process_time() - started, 'alembic' in sys.modules)\n"
    )
    best = 9.0
    for _ in range(3):  # others may be using the processor
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
        )
        seconds, alembic = done.stdout.split()
        assert alembic == "False"
        best = min(best, float(seconds))
        if best < 0.15:
            break
    assert best < 0.15


def test_asking_for_the_revision_is_cheap(tmp_path: Path) -> None:
    """Gateways ask four times a second: a thousand times take under a second."""
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.publish("x", plan())
    started = time.process_time()
    for _ in range(1000):
        ledger.revision()
    assert time.process_time() - started < 1.0
    ledger.close()


@pytest.mark.parametrize("way", ["_make", "_migrate"])
def test_a_schema_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Half a schema is never left behind: the next start tries again from the beginning."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    make = getattr(ledger_open, way)

    def broken(connection: object) -> None:
        make(connection)
        raise RuntimeError("the power went")

    monkeypatch.setattr(ledger_open, "_make", broken)
    with pytest.raises(RuntimeError):
        SqlLedger(url)
    monkeypatch.setattr(ledger_open, "_make", make)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    ledger = SqlLedger(url)
    assert ledger.publish("x", plan()).number == 1
    ledger.close()
