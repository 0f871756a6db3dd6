"""Datasets whose items are taken out or expect something else: versions stay, and share what they have."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item, dataset, input_digest
from airboss.evaluations.library import Grown, KeptDataset, Library
from airboss.store.evals import SqlEvalStore
from tests.evaluations.support import item, now
from tests.store.ledgers import KINDS, empty_url
from tests.support.older_ledger import with_since

SEED = 20261201
FIRST = [
    item("a", "1", part="train"),
    item("b", "2", part="validation", expected="x"),
    item("c", "3", part="holdout"),
]


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


def changed(library: Library, name: str = "n", **what: Any) -> Grown:
    """The dataset after this."""
    grown = library.grow(library.change(name, **what))
    assert grown is not None
    return grown


def added(library: Library, *items: Item, name: str = "n") -> KeptDataset:
    """The dataset with these."""
    grown = library.grow(library.join(name, items))
    assert grown is not None
    return grown.dataset


def has(library: Library, kept: KeptDataset, listed: Sequence[KeptDataset] = ()) -> dict[str, Any]:
    """What each item of a version expects. It has as many as every count says, and as its digest is of.
    `listed` are all versions as they are listed now, where they are at hand."""
    rows = library._store.every_item(kept.digest)
    found = [msgspec.json.decode(row.content, type=Item) for row in rows]
    assert (len(found), kept.erased) == (sum(kept.sizes.values()), 0)
    assert kept in (listed or library.all())
    assert dataset(kept.name, found, shares=kept.shares).digest == kept.digest
    return {each.id: each.expected for each in found}


def test_a_version_more_has_what_is_left(library: Library) -> None:
    """The old one has all of it still, as it was, and the items of both are those that were there."""
    old = library.find("n")
    new = changed(library, removed=["a"], expected={"b": ["y", "z"], "c": "w"})
    assert {each.id for each in new.added} == {"b", "c"}
    assert new.dataset == library.find("n")
    assert has(library, new.dataset) == {"b": ["y", "z"], "c": "w"}
    assert has(library, library.find(old.digest)) == {"a": None, "b": "x", "c": None}
    assert [each.expected for each in library.items(old, "validation")] == ["x"]
    assert has(library, changed(library, expected={"b": None}).dataset) == {"b": None, "c": "w"}


def test_what_is_as_before_makes_no_version(library: Library) -> None:
    """It is counted; True is not 1."""
    found = library.change("n", expected={"b": "x", "c": None})
    assert (found.items, found.gone, found.there) == ((), (), 2)
    assert library.grow(found) is not None
    assert len(library.all()) == 1
    changed(library, expected={"b": 1})
    assert has(library, changed(library, expected={"b": True}).dataset)["b"] is True


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"removed": ["d"]}, "dataset 'n' has no item 'd'; `dataset export` shows"),
        ({"removed": ["aa", "bb"]}, "has no item 'aa' and 1 more"),
        ({"expected": {"x": 1}}, "has no item 'x'"),
        ({"removed": ["a"], "expected": {"a": 1}}, "'a' is to be taken out, and to expect something"),
        ({"removed": ["a", "b", "c"]}, "nothing would be left of dataset 'n'; `dataset delete`"),
        ({"expected": {"a": 1}, "asked": {"a": input_digest(FIRST[1].input)}}, "'a' asks something else"),
    ],
)
def test_what_cannot_be_is_refused(library: Library, what: Any, said: str) -> None:
    """By name, and nothing is changed."""
    with pytest.raises(WrongCall, match=said):
        library.change("n", **what)
    with pytest.raises(WrongCall, match="no dataset is called 'm'"):
        library.change("m", **what)
    assert len(library.all()) == 1


def test_what_versions_have_in_common_is_stored_once(library: Library, store: SqlEvalStore) -> None:
    """To take one out stores nothing, to expect something else one item."""
    for number in range(10):
        added(library, item(f"x{number}", f"x{number}?"))
    changed(library, removed=["x3"])
    changed(library, expected={"x4": "y"})
    changed(library, expected={"x4": "z"})
    with store._read() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM dataset_items").scalar()
    assert rows == 3 + 10 + 2
    sizes = [len(has(library, each)) for each in library.all()]
    assert sizes == [12, 12, 12, *range(13, 2, -1)]


def test_versions_are_what_they_were_whatever_is_done(library: Library) -> None:
    """Drawn from a seed: added, taken out, added again, expected and expected again, under two names with
    one content, put again as they were. No version ever changes; deleting one name leaves the other."""
    rng = random.Random(SEED)
    library.put(dataset("m", FIRST))
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for number in range(60):
        name = rng.choice("nm")
        there = has(library, library.find(name))
        known[name, library.find(name).digest] = there
        match rng.randrange(4):
            case 0:
                gone = f"i{rng.randrange(6)}"
                if gone not in there:
                    added(library, item(gone, f"{gone}?"), name=name)
            case 1 if len(there) > 1:
                changed(library, name, removed=[rng.choice(sorted(there))])
            case 2:
                changed(library, name, expected={rng.choice(sorted(there)): number % 3})
            case _:
                library.put(dataset(name, FIRST))
        listed = library.all()
        for (_, digest), items in known.items():
            kept = next(each for each in listed if each.digest == digest)
            assert has(library, kept, listed) == items, f"seed {SEED}"
    library.delete("n")
    for (name, digest), items in known.items():
        if name == "m":
            assert has(library, library.find(digest)) == items, f"seed {SEED}"
    library.delete("m")
    with library._store._read() as connection:  # type: ignore[attr-defined]  # of the real one
        assert connection.exec_driver_sql("SELECT count(*) FROM dataset_items").scalar() == 0


def test_who_comes_second_changes_what_the_first_made(library: Library) -> None:
    """What was worked out with a version that is not the newest any more is not kept."""
    first, second = library.change("n", removed=["a"]), library.change("n", expected={"b": "y"})
    joined = library.join("n", [item("d", "4")])
    assert library.grow(first) is not None
    assert library.grow(second) is None
    assert library.grow(joined) is None
    assert has(library, changed(library, expected={"b": "y"}).dataset) == {"b": "y", "c": None}


def test_who_is_forgotten_meanwhile_does_not_come_back_in_another_form(
    library: Library, store: SqlEvalStore
) -> None:
    """Between what was read and what is kept; and of all versions they are gone."""
    added(library, item("d", "4", user="ann", group="ann"))
    changed(library, expected={"d": "hers"})
    late = library.change("n", expected={"d": "hers still"})
    assert store.forget_user("ann") == 2
    assert library.grow(late) is None
    with pytest.raises(WrongCall, match="has no item 'd'"):
        library.change("n", expected={"d": "x"})
    with store._read() as connection:
        left = connection.exec_driver_sql("SELECT id FROM dataset_items").scalars().all()
    assert sorted(left) == list("abc")


def test_a_ledger_of_before_is_gone_on_with(tmp_path: Path) -> None:
    """Versions that were kept when items could be added alone are there, and are changed."""
    file = tmp_path / "ledger.db"
    with closing(SqlEvalStore(f"sqlite:///{file}")) as store:
        library = Library(store, now)
        library.put(dataset("n", FIRST))
        old, new = library.find("n"), added(library, item("d", "4"))
    with closing(sqlite3.connect(file)) as connection:
        with_since(connection.execute)
        connection.execute("UPDATE alembic_version SET version_num = '0008'")
        connection.commit()
    with closing(SqlEvalStore(f"sqlite:///{file}")) as store:
        library = Library(store, now)
        assert set(has(library, library.find(old.digest))) == set("abc")
        assert set(has(library, library.find(new.digest))) == set("abcd")
        assert set(has(library, changed(library, removed=["a"]).dataset)) == set("bcd")
        assert set(has(library, library.find(new.digest))) == set("abcd")


def test_what_no_version_has_any_more_is_deleted_with_the_last_that_had_it(
    library: Library, store: SqlEvalStore
) -> None:
    """Also where another dataset has what the newest version has."""
    gone = changed(library, removed=["a"]).dataset
    library.put(dataset("m", FIRST[1:], shares=gone.shares))
    assert library.find("m").digest == gone.digest
    library.delete("n")
    with store._read() as connection:
        left = connection.exec_driver_sql("SELECT id FROM dataset_items").scalars().all()
    assert sorted(left) == ["b", "c"]


def test_a_holdout_that_was_read_is_no_fresher_for_a_version_more(library: Library) -> None:
    """Whichever version it was read of: all that share items count it. What goes on apart from one that was
    read has been read as often; a dataset of its own has not."""
    old = library.find("n")
    assert library.open_holdout(old, who="ann", why="x").reads_before == 0
    new = changed(library, removed=["a"]).dataset
    assert new.holdout_reads == 1
    assert library.open_holdout(new, who="bob", why="y").reads_before == 1
    again = library.reopen_holdout(new, who="bob", why="y")
    assert again is not None
    assert again.reads_before == 1
    newest = added(library, item("d", "4"))
    assert [each.holdout_reads for each in library.all()] == [2, 2, 2]
    assert [each.who for each in library._store.holdout_reads(newest.digest)] == ["ann", "bob"]
    library.put(dataset("n", FIRST))
    apart = added(library, item("e", "5"))
    assert apart.holdout_reads == 2
    assert library.open_holdout(apart, who="cid", why="z").reads_before == 2
    library.put(dataset("own", [item("z", "9", part="holdout")]))
    assert library.find("own").holdout_reads == 0
    told = {each.digest: each.holdout_reads for each in library.all()}
    assert (told[newest.digest], told[apart.digest], told[library.find("own").digest]) == (2, 3, 0)
