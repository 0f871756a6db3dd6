"""Kept responses that are sealed: whoever builds on one reads it, and nobody else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir
from airboss.store.erasures import SqlErasures
from airboss.store.keyring import Keyring
from airboss.store.response_rows import TooLong
from airboss.store.responses import SqlResponseStore
from airboss.store.sealed_responses import SealedResponses
from airboss.store.sealer import Sealer
from tests.store.keys import MASTER, holder, ring
from tests.store.ledgers import url
from tests.store.test_responses import NOW, kept
from tests.support.files import holding

WORDS = "unmistakable words 7f3a"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keyring]:
    """The keys of a data directory."""
    with ring(tmp_path) as made:
        yield made


Opener = Callable[..., SealedResponses]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Opener]:
    """Opens the responses of a data directory, with keys."""
    with ExitStack() as until_end:

        def opened(keys: Keyring, *, wanted: bool = True) -> SealedResponses:
            inner = until_end.enter_context(closing(SqlResponseStore(url("sqlite", tmp_path))))
            return SealedResponses(lambda: inner, lambda: Sealer(lambda: keys), wanted=wanted)

        yield opened


def test_a_chain_is_read_by_who_builds_on_it(store: Opener, tmp_path: Path, keys: Keyring) -> None:
    """Sealed, unsealed and mixed; the ledger holds no words of what was sealed."""
    first = msgspec.structs.replace(kept("a", user="ann"), messages=f'["{WORDS}"]', response=f'"{WORDS}"')
    sealed, plain = store(keys), store(keys, wanted=False)
    sealed.put(first)
    assert holding(tmp_path, WORDS.encode()) == []
    assert sealed.get("a", key="app", now=NOW) == plain.get("a", key="app", now=NOW) == first
    plain.put(kept("b", "a", user="ann"))
    chain = sealed.chain("b", key="app", now=NOW, most=10_000)
    assert chain is not None
    assert [(each.messages, each.response) for each in chain] == [(first.messages, ""), ('["b"]', "")]
    assert sealed.delete("b", key="app", now=NOW)


def test_a_chain_is_bounded_by_what_is_opened(store: Opener, keys: Keyring) -> None:
    """Sealed, what says the same thousands of times is a hundredth of what it becomes."""
    sealed = store(keys)
    for name, previous in (("a", None), ("b", "a"), ("c", "b")):
        sealed.put(msgspec.structs.replace(kept(name, previous), messages=f'["{WORDS * 10_000}"]'))
    size = len(WORDS) * 10_000 + len('[""]')
    chain = sealed.chain("c", key="app", now=NOW, most=3 * size)
    assert chain is not None
    assert [each.id for each in chain] == ["a", "b", "c"]
    with pytest.raises(TooLong) as told:
        sealed.chain("c", key="app", now=NOW, most=3 * size - 1)
    assert (told.value.size, told.value.links) == (3 * size, 3)


def test_what_is_of_somebody_forgotten_is_not_there(store: Opener, tmp_path: Path, keys: Keyring) -> None:
    """Though it is not deleted yet: nobody can build on it."""
    sealed = store(keys)
    sealed.put(kept("a", user="ann"))
    sealed.put(kept("b", user="bob"))
    people = SqlErasures(url("sqlite", tmp_path))
    people.ask("ann", digest=holder("ann"), at=NOW + timedelta(hours=1), by="admin")
    people.close()
    assert sealed.get("a", key="app", now=NOW) is None
    assert sealed.chain("a", key="app", now=NOW, most=10_000) is None
    assert sealed.get("b", key="app", now=NOW) == kept("b", user="bob")


def test_a_text_of_another_response_does_not_open(store: Opener, tmp_path: Path, keys: Keyring) -> None:
    """Put in the place of another it is as if that were not there."""
    sealed = store(keys)
    sealed.put(kept("a", user="ann"))
    sealed.put(kept("b", user="ann"))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger, ledger:
        ledger.execute("update responses set messages = (select messages from responses where id = 'a')")
    assert sealed.get("b", key="app", now=NOW) is None
    assert sealed.get("a", key="app", now=NOW) == kept("a", user="ann")


def test_without_the_master_key_nothing_is_kept(store: Opener, tmp_path: Path, keys: Keyring) -> None:
    """The call is served and told that it is not kept; the error says why."""
    store(keys).put(kept("a", user="ann"))
    (DataDir(tmp_path).path / "secrets" / MASTER).unlink()
    with ring(tmp_path) as again, pytest.raises(SetupError, match="secrets/bodies_key"):
        store(again).put(kept("b", user="bob"))
