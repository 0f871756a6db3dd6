"""A ledger moved to another database: whole or not at all, to an empty one alone, and then left for good."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Boolean, Column, Integer, LargeBinary, event, insert, inspect, select, text

from airboss.domain.errors import SetupError
from airboss.store import ledger_move
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_lead import leading
from airboss.store.ledger_move import MOVE, MovableLedger, check_database
from airboss.store.ledger_open import engine_on
from airboss.store.ledger_rows import SCHEMA
from airboss.store.ledger_tables import audit_head, audit_leaves, metadata, schema_version
from tests.store.ledgers import KINDS, empty_url, key, plan, url
from tests.support.kept_keys import put_key

ROWS = 7
WORDS = ("", "ü", "a'b\"c\\d", "\U0001f6eb\u2028\n", "%s :name {0}", "NULL", "0.1")


def value(column: Column[Any], number: int, rng: random.Random) -> Any:
    """Something that such a column may have; another one for each number where it must be."""
    if isinstance(column.type, Boolean):
        return rng.random() < 0.5
    if isinstance(column.type, Integer):
        return number if column.primary_key else rng.choice([0, -1, 2**63 - 1])
    if isinstance(column.type, LargeBinary):
        return rng.randbytes(rng.choice([0, 1, 300]))
    if column.nullable and rng.random() < 0.3:
        return None
    return f"{rng.choice(WORDS)}{number}"


def fill(address: str, seed: int, rows: int = ROWS) -> None:
    """Rows in every table, of a log of so many leaves."""
    rng = random.Random(seed)
    with closing(SqlLedger(address)) as ledger, ledger._writer.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name == "revision":
                connection.execute(table.update().values(value=2**40))
                continue
            count = 1 if table is audit_head else rows
            for number in range(count):
                row = {each.name: value(each, number, rng) for each in table.c}
                row |= {"size": count, "root": f"root {rows - 1}"} if table is audit_head else {}
                row |= {"root": f"root {number}"} if table is audit_leaves else {}
                connection.execute(insert(table).values(**row))
        connection.execute(audit_head.update().values(size=rows))


def held(address: str, kind: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    found = {}
    with closing(MovableLedger(address)) as ledger, ledger._engine.connect() as connection:
        assert ledger._engine.dialect.name == kind
        for table in metadata.sorted_tables:
            rows = connection.execute(select(table)).all()
            found[table.name] = sorted(map(repr, rows))
    return found


def sealing(target: MovableLedger, rows: int = ROWS) -> Any:
    """Adds the leaf that ends a move."""

    def seal() -> None:
        with target._write() as connection:
            leaf = {"number": rows, "at": "", "action": MOVE, "content": "{}", "root": "root"}
            connection.execute(insert(audit_leaves).values(**leaf))

    return seal


def quietly(_done: int, _total: int) -> None:
    """Nobody is told."""


@contextmanager
def two(source: str, target: str) -> Iterator[tuple[MovableLedger, MovableLedger]]:
    """Both opened."""
    with closing(MovableLedger(source)) as here, closing(MovableLedger(target)) as there:
        yield here, there


def moved(source: str, target: str) -> Mapping[str, ledger_move.TableMoved]:
    """Moved, from an address to another."""
    with two(source, target) as (here, there):
        return here.move_to(there, tell=quietly, seal=sealing(there))


def places(tmp_path: Path, *kinds: str) -> list[str]:
    """Folders of their own."""
    for at, _ in enumerate(kinds):
        (tmp_path / str(at)).mkdir()
    return [url(kind, tmp_path / str(at)) for at, kind in enumerate(kinds)]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_every_row_of_every_table_is_there(tmp_path: Path, source: str, target: str) -> None:
    """As it was, whatever stands in it; the old one is opened by nobody any more."""
    here, there = places(tmp_path, source, target)
    seed = 20_261_130
    fill(here, seed)
    before = held(here, source)
    assert all(before.values()), "a table without rows shows nothing"
    tables = moved(here, there)
    after = held(there, target)
    [leaf] = set(after["audit_leaves"]) - set(before["audit_leaves"])
    assert MOVE in leaf
    after["audit_leaves"].remove(leaf)
    assert after == before, f"seed {seed}"
    assert {name: each.rows for name, each in tables.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert held(here, source) == before
    with pytest.raises(SetupError, match="was moved to another database by `airboss ledger move`"):
        SqlLedger(here)
    SqlLedger(there).close()


@pytest.mark.parametrize("target", KINDS)
def test_a_moved_ledger_goes_on_where_it_was(tmp_path: Path, target: str) -> None:
    """New rows get numbers after the old ones, plans too."""
    here, there = places(tmp_path, "sqlite", target)
    fill(here, 1)
    with closing(SqlLedger(here)) as ledger, ledger._writer.begin() as connection:
        connection.execute(text("DELETE FROM plans"))
    with closing(SqlLedger(here)) as ledger:
        assert [ledger.publish("x", plan()).number for _ in range(3)] == [1, 2, 3]
    moved(here, there)
    with closing(SqlLedger(there)) as ledger:
        assert ledger.publish("y", plan()).number == 4
        with ledger._writer.begin() as connection:
            for table in metadata.sorted_tables:
                column = table.autoincrement_column
                if column is None:
                    continue
                row = {c.name: value(c, 99, random.Random(2)) for c in table.c if c is not column}
                made = connection.execute(insert(table).values(**row)).inserted_primary_key
                assert made is not None
                assert made[0] == ROWS, table.name


def test_many_rows_of_every_size_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages hold as many rows as fit, and one at least."""
    monkeypatch.setattr(ledger_move, "PAGE_CHARS", 10_000)
    here, there = places(tmp_path, "sqlite", "postgresql")
    fill(here, 3)
    seen: list[int] = []
    with closing(SqlLedger(here)) as ledger, ledger._writer.begin() as connection:
        kept = [{"name": f"v{n}", "content": "x" * (25_000 if n == 7 else 10)} for n in range(50)]
        connection.execute(text("INSERT INTO saved_views VALUES (:name, :content)"), kept)
        kept = [{"name": f"v{n}", "content": "x" * 1_000} for n in range(50)]
        connection.execute(text("INSERT INTO drifts VALUES (:name, :content)"), kept)
        for name, most in (("saved_views", 1), ("drifts", 9), ("plans", 500)):
            sizes = [len(page) for page in ledger_move._pages(connection, metadata.tables[name])]
            assert max(sizes) <= most, name
            assert sum(sizes) == (ROWS if name == "plans" else 50 + ROWS)
    with two(here, there) as (source, target):
        source.move_to(target, tell=lambda done, total: seen.extend((done, total)), seal=sealing(target))
    assert seen[-1] == seen[-2] == max(seen)


def test_names_with_nul_are_kept_as_postgresql_can(tmp_path: Path) -> None:
    """By the symbol, as where they are written at first."""
    here, there = places(tmp_path, "sqlite", "postgresql")
    fill(here, 4)
    with closing(SqlLedger(here)) as ledger, ledger._writer.begin() as connection:
        connection.execute(audit_leaves.update().values(at="a\0b"))
    moved(here, there)
    with closing(SqlLedger(there)) as ledger, ledger._engine.connect() as connection:
        found = set(connection.execute(select(audit_leaves.c.at)).scalars())
    assert found == {"a\N{SYMBOL FOR NULL}b", ""}


@pytest.mark.parametrize("kind", KINDS)
def test_only_an_empty_one_is_moved_to(tmp_path: Path, kind: str) -> None:
    """What stands there is told, and stays; so does what was to be moved."""
    here, there = places(tmp_path, "sqlite", kind)
    fill(here, 5)
    with closing(SqlLedger(there)) as ledger:
        ledger.publish("theirs", plan())
        put_key(ledger, key("theirs"))
    before = held(there, kind)
    with pytest.raises(SetupError, match=r"is not empty: it has rows in .*keys \(1\).*plans \(1\)"):
        moved(here, there)
    assert held(there, kind) == before
    SqlLedger(here).close()
    with pytest.raises(SetupError, match="is not empty"):
        moved(here, here)


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_of_others_is_none(tmp_path: Path, kind: str) -> None:
    """Nothing is made among their tables."""
    address = empty_url(kind, tmp_path)
    engine = engine_on(address)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    with pytest.raises(SetupError, match=r"has tables of others \(orders\)"):
        check_database(address)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["orders"]
    engine.dispose()
    check_database(
        url("sqlite", tmp_path / "..") if kind == "postgresql" else f"sqlite:///{tmp_path / 'new'}"
    )


def test_a_file_that_is_made_is_nobody_elses(tmp_path: Path) -> None:
    """Digests of keys are in it. Where its folder is missing that is told."""
    check_database(f"sqlite:///{tmp_path / 'ledger'}")
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SetupError, match="make its folder"):
        check_database(f"sqlite:///{tmp_path / 'nowhere' / 'ledger'}")


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("at", ["rows", "seal"])
def test_what_fails_leaves_both_as_they_were(tmp_path: Path, target: str, at: str) -> None:
    """And can be done again."""
    here, there = places(tmp_path, "sqlite", target)
    fill(here, 6)

    def fail(done: int = 0, total: int = 0) -> None:
        if at == "seal" or done > total / 2:
            raise SetupError("the power went")

    with two(here, there) as (source, into), pytest.raises(SetupError, match="the power went"):
        source.move_to(into, tell=fail if at == "rows" else quietly, seal=fail)
    assert not any(rows for name, rows in held(there, target).items() if name != "revision")
    SqlLedger(here).close()
    assert moved(here, there)


def test_what_comes_to_be_another_one_is_not_kept(tmp_path: Path) -> None:
    """Where the server writes something else than it was given, nothing is moved."""
    here, there = places(tmp_path, "sqlite", "postgresql")
    fill(here, 7)
    with psycopg.connect(there, autocommit=True) as server:
        server.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.wrapped := NEW.wrapped || '\\x00'; RETURN NEW; END $$"
        )
        server.execute(
            "CREATE TRIGGER spoils BEFORE INSERT ON body_keys FOR EACH ROW EXECUTE FUNCTION spoil()"
        )
    with pytest.raises(SetupError, match=r"the table body_keys is another one in .*: of 7 rows there are 7"):
        moved(here, there)
    assert not held(there, "postgresql")["plans"]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("marked", [False, True])
def test_a_move_that_ended_but_for_its_last_steps_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, *, marked: bool
) -> None:
    """All is there, and the old one is not marked yet, or is: nothing is copied again. Where the old one went
    on in between, or another one has it, that is no end of a move."""
    here, there = places(tmp_path, source, "postgresql")
    fill(here, 8)
    moved(here, there)
    if not marked:
        mark(here, SCHEMA)
    assert moved(here, there) == {}
    with pytest.raises(SetupError, match="was moved to another"):
        SqlLedger(here)
    (tmp_path / "more").mkdir()
    other = url("sqlite", tmp_path / "more")
    with pytest.raises(SetupError, match="was moved before, to another database"):
        moved(here, other)
    mark(here, SCHEMA)
    with closing(SqlLedger(here)) as ledger, ledger._writer.begin() as connection:
        connection.execute(audit_head.update().values(size=ROWS + 1, root="went on"))
    with pytest.raises(SetupError, match="is not empty"):
        moved(here, there)


def mark(address: str, version: str) -> None:
    """Write another schema's number."""
    with closing(MovableLedger(address)) as ledger, ledger._writer.begin() as connection:
        connection.execute(schema_version.update().values(version_num=version))


def test_nothing_is_moved_from_an_empty_one(tmp_path: Path) -> None:
    """It is said how to begin in the other one."""
    here, there = places(tmp_path, "sqlite", "postgresql")
    with pytest.raises(SetupError, match="is empty, so there is nothing to move"):
        moved(here, there)
    SqlLedger(here).close()


def test_others_that_are_connected_are_seen(tmp_path: Path) -> None:
    """A machine that has joined, before and after; who leads on it, to move it, is none."""
    here, there = places(tmp_path, "postgresql", "sqlite")
    fill(here, 9)
    with closing(SqlLedger(here)) as joined:
        joined.revision()
        with pytest.raises(SetupError, match=r"another Airboss is connected .*1 times.*stop every machine"):
            moved(here, there)
    late = SqlLedger(here)
    late._engine.dispose()

    def join(done: int, total: int) -> None:
        if done == total:
            late.revision()

    with (
        closing(late),
        two(here, there) as (source, target),
        pytest.raises(SetupError, match="another Airboss is connected"),
    ):
        source.move_to(target, tell=join, seal=sealing(target))
    assert not held(there, "sqlite")["plans"]
    with leading(here, broke=pytest.fail):
        assert moved(here, there)


def test_one_that_has_just_ended_is_nobody(tmp_path: Path) -> None:
    """Its server sees so a moment later, which is waited for."""
    here, there = places(tmp_path, "postgresql", "sqlite")
    fill(here, 9)
    ending = SqlLedger(here)
    ending.revision()

    def end(_connection: Any, _cursor: Any, asked: str, *_: Any) -> None:
        if "pg_sleep" in asked:
            ending.close()

    with two(here, there) as (source, target):
        event.listen(source._engine, "before_cursor_execute", end)
        assert source.move_to(target, tell=quietly, seal=sealing(target))
