"""Datasets that are added to, in the database: both are kept, old versions stay, nobody comes back."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airboss.compose.governing import looking_at_audit
from airboss.compose.stores import open_audit
from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item, Shares, dataset
from airboss.evaluations.library import Grown, KeptDataset, Library
from airboss.governance.audit_ledger import LEDGER_BEGIN
from airboss.store import ledger_rows
from airboss.store.datadir import DataDir
from airboss.store.evals import SqlEvalStore
from tests.evaluations.support import NOW, item, now
from tests.store.ledgers import KINDS, empty_url
from tests.support.older_ledger import without_versions

SEED = 20261201
FIRST = [item("a", "1", part="train"), item("b", "2", part="validation"), item("c", "3", part="holdout")]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlEvalStore]:
    """An empty store, of each kind."""
    made = SqlEvalStore(empty_url(request.param, tmp_path))
    yield made
    made.close()


@pytest.fixture
def library(store: SqlEvalStore) -> Library:
    """A library with a dataset, `n`."""
    made = Library(store, now)
    made.put(dataset("n", FIRST))
    return made


def added(library: Library, *items: Item, name: str = "n", **given: Any) -> Grown:
    """The dataset with these."""
    grown = library.grow(library.join(name, items, **given))
    assert grown is not None
    return grown


def ids(library: Library, kept: KeptDataset) -> list[str]:
    """All that a version has."""
    found = library._store.every_item(kept.digest)
    assert len(found) == sum(kept.sizes.values())
    return [each.id for each in found]


def test_a_version_more_stands_beside_the_old_one(library: Library) -> None:
    """The newest of the name has both, also where the clock stands still; the old one is found by its digest
    as it was, and what is there already makes none."""
    old = library.find("n")
    grown = added(library, item("d", "4", part="validation"), item("a", "1"))
    assert [each.id for each in grown.added] == ["d"]
    new = library.find("n")
    assert new == grown.dataset
    assert new.digest == dataset("n", [*FIRST, item("d", "4", part="validation")]).digest
    assert (ids(library, new), ids(library, library.find(old.digest))) == (list("abcd"), list("abc"))
    assert [each.id for each in library.items(new, "validation")] == ["b", "d"]
    assert [each.id for each in library.items(old, "validation")] == ["b"]
    assert [each.id for each in library.open_holdout(new, who="ann", why="x").items] == ["c"]
    assert added(library, item("d", "4")).added == ()
    assert len(library.all()) == 2


def test_what_versions_have_in_common_is_stored_once(library: Library, store: SqlEvalStore) -> None:
    """A hundred additions to a dataset are a hundred rows, whatever its size."""
    for number in range(20):
        added(library, item(f"x{number:02}", f"x{number}?"))
    with store._read() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM dataset_items").scalar()
    assert rows == 23
    kept = library.all()
    assert [sum(each.sizes.values()) for each in kept] == list(range(23, 2, -1))
    assert all(ids(library, each)[:3] == list("abc") for each in kept)


def test_whoever_comes_second_adds_to_what_the_first_made(library: Library) -> None:
    """What was joined with a version that is not the newest any more is not kept; the same for two who begin
    a dataset."""
    for name, fresh in (("n", None), ("fresh", Shares())):
        first = library.join(name, [item("d", "4")], fresh=fresh)
        second = library.join(name, [item("e", "5")], fresh=fresh)
        assert library.grow(first) is not None
        assert library.grow(second) is None
        both = added(library, item("e", "5"), name=name)
        assert set("de") <= set(ids(library, both.dataset))


def test_all_who_add_at_once_are_kept(tmp_path: Path) -> None:
    """Eight threads on two openings of one database."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    stores = [SqlEvalStore(url), SqlEvalStore(url)]

    def add(number: int) -> None:
        library = Library(stores[number % 2], now)
        for turn in range(4):
            more = [item(f"{number}-{turn}", f"{number} {turn}?")]
            while library.grow(library.join("n", more, fresh=Shares())) is None:
                pass

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    library = Library(stores[0], now)
    assert ids(library, library.find("n")) == sorted(f"{n}-{turn}" for n in range(8) for turn in range(4))
    assert [len(ids(library, each)) for each in library.all()] == list(range(32, 0, -1))
    for each in stores:
        each.close()


def test_a_clock_that_steps_back_loses_nothing(library: Library, store: SqlEvalStore) -> None:
    """The version that was kept last is the newest."""
    earlier = Library(store, lambda: NOW - timedelta(days=1))
    added(earlier, item("d", "4"))
    assert "e" in ids(earlier, added(earlier, item("e", "5")).dataset)
    assert ids(library, library.find("n")) == list("abcde")


def test_one_content_under_two_names_grows_apart(library: Library) -> None:
    """Added to one of them it is not in the other, whichever goes on first; deleting one leaves the other."""
    library.put(dataset("m", FIRST))
    added(library, item("d", "4"))
    added(library, item("e", "5"), name="m")
    added(library, item("f", "6"))
    assert (ids(library, library.find("n")), ids(library, library.find("m"))) == (list("abcdf"), list("abce"))
    library.delete("n")
    assert ids(library, library.find("m")) == list("abce")
    assert ids(library, added(library, item("g", "7"), name="m").dataset) == list("abceg")
    with library._store._read() as connection:  # type: ignore[attr-defined]  # of the real one
        left = connection.exec_driver_sql("SELECT id FROM dataset_items").scalars().all()
    assert set(left) == set("abceg")


def test_an_older_version_that_is_put_again_is_what_is_added_to(library: Library) -> None:
    """It is the newest then, and has nothing of what was added before."""
    added(library, item("d", "4"))
    library.put(dataset("n", FIRST))
    assert ids(library, added(library, item("e", "5")).dataset) == list("abce")


def test_who_is_forgotten_is_gone_from_every_version(library: Library, store: SqlEvalStore) -> None:
    """And is not brought back by what is added later, or by adding what makes up a version that had them."""
    theirs = item("d", "4", user="ann", group="ann")
    added(library, theirs)
    added(library, item("e", "5"))
    assert store.forget_user("ann") == 1
    newest = added(library, item("f", "6")).dataset
    assert all("d" not in ids(library, each) for each in library.all())
    assert (ids(library, newest), newest.erased) == (list("abcef"), 0)
    store.forget_user("ann")
    nameless = item("d", "4", group="ann")
    again = added(library, nameless)
    assert "d" in ids(library, again.dataset)  # the line of a file, which says of nobody that it is theirs
    library.put(dataset("n", [*FIRST, theirs]))  # a version that they were erased from
    assert "d" not in ids(library, library.find("n"))
    grown = added(library, nameless)
    assert (grown.added, grown.erased, ids(library, grown.dataset)) == ((), 1, list("abc"))


def test_a_name_that_nothing_has_is_refused_with_what_was_perhaps_meant(library: Library) -> None:
    """Unless it is to be made."""
    library.put(dataset("reviews", FIRST))
    with pytest.raises(WrongCall, match="no dataset is called 'reveiws'; did you mean 'reviews'"):
        library.join("reveiws", FIRST)
    with pytest.raises(WrongCall, match="no dataset is called 'zzz'; there are n, reviews"):
        library.join("zzz", FIRST)


def test_a_kill_leaves_each_addition_whole_or_not_there(tmp_path: Path) -> None:
    """Two processes that add are killed at moments drawn from a seed: what they said is kept is there, every
    version is just what its digest says, and the audit log tells of each."""
    data = DataDir(tmp_path / "data")
    data.create()
    with open_audit(data) as audit:
        looking_at_audit(audit, data).look()
        audit.append(LEDGER_BEGIN, actor="x", subject="ledger", detail={"keys": 0, "plans": 0}, at=NOW)
    rng = random.Random(SEED)
    told: set[str] = set()
    for turn in range(3):
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.evaluations.growing", str(data.path), f"{who}{turn}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for who in ("x", "y")
        ]
        for process in started:
            assert process.stdout is not None
            told |= {process.stdout.readline().strip() for _ in range(rng.randrange(2, 9))}
        for process in started:
            process.kill()
        for process in started:
            out, _ = process.communicate(timeout=60)
            told |= set(out.split("\n")[:-1])
            assert process.returncode == -signal.SIGKILL, f"seed {SEED}"
    with closing(SqlEvalStore(data.ledger_url)) as store:
        library = Library(store, now)
        kept = library.all()
        assert told - {""} <= set(ids(library, kept[0])), f"seed {SEED}"
        for each in kept:
            made = dataset("n", [item(id, id.replace("-", " ") + "?") for id in ids(library, each)])
            assert made.digest == each.digest, f"seed {SEED}"
    with open_audit(data) as audit:
        leaves = [each.leaf.action for each in audit.newest(limit=10_000)]
    assert leaves.count("dataset.add") == len(kept)
    verify = [sys.executable, "-m", "airboss", "audit", "verify", "--data-dir", str(data.path)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_ledger_of_before_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets that were kept by the schema before this one are there, and are added to."""
    file = tmp_path / "ledger.db"
    url = f"sqlite:///{file}"
    with closing(SqlEvalStore(url)) as store:
        Library(store, now).put(dataset("n", FIRST))
        old = Library(store, now).find("n")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE dataset_items SET dataset = ?", (old.digest,))
        without_versions(connection.execute)
        connection.execute("UPDATE alembic_version SET version_num = '0007'")
        connection.commit()
    with closing(SqlEvalStore(url)) as store:
        library = Library(store, now)
        assert library.find("n") == old
        assert ids(library, added(library, item("d", "4")).dataset) == list("abcd")
        assert ids(library, library.find(old.digest)) == list("abc")
        library.put(dataset("n", [*FIRST, item("x", "9")]))
    assert ledger_rows.SCHEMA >= "0008"
