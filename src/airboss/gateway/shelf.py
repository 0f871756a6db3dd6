"""Responses put away together: while one transaction runs, those that come wait; the next takes them all.

A transaction is on disk at its end, which takes a busy disk 80 ms: one for each call let a worker answer
twelve of `/v1/responses` a second, and held the threads that other calls need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

from airboss.domain.errors import WrongCall
from airboss.gateway.patience import Patience
from airboss.store.daemons import Daemons
from airboss.store.ledger_trouble import LedgerAway
from airboss.store.response_rows import KeptResponse, ResponseStore

TOGETHER_MAX: Final = 64
"""Responses of one transaction; while it runs nobody else writes to the ledger."""
SILENT_S: Final = 15.0
"""How long a call waits for a database that hangs: longer than one that is there keeps anybody waiting."""

_threads: Final = Daemons(2, "shelf")

_Waiting = tuple[ResponseStore, KeptResponse, "asyncio.Future[None]"]


class Shelf:
    """Used by one event loop. Without bound but for the calls under way, each of which has one here."""

    def __init__(self, silent_s: float = SILENT_S, *, beside: Patience | None = None) -> None:
        self._silent_s = silent_s
        self._patience = Patience(beside)
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._under_way: Future[None] | None = None
        """The transaction that runs."""

    async def put(self, store: ResponseStore, kept: KeptResponse) -> None:
        """As `ResponseStore.put`. Raises AirbossError: WrongCall for this one alone, others for all that were
        put away together, LedgerAway where the store is silent, at once where it is known to be. What was in
        a transaction by then may be put away later."""
        wait_s = self._patience.wait_s(self._silent_s)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((store, kept, done))
        if self._task is None:
            # A task of its own: a client that goes away takes nobody else's response with it.
            self._task = asyncio.ensure_future(self._put_away())
        try:
            await asyncio.wait_for(done, wait_s)
        except TimeoutError:
            # It is told as not kept, so it must not be kept when the store is back.
            self._waiting = [each for each in self._waiting if each[2] is not done]
            raise self._patience.gave_up(self._under_way, wait_s) from None

    async def _put_away(self) -> None:
        while self._waiting:
            store = self._waiting[0][0]
            ours = [each for each in self._waiting if each[0] is store][:TOGETHER_MAX]
            taken = {id(each) for each in ours}
            self._waiting = [each for each in self._waiting if id(each) not in taken]
            failed = await self._put(store, ours)
            if isinstance(failed, WrongCall) and len(ours) > 1:
                # One of them cannot be kept: that is no reason for the others, which are other callers'.
                for each in ours:
                    _tell([each], await self._put(store, [each]))
            else:
                _tell(ours, failed)
            if isinstance(failed, LedgerAway):  # nobody else has to find that out
                waiting, self._waiting = self._waiting, []
                _tell(waiting, failed)
        self._task = None

    async def _put(self, store: ResponseStore, ours: Sequence[_Waiting]) -> Exception | None:
        """Put these away, all or none; why not."""
        self._under_way = _threads.submit(store.put, *(kept for _, kept, _ in ours))
        self._patience.asked(self._under_way)
        try:
            await asyncio.wrap_future(self._under_way)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits has to hear of it
            return error
        return None


def _tell(ours: Sequence[_Waiting], failed: Exception | None) -> None:
    for _, _, done in ours:
        if done.done():
            continue  # its call was cancelled
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)
