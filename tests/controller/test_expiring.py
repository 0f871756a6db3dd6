"""Kept responses go when their time is over, or when their person was forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from airboss.controller.expiring import BATCH, EVERY_S, SOON_S, Expiring
from airboss.governance.erasure import digest
from airboss.store.erasure_rows import ErasureStore
from airboss.store.response_rows import KeptResponse
from airboss.store.responses import SqlResponseStore

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = "secret"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        """The time."""
        return NOW + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        """The same, as seconds."""
        return self.at


class People:
    """Who was forgotten."""

    def __init__(self) -> None:
        self.until: dict[str, datetime] = {}

    def tombstones(self, than: object = None) -> tuple[object, Mapping[str, datetime]] | None:
        """All of them, where there are others than at `than`."""
        return None if than == self.until else (dict(self.until), self.until)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlResponseStore]:
    """A store in a new ledger."""
    made = SqlResponseStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def chore(store: SqlResponseStore, clock: Clock, people: People) -> Expiring:
    """The chore."""

    @contextmanager
    def opened() -> Iterator[Any]:
        yield store

    return Expiring(opened, cast("ErasureStore", people), key=KEY, clock=clock)


def put(store: SqlResponseStore, name: str, *, user: str | None = None, began: datetime = NOW) -> None:
    """Keep a response for an hour."""
    store.put(
        KeptResponse(
            id=name,
            key="app",
            user=user,
            previous=None,
            created_at=began,
            expires_at=began + HOUR,
            response="{}",
            messages="[]",
        )
    )


def test_expiry(store: SqlResponseStore) -> None:
    """What has expired goes at the next look, ten minutes apart."""
    clock = Clock()
    work = chore(store, clock, People())
    put(store, "a")
    work.tick()
    clock.at = HOUR.total_seconds() + 1
    work.tick()
    assert store.get("a", key="app", now=NOW) is None
    put(store, "b")
    work.tick()
    assert store.get("b", key="app", now=NOW) is not None
    clock.at += EVERY_S
    work.tick()
    assert store.get("b", key="app", now=NOW) is None


def test_many(store: SqlResponseStore) -> None:
    """More than one batch goes without waiting for the next look."""
    clock = Clock()
    for number in range(BATCH + 1):
        put(store, str(number), began=NOW - 2 * HOUR)
    work = chore(store, clock, People())
    work.tick()
    work.tick()
    assert store.expire(NOW, limit=10) == 0


def test_the_forgotten(store: SqlResponseStore) -> None:
    """A response that came after its person was forgotten, of a call that began before, goes too."""
    people = People()
    people.until[digest(KEY.encode(), "ann")] = NOW
    put(store, "before", user="ann", began=NOW - timedelta(minutes=1))
    put(store, "after", user="ann", began=NOW + timedelta(minutes=1))
    put(store, "other", user="bob", began=NOW - timedelta(minutes=1))
    chore(store, Clock(), people).tick()
    left = [name for name in ("before", "after", "other") if store.get(name, key="app", now=NOW)]
    assert left == ["after", "other"]


def test_the_forgotten_each_until_their_own_time(store: SqlResponseStore) -> None:
    """Who came back keeps what is newer, also when somebody else was forgotten after that."""
    people = People()
    people.until[digest(KEY.encode(), "ann")] = NOW - timedelta(minutes=10)
    people.until[digest(KEY.encode(), "bob")] = NOW
    put(store, "old", user="ann", began=NOW - timedelta(minutes=20))
    put(store, "back", user="ann", began=NOW - timedelta(minutes=5))
    chore(store, Clock(), people).tick()
    assert [name for name in ("old", "back") if store.get(name, key="app", now=NOW)] == ["back"]


@pytest.mark.parametrize("ended_after_s", [1, SOON_S, 5 * SOON_S, EVERY_S - 2 * SOON_S])
def test_the_forgotten_whose_call_ends_after_that(store: SqlResponseStore, ended_after_s: float) -> None:
    """What is kept of a call that was under way goes soon after it has ended, not at the next look for what
    has expired."""
    clock, people = Clock(), People()
    work = chore(store, clock, people)
    work.tick()
    clock.at += 1
    people.until[digest(KEY.encode(), "ann")] = clock.now()
    while clock.at < ended_after_s:
        clock.at += 1
        work.tick()
    put(store, "late", user="ann", began=NOW)
    for _ in range(int(SOON_S) + 1):
        clock.at += 1
        work.tick()
    assert store.get("late", key="app", now=NOW) is None
    assert clock.at < EVERY_S
