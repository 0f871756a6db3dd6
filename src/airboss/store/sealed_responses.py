"""Kept responses, sealed as they are put away and opened as they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.store.response_rows import KeptResponse, ResponseStore, TooLong
from airboss.store.sealed_marks import PREFIX, Unopened

if TYPE_CHECKING:
    from airboss.store.keyring import Whose
    from airboss.store.sealer import Sealer


TEXTS = ("response", "messages")
"""What of a response is sealed."""


class SealedResponses:
    """Implements `ResponseStore` over another, `inner`, which is opened once it is used, as `sealer` is made
    once something is sealed or to be. `wanted`: what is put away is sealed. A response that does not open is
    one that is not there."""

    def __init__(
        self, inner: Callable[[], ResponseStore], sealer: Callable[[], Sealer], *, wanted: bool
    ) -> None:
        self._inner = inner
        self._sealer = sealer
        self._wanted = wanted

    def put(self, *kept: KeptResponse) -> None:
        """As `ResponseStore.put`."""
        self._inner().put(*(map(self._sealed, kept) if self._wanted else kept))

    def get(
        self, response_id: str, *, key: str, now: datetime, most: int | None = None
    ) -> KeptResponse | None:
        """As `ResponseStore.get`."""
        found = self._inner().get(response_id, key=key, now=now, most=most)
        opened = self._opened([found], most) if found is not None else None
        return opened[0] if opened else None

    def chain(self, response_id: str, *, key: str, now: datetime, most: int) -> Sequence[KeptResponse] | None:
        """As `ResponseStore.chain`."""
        found = self._inner().chain(response_id, key=key, now=now, most=most)
        return None if found is None else self._opened(found, most)

    def delete(self, response_id: str, *, key: str, now: datetime) -> bool:
        """As `ResponseStore.delete`."""
        return self._inner().delete(response_id, key=key, now=now)

    def people(self, before: datetime) -> Mapping[str, datetime]:
        """As `ResponseStore.people`."""
        return self._inner().people(before)

    def forget_user(self, user: str, *, until: datetime | None = None) -> int:
        """As `ResponseStore.forget_user`."""
        return self._inner().forget_user(user, until=until)

    def expire(self, now: datetime, *, limit: int) -> int:
        """As `ResponseStore.expire`."""
        return self._inner().expire(now, limit=limit)

    def _sealed(self, kept: KeptResponse) -> KeptResponse:
        whose: Whose = (kept.user, kept.created_at, "responses")
        try:
            sealer = self._sealer()
            texts = {name: sealer.text(getattr(kept, name), whose, _place(kept, name)) for name in TEXTS}
        except StoreUnavailable as error:
            raise SetupError(str(error)) from error
        return replace(kept, **texts)

    def _opened(self, found: Sequence[KeptResponse], most: int | None = None) -> list[KeptResponse] | None:
        """These, or None where one of them does not open. Raises TooLong: what is sealed is smaller."""
        if not any(each.messages.startswith(PREFIX) for each in found):
            return list(found)
        sealer = self._sealer()
        try:
            sealer.refresh()
            opened: list[KeptResponse] = []
            size = 0
            for each in reversed(found):
                opened.append(self._one(sealer, each))
                size += sum(len(getattr(opened[-1], name).encode()) for name in TEXTS)
                if most is not None and size > most:
                    raise TooLong(size, len(opened))
            return opened[::-1]
        except Unopened:
            return None
        except StoreUnavailable as error:
            raise SetupError(str(error)) from error

    def _one(self, sealer: Sealer, kept: KeptResponse) -> KeptResponse:
        texts = {
            name: sealer.opened(text.removeprefix(PREFIX), _place(kept, name)).decode()
            for name in TEXTS
            if (text := getattr(kept, name)).startswith(PREFIX)
        }
        return replace(kept, **texts)


def _place(kept: KeptResponse, name: str) -> str:
    """What a text of a response is sealed for; another key's may have the same id."""
    return f"{kept.key}\0{kept.id}\0{name}"
