"""Kept responses whose time is over, and those of people forgotten while a call of theirs still ran."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from airboss.domain.ports import Clock
from airboss.governance.erasure import Tombstones
from airboss.store.erasure_rows import ErasureStore
from airboss.store.response_rows import ResponseStore

EVERY_S: Final = 600.0
BATCH: Final = 500


class Expiring:
    """A chore, every ten minutes. `open_store` opens the store for one run."""

    def __init__(
        self,
        open_store: Callable[[], AbstractContextManager[ResponseStore]],
        people: ErasureStore,
        *,
        key: str,
        clock: Clock,
    ) -> None:
        self._open_store = open_store
        self._people = people
        self._key = key
        self._clock = clock
        self._next_at = 0.0

    def tick(self) -> None:
        """Delete a batch of what is due. Raises SetupError."""
        if self._clock.monotonic() < self._next_at:
            return
        with self._open_store() as store:
            gone = store.expire(self._clock.now(), limit=BATCH)
            self._forget(store)
        if gone < BATCH:
            self._next_at = self._clock.monotonic() + EVERY_S

    def _forget(self, store: ResponseStore) -> None:
        found = self._people.tombstones(None)
        if found is None:
            return
        tombstones = Tombstones(self._key, found[1])
        if tombstones.newest is None:
            return
        for user, oldest in store.people(tombstones.newest).items():
            if tombstones.covers(user, oldest):
                store.forget_user(user, until=tombstones.until(user))
