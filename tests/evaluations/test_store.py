"""Datasets, answers and runs in the database, and the library over it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.domain.errors import SetupError, WrongCall
from airboss.evaluations.datasets import HoldoutLocked, Shares, dataset
from airboss.evaluations.library import Library
from airboss.store.eval_rows import DatasetRow, HoldoutRead, ItemRow, ResultRow, RunRow
from airboss.store.evals import SqlEvalStore
from airboss.store.jobs import SqlJobStore
from airboss.store.ledger import SqlLedger
from tests.evaluations.support import NOW, item, now


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlEvalStore]:
    """An empty store."""
    made = SqlEvalStore(url)
    yield made
    made.close()


@pytest.fixture
def library(store: SqlEvalStore) -> Library:
    """An empty library."""
    return Library(store, now)


THREE = [item("a", "1", part="train"), item("b", "2", part="validation"), item("c", "3", part="holdout")]


def test_a_dataset_comes_back_as_it_was(library: Library) -> None:
    """Items keep every field, parts and shares are those it was put with."""
    full = item("a", "1", expected={"x": [1]}, tags=("t",), group="g", part="train", record="r", user="u")
    made = dataset("n", [full, *THREE[1:]], shares=Shares(seed=3))
    assert library.put(made)
    kept = library.find("n")
    assert (kept.digest, kept.shares, kept.created_at) == (made.digest, Shares(seed=3), NOW)
    assert kept.sizes == {"train": 1, "validation": 1, "holdout": 1}
    assert (kept.erased, kept.holdout_reads) == (0, 0)
    assert library.items(kept, "train") == (full,)


def test_a_dataset_is_found_by_name_or_digest(store: SqlEvalStore) -> None:
    """The newest of a name counts; a changed one stands beside the old one, which its digest still finds."""
    old, new = dataset("n", THREE), dataset("n", [*THREE, item("d")])
    assert Library(store, now).put(old)
    later = Library(store, lambda: NOW + timedelta(days=1))
    assert later.put(new)
    assert not later.put(new)
    assert later.find("n").digest == new.digest
    assert later.find(old.digest[:8]).digest == old.digest
    assert Library(store, lambda: NOW + timedelta(days=2)).put(old) is False
    assert later.find("n").digest == old.digest
    assert [kept.digest for kept in later.all()] == [old.digest, new.digest]
    with pytest.raises(WrongCall, match="'m'; there are n"):
        later.find("m")


def test_one_content_may_have_two_names(library: Library) -> None:
    """The items are kept once."""
    library.put(dataset("one", THREE))
    assert library.put(dataset("two", THREE))
    assert library.find("two").sizes == library.find("one").sizes
    assert library.find(library.find("one").digest).digest == library.find("two").digest


def test_the_holdout_opens_for_a_reason(library: Library, store: SqlEvalStore) -> None:
    """Without a name and a reason it stays shut; each opening is counted, with who, when and why."""
    library.put(dataset("n", THREE))
    kept = library.find("n")
    with pytest.raises(HoldoutLocked):
        library.items(kept, "holdout")
    for who, why in (("", "final"), ("ann", " ")):
        with pytest.raises(HoldoutLocked, match="give both"):
            library.open_holdout(kept, who=who, why=why)
    assert store.holdout_reads(kept.digest) == ()
    first = library.open_holdout(kept, who="ann", why="final judgement")
    second = library.open_holdout(kept, who="bob", why="again")
    assert [each.id for each in first.items] == ["c"]
    assert (first.reads_before, second.reads_before) == (0, 1)
    assert store.holdout_reads(kept.digest) == (
        HoldoutRead(dataset=kept.digest, at=NOW, who="ann", why="final judgement"),
        HoldoutRead(dataset=kept.digest, at=NOW, who="bob", why="again"),
    )
    assert library.find("n").holdout_reads == 2


def test_a_large_dataset(library: Library) -> None:
    """More items than go into one statement are all there."""
    library.put(dataset("n", [item(f"{number:05}", part="train") for number in range(2_500)]))
    assert [each.id for each in library.items(library.find("n"), "train")] == [
        f"{number:05}" for number in range(2_500)
    ]


def test_answers_are_kept_once(store: SqlEvalStore) -> None:
    """An answer that is there stays: the one that came first is the one that was scored."""
    assert store.answer("k") is None
    store.put_answer("k", subject="s", content="first", at=NOW)
    store.put_answer("k", subject="s", content="second", at=NOW)
    assert store.answer("k") == "first"


def test_runs_and_results(store: SqlEvalStore) -> None:
    """A run is running until it is finished; a result replaces the one of the same item, arm and repeat."""
    runs = [
        RunRow(id=id, dataset="d", created_at=NOW + timedelta(hours=hour), state="running", content="{}")
        for hour, id in enumerate(("one", "two"))
    ]
    for run in runs:
        store.put_run(run)
    store.finish_run("one", '{"x":1}')
    assert store.run("one") == msgspec.structs.replace(runs[0], state="done", report='{"x":1}')
    assert store.run("two") == runs[1]
    assert store.run("three") is None

    def row(arm: str, content: str, repeat: int = 0) -> ResultRow:
        return msgspec.convert(
            {"run": "one", "item": "i", "arm": arm, "repeat": repeat, "subject": "s", "content": content},
            ResultRow,
        )

    for each in (row("b", "1"), row("a", "2"), row("a", "3", repeat=1), row("a", "4")):
        store.put_result(each)
    assert store.results("one") == (row("a", "4"), row("a", "3", repeat=1), row("b", "1"))
    assert store.results("two") == ()


def test_old_answers_and_results_go(store: SqlEvalStore, url: str) -> None:
    """In batches, the report stays; not those of a job that goes on, nor of a run that a later is held to."""
    for age in range(5):
        store.put_answer(f"k{age}", subject="s", content="", at=NOW - timedelta(days=age))
    runs = {"old": 9, "going": 8, "baseline": 7, "new": 1}
    for name, age in runs.items():
        plan = '{"held_to":"baseline"}' if name == "new" else '{"held_to":"old"}' if name == "going" else "{}"
        store.put_run(
            RunRow(id=name, dataset="d", created_at=NOW - timedelta(days=age), state="running", content=plan)
        )
        store.put_result(ResultRow(run=name, item="i", arm="b", repeat=0, subject="s", content="{}"))
    store.finish_run("old", "the report")
    waiting = SqlJobStore(url)
    waiting.add("eval", {}, "me", NOW, job_id="going")
    waiting.close()
    gone = [store.expire(NOW - timedelta(days=2), 1) for _ in range(3)]
    assert gone == [2, 1, 0]
    assert [store.answer(f"k{age}") is not None for age in range(5)] == [True, True, True, False, False]
    assert {name for name in runs if store.results(name)} == {"going", "baseline", "new"}
    kept = store.run("old")
    assert kept is not None
    assert kept.report == "the report"


def test_a_person_is_forgotten(library: Library, store: SqlEvalStore) -> None:
    """Their items, the answers to them and the results on them go; what others asked stays, and the dataset
    says that something is missing. Putting it again brings nothing back."""
    theirs, others = (
        item("a", "secret", user="ann", part="train"),
        item("b", "open", user="bob", part="train"),
    )
    made = dataset("n", [theirs, others])
    library.put(made)
    rows = {row.id: row for row in store.items(made.digest, "train")}
    for row in rows.values():
        store.put_answer(f"key-{row.id}", subject=row.subject, content=row.id, at=NOW)
        store.put_result(
            ResultRow(run="r", item=row.id, arm="a", repeat=0, subject=row.subject, content="{}")
        )
    assert store.forget_user("ann") == 1
    library.put(made)
    kept = library.find("n")
    assert [each.id for each in library.items(kept, "train")] == ["b"]
    assert kept.erased == 1
    assert (store.answer("key-a"), store.answer("key-b")) == (None, "b")
    assert [row.item for row in store.results("r")] == ["b"]
    assert store.forget_user("ann") == 0


def test_what_is_written_outlives_the_process(url: str) -> None:
    """Another opening of the same database, beside the ledger, has it all."""
    first = SqlEvalStore(url)
    first.put_answer("k", subject="s", content="kept", at=NOW)
    ledger = SqlLedger(url)
    second = SqlEvalStore(url)
    assert second.answer("k") == "kept"
    assert ledger.revision() == 0
    for each in (first, second, ledger):
        each.close()


def test_threads_and_processes_take_turns(url: str) -> None:
    """Sixteen threads on two openings of one database write without a loss."""
    stores = [SqlEvalStore(url), SqlEvalStore(url)]

    def write(number: int) -> None:
        for turn in range(5):
            stores[number % 2].put_answer(f"{number}-{turn}", subject="s", content="x", at=NOW)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stores[0].answer(f"{number}-{turn}") for number in range(16) for turn in range(5))
    for each in stores:
        each.close()


def test_a_dataset_is_put_whole_or_not_at_all(store: SqlEvalStore) -> None:
    """If one item cannot be written nothing is, and the cause is told."""
    row = DatasetRow(name="n", digest="d", created_at=NOW, size=2, content="{}")
    twice = ItemRow(id="a", part="train", subject="s", user=None, content="{}")
    with pytest.raises(SetupError, match="cannot be used"):
        store.put_dataset(row, [twice, twice])
    assert store.datasets() == ()


def test_an_interrupted_reading_goes_on(library: Library, store: SqlEvalStore) -> None:
    """The same reader with the same reason gets the same again, uncounted; any other gets nothing."""
    library.put(dataset("n", THREE))
    kept = library.find("n")
    assert library.reopen_holdout(kept, who="ann", why="job 1") is None
    library.open_holdout(kept, who="bob", why="before")
    opened = library.open_holdout(kept, who="ann", why="job 1")
    library.open_holdout(kept, who="bob", why="after")
    assert library.reopen_holdout(kept, who="ann", why="job 1") == opened
    assert library.reopen_holdout(kept, who="ann", why="job 2") is None
    assert len(store.holdout_reads(kept.digest)) == 3


def test_a_deleted_dataset_takes_its_answers_along(library: Library, store: SqlEvalStore) -> None:
    """All versions of the name go, with the items, answers and results that no other dataset has; who read
    the holdout stays, so that making it again does not make it unread."""
    shared, own = item("a", "shared", part="train"), item("b", "own", part="train")
    library.put(dataset("n", [own]))
    later = Library(store, lambda: NOW + timedelta(days=1))
    later.put(dataset("n", [shared, own, item("h", "locked", part="holdout")]))
    library.put(dataset("other", [shared]))
    gone = library.find("n")
    library.open_holdout(gone, who="ann", why="look")
    for row in store.items(gone.digest, "train"):
        store.put_answer(f"key-{row.id}", subject=row.subject, content=row.id, at=NOW)
        store.put_result(
            ResultRow(run="r", item=row.id, arm="a", repeat=0, subject=row.subject, content="{}")
        )
    library.delete("n")
    assert [kept.name for kept in library.all()] == ["other"]
    assert store.items(gone.digest, "train") == ()
    assert (store.answer("key-a"), store.answer("key-b")) == ("a", None)
    assert [row.item for row in store.results("r")] == ["a"]
    assert len(store.holdout_reads(gone.digest)) == 1
    with pytest.raises(WrongCall, match="no dataset is called 'n'"):
        library.delete("n")


def test_content_under_two_names_outlives_one(library: Library) -> None:
    """Deleting one name of a content leaves the other whole."""
    library.put(dataset("one", THREE))
    library.put(dataset("two", THREE))
    library.delete("one")
    assert library.find("two").sizes == {"train": 1, "validation": 1, "holdout": 1}
