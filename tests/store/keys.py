"""Keys that bodies are sealed with, and logs that have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from airboss.governance.erasure import digest
from airboss.store.body_keys import SqlBodyKeys
from airboss.store.datadir import DataDir
from airboss.store.erasures import SqlErasures
from airboss.store.keyring import Keyring
from airboss.store.memory import MemoryRecordLog
from airboss.store.sealed_log import SealedLog
from airboss.store.sealer import Sealer
from tests.store.ledgers import url

MASTER = "bodies_key"


def holder(user: str) -> str:
    """A person's keyed hash."""
    return digest(b"erase", user)


@contextmanager
def ring(folder: Path, *, kind: str = "sqlite", secret_of_people: str = "erase") -> Iterator[Keyring]:
    """The keys of a data directory; the same folder has the same."""
    data = DataDir(folder)
    data.create()

    address = url(kind, folder)
    keys, people = SqlBodyKeys(address), SqlErasures(address)
    if keys.master() is None:
        data.secret(MASTER)
    yield Keyring(
        keys,
        people,
        secret=lambda: data.kept_secret(MASTER),
        holder=partial(digest, secret_of_people.encode()),
    )
    keys.close()
    people.close()


@contextmanager
def sealed(inner: Any, folder: Path, *, kind: str = "sqlite") -> Iterator[SealedLog]:
    """A log whose bodies are sealed, over one that is given."""
    with ring(folder, kind=kind) as keys:
        inner.texts = Sealer(lambda: keys)
        yield SealedLog(inner, keys, wanted=lambda: True)


def in_memory(log: Any) -> bool:
    """Whether this log, sealed or not, is the one in memory."""
    return isinstance(log.inner if isinstance(log, SealedLog) else log, MemoryRecordLog)
