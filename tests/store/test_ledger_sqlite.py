"""A plan read from a ledger's file without what opens a ledger is what the ledger says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from airboss.compose.parts import open_plans
from airboss.domain.errors import SetupError
from airboss.domain.plan import Named
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_sqlite import SqlitePlans
from airboss.store.ledger_trouble import LedgerTrouble
from airboss.store.ledger_url import file_of, url_of
from airboss.store.plan_source import PlanSource
from tests.store.ledgers import deployment, key, plan
from tests.store.test_opened_file import AWAY
from tests.support.kept_keys import put_key

ASKED: tuple[Callable[[PlanSource], object], ...] = (
    lambda plans: plans.revision(),
    lambda plans: plans.snapshot(),
    lambda plans: plans.config(),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger without a plan, in a folder whose name is no URL."""
    found = tmp_path / "50%20 #1" / "ledger.db"
    found.parent.mkdir()
    SqlLedger(url_of(found)).close()
    return found


@pytest.fixture
def plans(file: Path) -> Iterator[SqlitePlans]:
    """The plan in it."""
    with closing(SqlitePlans(file)) as opened:
        yield opened


def test_it_reads_what_the_ledger_says(file: Path, plans: SqlitePlans) -> None:
    """Before a plan, and after each change: keys and plans that are kept in other words than theirs, too."""
    url = url_of(file)
    assert file_of(f"{url}?timeout=5") == file
    named = replace(deployment("d"), always=Named(users=("a",)))
    changes: tuple[Callable[[SqlLedger], object], ...] = (
        lambda _: None,
        lambda ledger: ledger.publish("one", plan()),
        lambda ledger: ledger.publish("two", plan(deployment("a"), named)),
        lambda ledger: put_key(ledger, replace(key("b"), sources=("10.0.0.0/8",))),
        lambda ledger: put_key(ledger, key("a")),
    )
    with closing(SqlLedger(url)) as ledger:
        for change in changes:
            change(ledger)
            assert [ask(plans) for ask in ASKED] == [ask(ledger) for ask in ASKED]
    found = plans.snapshot()
    assert found is not None
    assert ([each.name for each in found.keys], found.revision, plans.config()) == (["a", "b"], 4, "two")


def test_it_does_not_wait_for_a_writer(file: Path, plans: SqlitePlans) -> None:
    """Nor does a writer for it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE revision SET value = 99")
        assert plans.revision() == 0
        writer.execute("COMMIT")
    assert plans.revision() == 99


def test_what_is_read_is_of_one_moment(file: Path, plans: SqlitePlans) -> None:
    """A plan that is published amid a reading is of the next one: no plan comes with another's keys."""
    asked = "SELECT value FROM revision"
    with closing(SqlLedger(url_of(file))) as ledger, plans._reading() as column:
        before = column(asked)
        ledger.publish("one", plan())
        assert column(asked) == before
    assert plans.revision() == before[0] + 1


@pytest.mark.parametrize("what", AWAY)
def test_a_file_that_is_gone_is_told(file: Path, plans: SqlitePlans, what: str) -> None:
    """To who asks, until it is back."""
    own = file.with_name("own")
    own.hardlink_to(file)
    AWAY[what](file)
    for ask in ASKED:
        with pytest.raises(SetupError, match=f"the ledger {file} was {what} while Airboss had it open"):
            ask(plans)
    own.replace(file)
    assert plans.revision() == 0


@pytest.mark.parametrize(
    ("edit", "kind", "told"),
    [
        ("UPDATE plans SET content = '{}'", SetupError, "has a row that no Airboss of this version wrote"),
        ("UPDATE plans SET content = CAST(x'ff' AS TEXT)", LedgerTrouble, "Could not decode to UTF-8"),
        ("DROP TABLE plans", LedgerTrouble, "no such table: plans; it is damaged: put a copy"),
    ],
)
def test_what_was_edited_is_told(
    file: Path, plans: SqlitePlans, edit: str, kind: type[Exception], told: str
) -> None:
    """As the ledger tells it, and it is read again once it is as it was."""
    with closing(SqlLedger(url_of(file))) as ledger:
        ledger.publish("one", plan())
        before = plans.snapshot()
        with closing(sqlite3.connect(file)) as theirs, theirs:
            kept = theirs.execute("SELECT * FROM plans").fetchall()
            made = theirs.execute("SELECT sql FROM sqlite_master WHERE name = 'plans'").fetchone()[0]
            theirs.execute(edit)
        said = []
        for source in (plans, ledger):
            with pytest.raises(SetupError, match=told) as caught:
                source.snapshot()
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]
        assert said[0][0] is kind
        with closing(sqlite3.connect(file)) as theirs, theirs:
            theirs.execute("DROP TABLE IF EXISTS plans")
            theirs.execute(made)
            theirs.executemany("INSERT INTO plans VALUES (?, ?, ?, ?)", kept)
    assert plans.snapshot() == before


def test_a_ledger_that_is_not_of_this_version_is_not_read(tmp_path: Path) -> None:
    """One of a newer Airboss, or that was moved away, is refused as it is by who opens a ledger; where there
    is none yet an empty one is made."""
    data = DataDir(tmp_path)
    data.create()
    with open_plans(data) as plans:
        assert plans.config() is None
    for schema, told in (("9999", "written by a newer Airboss"), ("moved", "was moved to another database")):
        with closing(sqlite3.connect(data.ledger_path)) as theirs, theirs:
            theirs.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        with pytest.raises(SetupError, match=told), open_plans(data):
            pass
