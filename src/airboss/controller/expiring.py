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
SOON_S: Final = 30.0
"""So often those of people forgotten within the last EVERY_S are looked for: their calls may still end."""
BATCH: Final = 500


class Expiring:
    """A chore, every ten minutes, and more often for those just forgotten. `open_store` opens the store for
    one run."""

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
        self._tombstones = Tombstones(key, {})
        self._mark: object = None
        self._next_at = 0.0
        """When what has expired is due."""
        self._look_at = 0.0
        """When to see whether others were forgotten."""
        self._linger_until = 0.0

    def tick(self) -> None:
        """Delete a batch of what is due. Raises SetupError."""
        now = self._clock.monotonic()
        if now < min(self._next_at, self._look_at):
            return
        found = self._people.tombstones(self._mark)
        if found is not None:
            self._mark, self._tombstones = found[0], Tombstones(self._key, found[1])
            self._linger_until = now + EVERY_S if self._tombstones.newest is not None else 0.0
        due = now >= self._next_at
        if due or now < self._linger_until:
            with self._open_store() as store:
                gone = store.expire(self._clock.now(), limit=BATCH) if due else 0
                self._forget(store)
            if due and gone < BATCH:
                self._next_at = self._clock.monotonic() + EVERY_S
        self._look_at = now + SOON_S

    def _forget(self, store: ResponseStore) -> None:
        tombstones = self._tombstones
        if tombstones.newest is None:
            return
        for user, oldest in store.people(tombstones.newest).items():
            if tombstones.covers(user, oldest):
                store.forget_user(user, until=tombstones.until(user))
