"""Users of a key, as those who count know them: by a hash, and only so many; values of a tag too. Pure; times
are arguments."""

from __future__ import annotations

import hashlib
from typing import Final

from airboss.domain.ports import ApiKey

NOBODY: Final = "-"
"""Calls that name no user are all one user's."""
REST: Final = "+"
"""So are those of users beyond USERS_MAX."""
USERS_MAX: Final = 50_000
"""So many users of a key a worker tells apart in an hour. Each has counters, which take memory where they are
kept, and whoever has the key may name as many users as they like."""
AN_HOUR_S: Final = 3600.0


class Users:
    """Who calls with one key, or the values of one tag: at most USERS_MAX are told apart that called in this
    hour or the one before.

    Who is known stays known: however many names are made up, nobody's counts begin anew, and nobody who calls
    already is refused for it. Those who come then share what one user may have.
    """

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self._now: set[str] = set()
        self._before: set[str] = set()
        """Those of the hour before that have not called since."""
        self._since = float("-inf")

    def counted_as(self, user: str | None, now: float) -> str:
        """The name of this user for counters; `now` in seconds that only grow."""
        if not user:
            return NOBODY
        name = pseudonym(self.salt, user)
        if now - self._since >= AN_HOUR_S:
            self._before, self._now, self._since = self._now, set(), now
        if name in self._now:
            return name
        if name in self._before:
            self._before.remove(name)
        elif len(self._now) + len(self._before) >= USERS_MAX:
            return REST
        self._now.add(name)
        return name


def salt_of(key: ApiKey) -> bytes:
    """What names of this key's users are hashed with: the same on every machine, and after a rotation."""
    return hashlib.blake2b(f"{key.name} {key.created_at.isoformat()}".encode(), digest_size=32).digest()


def tag_salt(name: str) -> bytes:
    """What values of a tag are hashed with: the same on every machine."""
    return hashlib.blake2b(spender(name).encode("utf-8", "surrogatepass"), digest_size=32).digest()


def spender(tag: str) -> str:
    """As whose what values of a tag spend is kept, where else a key's name stands, which begins otherwise."""
    return f"#{tag}"


def pseudonym(salt: bytes, user: str) -> str:
    """A user's name for counters (BLAKE2b, 128 bits, in hex), so that no counter has the user's own."""
    return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=salt, digest_size=16).hexdigest()
