"""A person to forget, as it is kept, and what a store of these promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

ErasureState = Literal["pending", "done"]
"""`pending`: asked for and not finished, because a store is away or busy; it goes on by itself."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """That a person was to be forgotten at `at`, as `by` asked. What is of them from before that, and is
    found later, is blanked then too.

    `digest` is a keyed hash of the user (`governance.erasure`); `user` itself is here only until it is done,
    and None as soon as nothing but the ledger's own file is left to clean. The rest counts what was found:
    records and scores in the record store, items of datasets with what was cached for them, names in the
    audit log.
    """

    id: int
    digest: str
    at: datetime
    by: str
    user: str | None
    done_at: datetime | None
    records: int = 0
    scores: int = 0
    items: int = 0
    names: int = 0

    @property
    def state(self) -> ErasureState:
        """Where it stands."""
        return "pending" if self.done_at is None else "done"


class ErasureStore(Protocol):
    """Keeps erasures, for good: each is the tombstone of a person. Raises SetupError if the database cannot
    be used."""

    def ask(self, user: str, *, digest: str, at: datetime, by: str) -> Erasure:
        """Have a person forgotten. One who is being forgotten already gets the newer time and no second
        row."""

    def get(self, erasure_id: int) -> Erasure | None:
        """The erasure of this id."""

    def newest(self, limit: int) -> Sequence[Erasure]:
        """The newest first."""

    def pending(self) -> Sequence[Erasure]:
        """Those that are not done, oldest first."""

    def tombstones(self, than: object = None) -> tuple[object, Mapping[str, datetime]] | None:
        """Until when each person is forgotten, by digest, and a mark of this state; None: still as at the
        mark `than`. Cheap where nothing has changed."""

    def found(self, erasure_id: int, *, records: int, scores: int, items: int, names: int) -> None:
        """Everything but the ledger's own file is clean: add what was found, and drop the user."""

    def clean(self) -> bool:
        """Overwrite what was deleted from the ledger's file; False if somebody was using it: try again."""

    def finish(self, erasure_ids: Sequence[int], now: datetime) -> None:
        """These are done."""
