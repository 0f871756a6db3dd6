"""Answers that are paid for once: kept as they come, and given again when the same is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from airboss.evaluations.datasets import input_digest
from airboss.evaluations.ports import Answer, Call, Caller, EvalStore
from airboss.releases.digest import digest

FORGOTTEN: Final = "whose words these are was forgotten meanwhile"
UNANSWERED: Final = "the app has no answer to it"
"""Of an app, which cannot be asked."""


class Asking:
    """What is under way, each thing once, among all that share this: the tasks of one run, and runs in
    threads and loops of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    @asynccontextmanager
    async def alone(self, key: str, waits: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Nobody else is in the block of this key meanwhile; who comes later waits, and `waits` is called."""
        while (turn := self._enter(key)) is not None:
            waits()
            await turn.wait()
        try:
            yield
        finally:
            with self._lock:
                waiting = self._waiting.pop(key)
            for loop, event in waiting:
                with suppress(RuntimeError):  # who waited was told to stop, and its loop is closed
                    loop.call_soon_threadsafe(event.set)

    def _enter(self, key: str) -> asyncio.Event | None:
        """None: it is free, and taken now; else what is set when it is worth another try."""
        with self._lock:
            if key not in self._waiting:
                self._waiting[key] = []
                return None
            event = asyncio.Event()
            self._waiting[key].append((asyncio.get_running_loop(), event))
            return event


class PaidOnce:
    """A `Caller` before another one. An answer is on disk before it is given; what failed is not kept.

    A killed process loses the calls that were in flight, and no other. `paid`, `reused`, `cost_usd` (of the
    paid ones with a known price) and `unpriced` (the others of them) count since it was made; what an app
    answered is none of them. Those that
    share an `asking` wait for one answer where they ask the same at once. Once `dataset`, by digest, is
    deleted, whoever calls gets a WrongCall.
    """

    def __init__(
        self,
        caller: Caller,
        store: EvalStore,
        now: Callable[[], datetime],
        asking: Asking | None = None,
        dataset: str | None = None,
    ) -> None:
        self._caller = caller
        self._store = store
        self._now = now
        self._asking = asking or Asking()
        self._dataset = dataset
        self.paid = 0
        self.reused = 0
        self.unpriced = 0
        self.cost_usd = Decimal(0)

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`; two that ask the same at once wait for one answer. Nothing of a person is asked
        who was forgotten since whoever calls read their item."""
        if call.user is not None and await asyncio.to_thread(self._store.forgotten, call.subject, call.user):
            return Answer(error=FORGOTTEN)
        key = answer_key(call)
        async with self._asking.alone(key):
            kept = await asyncio.to_thread(self._store.answer, key)
            if kept is not None:
                self.reused += not call.target.app
                return msgspec.json.decode(kept, type=Answer)
            if call.target.app:
                return Answer(error=UNANSWERED)
            answer = await self._caller.call(call)
            if answer.error is not None:
                return answer
            self.paid += 1
            self.cost_usd += answer.cost_usd or Decimal(0)
            self.unpriced += answer.cost_usd is None
            content = msgspec.json.encode(answer).decode()
            put = partial(self._store.put_answer, subject=call.subject, content=content, at=self._now())
            for each in keys(call):
                await asyncio.to_thread(put, each, user=call.user, dataset=self._dataset)
            return answer


def keys(call: Call) -> tuple[str, ...]:
    """Under which an answer is kept: one that was asked for `apart` answers who does not mind, too."""
    key = answer_key(call)
    return (key, answer_key(msgspec.structs.replace(call, apart=""))) if call.apart else (key,)


def answer_key(call: Call) -> str:
    """What makes two calls the same: release, question, parameters and which repeat it is. The deployment
    is not part of it: it is only the way to the release."""
    apart = [call.apart] if call.apart else []
    return digest(["answer", call.target.release, input_digest(call.input), call.params, call.repeat, *apart])
