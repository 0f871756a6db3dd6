"""Forgetting people: how one is remembered as forgotten, and what is known of it. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from airboss.domain.errors import WrongCall
from airboss.domain.record import InferenceRecord
from airboss.store.erasure_rows import Erasure, ErasureStore
from airboss.store.usage import LABEL_CHARS_MAX


class Tombstones:
    """Who is forgotten, until when: by a keyed hash, so that the list names nobody to whom has no key."""

    def __init__(self, key: str, until: Mapping[str, datetime]) -> None:
        self._key = key.encode()
        self._until = until
        self.newest = max(until.values(), default=None)
        """The newest of them; None: nobody was ever forgotten."""

    def covers(self, user: str | None, began_at: datetime) -> bool:
        """Whether what began then is of somebody who has been forgotten since."""
        if user is None or self.newest is None or began_at > self.newest:
            return False
        until = self.until(user)
        return until is not None and began_at <= until

    def until(self, user: str) -> datetime | None:
        """Until when this person is forgotten; None: they never were."""
        return self._until.get(digest(self._key, user))


def digest(key: bytes, user: str) -> str:
    """The keyed hash (HMAC-SHA-256, in hex) under which a person is forgotten."""
    return hmac.digest(key, b"airboss erasure\0" + user.encode("utf-8", "surrogatepass"), "sha256").hex()


class Forgetting:
    """What people ask for; `controller.erasing` does it, and says when it is at work."""

    def __init__(self, store: ErasureStore, key: str) -> None:
        self.store = store
        self.busy = False
        """Whether somebody is being forgotten at this moment, by this process."""
        self._key = key.encode()
        self._text = key
        self._known: tuple[object, Tombstones] = (None, Tombstones(key, {}))

    def tombstones(self) -> Tombstones:
        """Who is forgotten by now, or about to be."""
        found = self.store.tombstones(self._known[0])
        if found is not None:
            self._known = (found[0], Tombstones(self._text, found[1]))
        return self._known[1]

    def covers(self, record: InferenceRecord) -> bool:
        """Whether this is of somebody who has been forgotten since, or is about to be."""
        return self.tombstones().covers(record.user, record.started_at)

    def ask(self, user: str, *, by: str, now: datetime) -> Erasure:
        """Have a person forgotten: all that is of them from before `now`. Raises WrongCall for what is no
        user."""
        if not user or len(user) > LABEL_CHARS_MAX:
            raise WrongCall(
                f"a user has 1 to {LABEL_CHARS_MAX:,} characters, not {len(user):,}; give it as calls sent it"
            )
        return self.store.ask(user, digest=digest(self._key, user), at=now, by=by)

    def get(self, erasure_id: int) -> Erasure | None:
        """The erasure of this id."""
        return self.store.get(erasure_id)

    def newest(self, limit: int) -> Sequence[Erasure]:
        """The newest first."""
        return self.store.newest(limit)
