"""A key that bodies are sealed with, as it is kept, and what a store of these promises."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec


class BodyKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, `wrapped` by the master key whose mark is `master`.

    `holder` is whose bodies it seals: a person's keyed hash (as in `Erasure.digest`), or `bodies DAY` and
    `comments DAY` for those of nobody. `generation` is empty, or when the person was forgotten (as
    `Erasure.at`): then it seals what is of them from after that.
    """

    id: str
    holder: str
    generation: str
    wrapped: bytes
    master: str
    made_at: str


class BodyKeyStore(Protocol):
    """Keeps keys until they are destroyed. Raises SetupError if the database cannot be used."""

    def get(self, key_id: str) -> BodyKey | None:
        """The key of this id."""

    def put(self, keys: Sequence[BodyKey]) -> Sequence[BodyKey]:
        """Keep these keys, on disk when it returns; where a holder has one of that generation, that one
        stays. Returns those that are kept, in the order given."""

    def held(self, holders: Collection[str]) -> Sequence[BodyKey]:
        """The keys of these holders."""

    def master(self) -> str | None:
        """The mark of the master key that keys are wrapped with; None: there are none."""

    def destroy_forgotten(self) -> int:
        """Delete the keys of people for whom there is an erasure, but for what came after that; how many."""

    def destroy_before(self, holder: str) -> int:
        """Delete the keys of nobody's whose holder is of the same kind as this one, of an earlier day; how
        many."""
