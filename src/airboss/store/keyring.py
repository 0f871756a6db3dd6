"""The keys that bodies are sealed with, unwrapped: who gets which, and who gets none any more."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.store.body_key_rows import BodyKey, BodyKeyStore
from airboss.store.erasure_rows import ErasureStore
from airboss.store.sealed_marks import Unopened
from airboss.store.sealing import Key, decrypted, encrypted, key_of, new_key, unseal

CACHED_MAX: Final = 16_384
"""Keys held unwrapped; with more, all are fetched again."""
GONE: Final = (
    "its key is not there: it was destroyed, as its person was forgotten or its time was over, or this is "
    "the ledger of another Airboss"
)

Kind = Literal["bodies", "comments", "responses", "letters"]
"""What of nobody's is sealed with one key: each kind is kept for a time of its own."""

Whose = tuple[str | None, datetime, Kind]
"""Whose text it is, if anybody's, when what it is of began, and what it is."""


class Keyring:
    """Any thread may ask. `secret` gives the secret that the master key is made of, None where there is none;
    `holder` is a person's keyed hash, as in `Erasure.digest`.

    A key is on disk before anything is sealed with it. One of somebody who was forgotten is given to nobody
    from the moment on that this was asked for, also before it is destroyed.
    """

    def __init__(
        self,
        store: BodyKeyStore,
        people: ErasureStore,
        *,
        secret: Callable[[], str | None],
        holder: Callable[[str], str],
    ) -> None:
        self._store = store
        self._people = people
        self._secret = secret
        self._holder = holder
        self._lock = threading.Lock()
        self._held: tuple[AESGCM, str] | None = None
        self._mark: object = None
        self._until: Mapping[str, datetime] = {}
        self._by_holder: dict[tuple[str, str], Key] = {}
        self._by_id: dict[str, Key] = {}

    def keys(self, people: Iterable[Whose]) -> dict[Whose, Key]:
        """A key for each, made where there is none; for what is of somebody from before they were forgotten
        one that nobody has. Raises StoreUnavailable where none can be had."""
        try:
            with self._lock:
                return self._keys(set(people))
        except SetupError as error:
            raise StoreUnavailable(str(error)) from error

    def opened(self, sealed: str, place: str) -> bytes:
        """What was sealed for this place. Raises Unopened, and SetupError if the ledger cannot be used."""
        text: bytes | str = sealed
        while isinstance(text, str):
            text = unseal(self._key(key_of(text)), text, place)
        return text

    def refresh(self) -> None:
        """Know who was forgotten by now. Raises SetupError."""
        with self._lock:
            self._refresh()

    def ever(self) -> bool:
        """Whether anything was ever sealed. Raises SetupError."""
        return bool(self._by_id) or self._store.master() is not None

    def destroy_forgotten(self) -> int:
        """Destroy the keys of people who were forgotten. Raises SetupError."""
        return self._store.destroy_forgotten()

    def destroy_before(self, kind: Kind, moment: datetime) -> None:
        """Destroy the keys of nobody's of days that ended by then. Raises SetupError."""
        if self._store.destroy_before(_day(kind, moment)):
            with self._lock:
                self._forget()

    def trouble(self) -> str | None:
        """Why keys cannot be used at all; None: they can, or there are none. Raises SetupError."""
        try:
            known = self._store.master()
            if known is not None:
                with self._lock:
                    self._master(known)
        except Unopened as error:
            return str(error)
        return None

    def _refresh(self) -> None:
        found = self._people.tombstones(self._mark)
        if found is not None:
            self._mark, self._until = found
            self._forget()

    def _forget(self) -> None:
        self._by_holder.clear()
        self._by_id.clear()

    def _keys(self, people: set[Whose]) -> dict[Whose, Key]:
        self._refresh()
        wanted = {each: self._named(*each) for each in people}
        names = {name for name in wanted.values() if name is not None}
        missing = names - self._by_holder.keys()
        if missing:
            if len(self._by_id) + len(missing) > CACHED_MAX:
                self._forget()
                missing = names
            self._fetch(missing)
        never = Key(new_key()[0], AESGCM(new_key()[1]))
        return {each: never if name is None else self._by_holder[name] for each, name in wanted.items()}

    def _named(self, user: str | None, began: datetime, kind: Kind) -> tuple[str, str] | None:
        """The holder and generation of a key; None for what is from before its person was forgotten."""
        if user is None:
            return _day(kind, began), ""
        holder = self._holder(user)
        until = self._until.get(holder)
        if until is None:
            return holder, ""
        return (holder, _text(until)) if began > until else None

    def _fetch(self, names: set[tuple[str, str]]) -> None:
        found = {
            (row.holder, row.generation): row
            for row in self._store.held({holder for holder, _ in names})
            if (row.holder, row.generation) in names
        }
        new = [self._made(*name) for name in sorted(names - found.keys())]
        for row in self._store.put(new) if new else ():
            found[row.holder, row.generation] = row
        try:
            for name, row in found.items():
                key = self._unwrapped(row)
                self._by_holder[name] = self._by_id[row.id] = key
        except Unopened as error:
            raise StoreUnavailable(f"bodies cannot be sealed: {error}") from None

    def _made(self, holder: str, generation: str) -> BodyKey:
        try:
            cipher, mark = self._master(self._store.master())
        except Unopened as error:
            raise StoreUnavailable(f"bodies cannot be sealed: {error}") from None
        key_id, key = new_key()
        wrapped = encrypted(cipher, key, _place(key_id, holder, generation))
        made_at = _text(datetime.now(UTC))
        return BodyKey(
            id=key_id, holder=holder, generation=generation, wrapped=wrapped, master=mark, made_at=made_at
        )

    def _key(self, key_id: str) -> Key:
        with self._lock:
            held = self._by_id.get(key_id)
            if held is not None:
                return held
            row = self._store.get(key_id)
            if row is None:
                raise Unopened(GONE)
            until = self._until.get(row.holder)
            if until is not None and row.generation < _text(until):
                raise Unopened(GONE)
            key = self._unwrapped(row)
            if len(self._by_id) >= CACHED_MAX:
                self._forget()
            self._by_id[key_id] = key
            return key

    def _unwrapped(self, row: BodyKey) -> Key:
        cipher, _ = self._master(row.master)
        place = _place(row.id, row.holder, row.generation)
        return Key(row.id, AESGCM(decrypted(cipher, row.wrapped, place)))

    def _master(self, known: str | None) -> tuple[AESGCM, str]:
        """The master key and its mark. Raises Unopened where it is not the one of this mark, with which keys
        were wrapped, or there is none."""
        if self._held is None or known not in {None, self._held[1]}:
            secret = self._secret()
            if secret is None:
                raise Unopened(
                    "the master key that keys of bodies are wrapped with is missing: put secrets/bodies_key "
                    "of the data directory back; nothing is lost meanwhile"
                )
            master = hashlib.sha256(b"airboss bodies master key\0" + secret.encode()).digest()
            mark = hashlib.sha256(b"airboss bodies master mark\0" + master).hexdigest()[:16]
            self._held = AESGCM(master), mark
        if known not in {None, self._held[1]}:
            raise Unopened(
                f"the master key in secrets/bodies_key of the data directory ({self._held[1]}) is not the "
                f"one that keys of bodies are wrapped with ({known}): put that one back; nothing is lost "
                "meanwhile"
            )
        return self._held


def _place(key_id: str, holder: str, generation: str) -> str:
    return f"key\0{key_id}\0{holder}\0{generation}"


def _day(kind: Kind, moment: datetime) -> str:
    return f"{kind} {moment.astimezone(UTC):%Y-%m-%d}"


def _text(moment: datetime) -> str:
    """As `Erasure.at` is kept."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
