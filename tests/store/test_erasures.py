"""People to forget, in the ledger: kept until done, and then without their names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from airboss.store import ledger_postgres
from airboss.store.erasures import SqlErasures
from tests.store.ledgers import url
from tests.support.files import holding

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
USER = "ann-unmistakable-7f3a"


@pytest.fixture
def store(address: str) -> Iterator[SqlErasures]:
    """An empty one."""
    made = SqlErasures(address)
    yield made
    made.close()


def test_an_erasure_is_pending_until_all_is_clean(store: SqlErasures) -> None:
    """Asked, found, finished: its counts add up, the user goes first, and it stays as a tombstone."""
    made = store.ask(USER, digest="d1", at=NOW, by="admin")
    assert (made.state, made.user, made.at, made.by) == ("pending", USER, NOW, "admin")
    assert [each.id for each in store.pending()] == [made.id]
    store.finish([made.id], NOW)
    assert store.pending(), "the user is still to be found"
    store.found(made.id, records=2, scores=1, items=3, names=0)
    store.found(made.id, records=1, scores=0, items=0, names=4)
    (half,) = store.pending()
    assert (half.user, half.state) == (None, "pending")
    store.finish([made.id], NOW + timedelta(seconds=9))
    done = store.get(made.id)
    assert done is not None
    assert (done.state, done.done_at) == ("done", NOW + timedelta(seconds=9))
    assert (done.records, done.scores, done.items, done.names) == (3, 1, 3, 4)
    assert list(store.pending()) == []
    assert list(store.newest(9)) == [done]


def test_somebody_asked_for_twice_is_forgotten_once(store: SqlErasures) -> None:
    """While it is pending the same row gets the newer time; done, a new one is made."""
    first = store.ask(USER, digest="d1", at=NOW, by="admin")
    again = store.ask(USER, digest="d1", at=NOW + timedelta(seconds=5), by="other")
    assert (again.id, again.at) == (first.id, NOW + timedelta(seconds=5))
    store.found(first.id, records=0, scores=0, items=0, names=0)
    assert store.ask(USER, digest="d1", at=NOW + timedelta(days=1), by="admin").id != first.id


def test_tombstones_are_read_again_only_when_they_have_changed(store: SqlErasures) -> None:
    """The newest time of each person, and a mark by which nothing new is told at once."""
    found = store.tombstones()
    assert found is not None
    mark, until = found
    assert until == {}
    assert store.tombstones(mark) is None
    made = store.ask(USER, digest="d1", at=NOW, by="admin")
    store.found(made.id, records=0, scores=0, items=0, names=0)
    store.ask(USER, digest="d1", at=NOW + timedelta(days=1), by="admin")
    store.ask("bob", digest="d2", at=NOW, by="admin")
    found = store.tombstones(mark)
    assert found is not None
    assert found[1] == {"d1": NOW + timedelta(days=1), "d2": NOW}
    assert store.tombstones(found[0]) is None


def test_a_cleaned_ledger_holds_no_name(tmp_path: Path) -> None:
    """Neither its file nor its write-ahead log."""
    store = SqlErasures(url("sqlite", tmp_path))
    made = store.ask(USER, digest="d1", at=NOW, by="admin")
    for number in range(50):
        other = store.ask(f"{USER}-{number}", digest=f"d-{number}", at=NOW, by="admin")
        store.found(other.id, records=0, scores=0, items=0, names=0)
    store.found(made.id, records=0, scores=0, items=0, names=0)
    assert holding(tmp_path, USER.encode())
    assert store.clean()
    assert holding(tmp_path, USER.encode()) == []
    assert len(store.newest(99)) == 51
    store.close()


def test_a_cleaned_database_holds_no_name(tmp_path: Path) -> None:
    """On PostgreSQL no table's file does."""
    address = url("postgresql", tmp_path)
    store = SqlErasures(address)
    made = store.ask(USER, digest="d1", at=NOW, by="admin")
    store.found(made.id, records=0, scores=0, items=0, names=0)
    with psycopg.connect(address, autocommit=True) as connection:

        def holds() -> bool:
            connection.execute("CHECKPOINT")
            said = "SELECT pg_read_binary_file(pg_relation_filepath('erasures'))"
            (data,) = connection.execute(said).fetchone() or (b"",)
            return USER.encode() in data

        assert holds()
        assert store.clean()
        assert not holds()
    store.close()


def test_a_ledger_in_use_is_cleaned_later(tmp_path: Path) -> None:
    """A long write elsewhere makes it say no, without harm."""
    address = url("sqlite", tmp_path)
    store, other = SqlErasures(address), SqlErasures(address)
    raw = store._engine.raw_connection()
    raw.cursor().execute("PRAGMA busy_timeout = 10")
    raw.close()
    with other._writer.begin():
        assert not store.clean()
    assert store.clean()
    store.close()
    other.close()


def test_a_database_in_use_is_cleaned_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So on PostgreSQL, where somebody reads."""
    monkeypatch.setattr(ledger_postgres, "REWRITE_WAIT_MS", 50)
    address = url("postgresql", tmp_path)
    store = SqlErasures(address)
    with psycopg.connect(address) as other:
        other.execute("SELECT count(*) FROM erasures")
        assert not store.clean()
    assert store.clean()
    store.close()
