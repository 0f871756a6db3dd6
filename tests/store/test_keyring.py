"""Keys of bodies: made once, nobody's after their person was forgotten, nothing without the master."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.store.body_keys import SqlBodyKeys
from airboss.store.datadir import DataDir
from airboss.store.erasures import SqlErasures
from airboss.store.keyring import Keyring, Whose
from airboss.store.sealed_marks import Unopened
from airboss.store.sealing import seal
from tests.store.keys import MASTER, holder, ring
from tests.store.ledgers import KINDS, url
from tests.store.samples import START

ANN: Whose = ("ann", START, "bodies")
BOB: Whose = ("bob", START, "bodies")
NOBODY: Whose = (None, START, "bodies")
LATER = timedelta(hours=1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the ledger's database."""
    return str(request.param)


@contextmanager
def people(folder: Path, kind: str) -> Iterator[SqlErasures]:
    """Who is forgotten."""
    store = SqlErasures(url(kind, folder))
    yield store
    store.close()


def sealed_by(keys: Keyring, whose: Whose) -> str:
    """A text sealed for somebody."""
    return seal((keys.keys([whose])[whose],), b"hello", "p")


def test_each_person_has_a_key_that_stays(tmp_path: Path, kind: str) -> None:
    """The same for all that is theirs, in every process; others have others."""
    with ring(tmp_path, kind=kind) as keys:
        made = keys.keys([ANN, BOB, NOBODY])
        assert len({key.id for key in made.values()}) == 3
        assert keys.keys([("ann", START + LATER, "comments")]).popitem()[1].id == made[ANN].id
        text = sealed_by(keys, ANN)
    with ring(tmp_path, kind=kind) as keys:
        assert keys.keys([ANN])[ANN].id == made[ANN].id
        assert keys.opened(text, "p") == b"hello"


def test_two_at_once_make_one_key(tmp_path: Path, kind: str) -> None:
    """Whoever is first has made it."""
    with ring(tmp_path, kind=kind) as one, ring(tmp_path, kind=kind) as other:
        made: list[str] = []

        def make(keys: Keyring) -> None:
            made.extend(
                each.id for each in keys.keys([(f"u{n}", START, "bodies") for n in range(20)]).values()
            )

        threads = [threading.Thread(target=make, args=(keys,)) for keys in (one, other)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(set(made)) == 20


def test_the_key_of_somebody_forgotten_is_given_to_nobody(tmp_path: Path, kind: str) -> None:
    """From the moment on that it was asked for, and though it is held; what is theirs from after that has
    another key. Destroyed it is gone from the ledger too."""
    with ring(tmp_path, kind=kind) as keys, people(tmp_path, kind) as forgotten:
        old, bobs = sealed_by(keys, ANN), sealed_by(keys, BOB)
        forgotten.ask("ann", digest=holder("ann"), at=START + LATER, by="admin")
        keys.refresh()
        with pytest.raises(Unopened, match="destroyed"):
            keys.opened(old, "p")
        late = sealed_by(keys, ANN)  # what comes late of what is forgotten
        with pytest.raises(Unopened):
            keys.opened(late, "p")
        new = sealed_by(keys, ("ann", START + 2 * LATER, "bodies"))
        assert keys.destroy_forgotten() == 1
        assert keys.destroy_forgotten() == 0
        keys.refresh()
        assert keys.opened(new, "p") == keys.opened(bobs, "p") == b"hello"
        forgotten.ask("ann", digest=holder("ann"), at=START + 3 * LATER, by="admin")
        assert keys.destroy_forgotten() == 1
        keys.refresh()
        with pytest.raises(Unopened, match="destroyed"):
            keys.opened(new, "p")


def test_keys_of_nobody_go_with_their_day(tmp_path: Path, kind: str) -> None:
    """Those of bodies when bodies are too old, those of comments when records are."""
    day = timedelta(days=1)
    with ring(tmp_path, kind=kind) as keys:
        first, second = sealed_by(keys, NOBODY), sealed_by(keys, (None, START + day, "bodies"))
        comment, anns = sealed_by(keys, (None, START, "comments")), sealed_by(keys, ANN)
        keys.destroy_before("bodies", START + timedelta(hours=11))
        assert keys.opened(first, "p") == b"hello"
        keys.destroy_before("bodies", START + day)
        with pytest.raises(Unopened, match="time was over"):
            keys.opened(first, "p")
        for each in (second, comment, anns):
            assert keys.opened(each, "p") == b"hello"


def test_without_the_master_key_nothing_is_sealed_or_opened(tmp_path: Path) -> None:
    """No other one is made in its place; the message says which file. With it back all is as it was."""
    with ring(tmp_path) as keys:
        assert keys.trouble() is None
        text = sealed_by(keys, ANN)
    path = DataDir(tmp_path).path / "secrets" / MASTER
    assert path.stat().st_mode & 0o777 == 0o600
    kept = path.read_bytes()
    path.unlink()
    for wrong, said in ((None, "is missing: put secrets/bodies_key"), (b"another\n", "is not the one")):
        if wrong is not None:
            path.write_bytes(wrong)
        with ring(tmp_path) as keys:
            assert said in (keys.trouble() or "")
            with pytest.raises(Unopened, match=said):
                keys.opened(text, "p")
            for whose in (ANN, BOB):
                with pytest.raises(StoreUnavailable, match=said):
                    keys.keys([whose])
        assert path.exists() is (wrong is not None)
    path.write_bytes(kept)
    with ring(tmp_path) as keys:
        assert keys.opened(text, "p") == b"hello"
        assert keys.trouble() is None


def test_keys_are_wrapped_in_the_ledger(tmp_path: Path) -> None:
    """Neither a key nor the person's name stands in its files."""
    with ring(tmp_path) as keys:
        keys.keys([("ann-of-the-ledger", START, "bodies")])
        store = SqlBodyKeys(url("sqlite", tmp_path))
        (row,) = store.held([holder("ann-of-the-ledger")])
        store.close()
    assert len(row.wrapped) == 12 + 32 + 16
    for path in tmp_path.glob("ledger.db*"):
        assert b"ann-of-the-ledger" not in path.read_bytes()
