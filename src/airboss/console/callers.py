"""Who asks: the admin key, or one of the console keys, each with its role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Final

import msgspec

from airboss.config.types import OidcConfig, Role
from airboss.console.session import PERSON, person_named
from airboss.domain.errors import PermissionDenied, SetupError
from airboss.domain.ports import ApiKey, Clock, Ledger
from airboss.governance.keys import Keyring, hash_key
from airboss.governance.roles import MAY, allows, good_hashes, who_may
from airboss.governance.sign_in import terms
from airboss.store.daemons import Daemons

NAMED_MAX = 8
"""Of those who may what somebody else may not."""
SILENT_S: Final = 1.0
"""So long the ledger is waited for by who could do without."""

_threads: Final = Daemons(4, "keys")


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was let in, and as what. `key` is the name of a console key, or of a person who signed in;
    None: the admin key. `id` is `Person.id`, "" for a key. A role that is none allows nothing. `before`:
    whoever has, or may have, the key's secret beside its holder."""

    role: str
    key: str | None = None
    id: str = ""
    before: tuple[str, ...] = ()

    @property
    def hands(self) -> tuple[str, ...]:
        """Who may be at work where they are: they, and who made their key or gave it another secret,
        directly or through others. Nobody of the admin key's, who needs no key that they made."""
        own = (PERSON + self.id if self.id else self.key,) if self.key is not None else ()
        return tuple(dict.fromkeys((*own, *self.before)))

    def may(self, needed: Role) -> bool:
        """Whether this role is enough."""
        return allows(self.role, needed)

    def actor(self, *, program: bool) -> str:
        """What the audit log calls them."""
        return self.key or ("admin key" if program else "console")


ADMIN = Caller(role="admin")
"""Who has the admin key."""

NOBODY = Caller(role="")
"""Who was not let in: may nothing."""


def too_low(caller: Caller, needed: Role, what: str, *, may: Sequence[str] = ()) -> PermissionDenied:
    """The refusal of what a role is not enough for. `what` begins the sentence; `may` names who could."""
    others = "" if len(may) <= NAMED_MAX else ", others"
    named = "".join(f"{name}, " for name in may[:NAMED_MAX])
    return PermissionDenied(
        f"{what} needs the role {needed} ({MAY[needed]}), and {caller.key or 'this key'!r} has "
        f"{caller.role or 'none'}. Who may: {named.removesuffix(', ')}{others}{' and ' if may else ''}"
        "whoever has the admin key.",
        code="role_too_low",
    )


class _Read(msgspec.Struct, frozen=True):
    """The keys of one revision."""

    revision: int
    keys: tuple[ApiKey, ...]
    ring: Keyring


class Callers:
    """The console keys of a ledger, and the people whom `oidc` lets in. What was read of keys holds until the
    ledger's revision is another. Any thread may ask."""

    def __init__(
        self, ledger: Ledger, clock: Clock, oidc: Callable[[], OidcConfig | None] = lambda: None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._oidc = oidc
        self._read: _Read | None = None
        self._asked: Future[_Read] | None = None

    def seen(self, secret: str) -> bool:
        """Whether this was the secret of a console key when keys were last read; reads nothing."""
        return self._read is not None and self._read.ring.console(secret) is not None

    def ring(self) -> Keyring:
        """Every key that is good now. Raises SetupError."""
        return self._now().ring

    def holder(self, secret: str) -> tuple[Caller, str] | None:
        """Who has this secret, and what a session that it opens is bound to; None if it is no console key's.
        Raises SetupError."""
        return _holder(self._now().ring, secret)

    def lately(self, secret: str) -> tuple[Caller, str] | None:
        """As `holder`; where the ledger does not answer in SILENT_S, by the keys that were read last: good
        enough for who asks how everything stands, and for nothing else. Raises SetupError where none were."""
        asked = self._asked
        if asked is None or asked.done():
            asked = self._asked = _threads.submit(self._now)
        try:
            return _holder(asked.result(SILENT_S).ring, secret)
        except (TimeoutError, SetupError):
            read = self._read
            if read is None:
                raise SetupError(
                    "the ledger does not answer, and whose this key is has not been read"
                ) from None
            return _holder(Keyring(read.keys, now=self._clock.now()), secret)

    def named(self, name: str) -> tuple[Caller, tuple[str, ...]] | None:
        """The console key or person of this name, and what their sessions may be bound to now. A person is
        who the name says, if a session is so bound: nothing else tells. Raises SetupError."""
        person = person_named(name)
        if person is not None:
            oidc = self._oidc()
            caller = Caller(role=person.role, key=person.name, id=person.id)
            return (caller, (bond_of(oidc),)) if oidc is not None else None
        now = self._clock.now()
        for key in self._now().keys:
            if key.name == name and key.role is not None:
                return caller_of(key), tuple(bond(key, sha256) for sha256 in good_hashes(key, now))
        return None

    def who_may(self, needed: Role) -> tuple[str, ...]:
        """The names of those with such a role. Raises SetupError."""
        return who_may(self._now().keys, needed, self._clock.now())

    def _now(self) -> _Read:
        revision, now, read = self._ledger.revision(), self._clock.now(), self._read
        if read is None or read.revision != revision or _over(read.ring, now):
            # The revision came first: keys that are newer than it are read again, never taken for older.
            keys = self._ledger.all_keys()
            read = self._read = _Read(revision, keys, Keyring(keys, now=now))
        return read


def _holder(ring: Keyring, secret: str) -> tuple[Caller, str] | None:
    key = ring.console(secret)
    return None if key is None else (caller_of(key), bond(key, hash_key(secret)))


def _over(ring: Keyring, now: datetime) -> bool:
    return ring.changes_at is not None and ring.changes_at <= now


def caller_of(key: ApiKey) -> Caller:
    """Who has this console key."""
    return Caller(role=key.role or "", key=key.name, before=key.hands)


def bond(key: ApiKey, sha256: str) -> str:
    """What a session is bound to: with another role, or without that secret, it ends."""
    return f"{key.role}\0{sha256}"


def bond_of(oidc: OidcConfig) -> str:
    """What the session of a person is bound to: where others have roles, or others say who is who, it ends.
    It is never that of a key, which begins with a role."""
    return f"oidc\0{terms(oidc)}"
