"""What requests name of kept responses, read for them within bounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import msgspec

from airboss.domain.errors import AirbossError, InvalidRequest, Unavailable
from airboss.gateway.patience import Patience
from airboss.gateway.referred import BYTES_MAX, input_with, items_named, kept_items, too_many, with_input
from airboss.gateway.room import SMALL_BYTES, Place
from airboss.gateway.shelf import SILENT_S, Shelf
from airboss.store.daemons import Daemons
from airboss.store.response_rows import KeptResponse, ResponseStore, TooLong
from airboss.telemetry.outage import Outage

if TYPE_CHECKING:
    from airboss.gateway.worker import Worker

_threads: Final = Daemons(4, "responses")

P = ParamSpec("P")
T = TypeVar("T")

_outage: Final = Outage(logging.getLogger("airboss.gateway"), "kept responses cannot be read")
_reading: Final = Patience()


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """Where responses are kept, and for how many days; `sealed` is the same store, into which they are put
    sealed."""

    store: ResponseStore
    days: int
    sealed: ResponseStore | None = None
    shelf: Shelf = msgspec.field(default_factory=lambda: Shelf(beside=_reading))


class Kept:
    """What a call names of kept responses, read within its place of the worker's memory."""

    def __init__(self, worker: Worker, keeping: Keeping | None, owner: str, place: Place) -> None:
        self.keeping = keeping
        self.owner = owner
        self._now = worker.clock.now()
        self._place = place

    async def with_items(self, body: bytes) -> bytes:
        """A request with the items in it that it only names. Raises ApiError."""
        named = items_named(body)
        if self.keeping is None or not named:
            return body
        get = self.keeping.store.get

        def read(most: int) -> tuple[dict[str, msgspec.Raw], int]:
            items: dict[str, msgspec.Raw] = {}
            size = 0
            for response, wanted in named.items():
                kept = get(response, key=self.owner, now=self._now)
                more = kept_items(kept.response, wanted) if kept is not None else {}
                size += sum(memoryview(each).nbytes for each in more.values())
                if size > most:
                    raise TooLong(size, len(items))
                items |= more
            return items, size

        try:
            items = await self._within(read)
        except TooLong as error:
            raise too_many(error.size) from None
        said, size = input_with(body, items)
        await self._place.take(size)
        return with_input(body, said)

    async def chain(self, response_id: str) -> Sequence[KeptResponse] | None:
        """A response after all that it builds on. Raises InvalidRequest, Unavailable."""
        if self.keeping is None:
            return None
        chain = self.keeping.store.chain

        def read(most: int) -> tuple[Sequence[KeptResponse] | None, int]:
            found = chain(response_id, key=self.owner, now=self._now, most=most)
            return found, sum(len(each.messages.encode()) for each in found or ())

        try:
            return await self._within(read)
        except TooLong as error:
            raise InvalidRequest(
                f"the conversation that ends with {response_id!r} is longer than can be built on: its last "
                f"{error.links} responses have {error.size} bytes, of {BYTES_MAX} at most; go on from an "
                "earlier response, or begin anew with what matters of it as 'input'",
                code="conversation_too_long",
                param="previous_response_id",
            ) from None

    async def response(self, response_id: str) -> KeptResponse | None:
        """One response, however long it is. Raises Unavailable."""
        if self.keeping is None:
            return None
        get = self.keeping.store.get

        def read(most: int) -> tuple[KeptResponse | None, int]:
            found = get(response_id, key=self.owner, now=self._now, most=most if most < BYTES_MAX else None)
            return found, len(found.response) + len(found.messages) if found is not None else 0

        return await self._within(read)

    async def _within(self, read: Callable[[int], tuple[T, int]]) -> T:
        """What is read, which says its size and raises TooLong above what it may read: little at first, for
        which nobody waits."""
        try:
            return (await asked_of(read, SMALL_BYTES))[0]
        except TooLong:
            await self._place.take(BYTES_MAX)
            found, size = await asked_of(read, BYTES_MAX)
        self._place.give(BYTES_MAX - size)
        return found


async def asked_of(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the store of responses says, asked in a thread of theirs: a database that hangs keeps it. Raises
    Unavailable where it cannot be asked, or is silent; at once where it is known to be."""
    try:
        found = await _answered(ask, *args, **kwargs)
    except AirbossError as error:
        _outage.failed(error)
        raise Unavailable(
            "kept responses cannot be read just now; try again, or send the conversation as 'input'",
            code="responses_unavailable",
            retry_after_s=1,
        ) from error
    _outage.over()
    return found


async def _answered(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    wait_s = _reading.wait_s(SILENT_S)
    asked = _threads.submit(ask, *args, **kwargs)
    _reading.asked(asked)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(asked), wait_s)
    except TimeoutError:
        raise _reading.gave_up(asked, wait_s) from None
