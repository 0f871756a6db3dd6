"""Answers that are paid for once: kept as they come, and given again when the same is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from airboss.evaluations.datasets import input_digest
from airboss.evaluations.ports import Answer, Call, Caller, EvalStore
from airboss.releases.digest import digest

FORGOTTEN: Final = "whose words these are was forgotten meanwhile"


class PaidOnce:
    """A `Caller` before another one. An answer is on disk before it is given; what failed is not kept.

    A killed process loses the calls that were in flight, and no other. `paid`, `reused` and `cost_usd` (of
    the paid ones with a known price) count since it was made.
    """

    def __init__(self, caller: Caller, store: EvalStore, now: Callable[[], datetime]) -> None:
        self._caller = caller
        self._store = store
        self._now = now
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.paid = 0
        self.reused = 0
        self.cost_usd = Decimal(0)

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`; two that ask the same at once wait for one answer. Nothing of a person is asked
        who was forgotten since whoever calls read their item."""
        if call.user is not None and await asyncio.to_thread(self._store.forgotten, call.subject, call.user):
            return Answer(error=FORGOTTEN)
        key = answer_key(call)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            kept = await asyncio.to_thread(self._store.answer, key)
            if kept is not None:
                self.reused += 1
                return msgspec.json.decode(kept, type=Answer)
            answer = await self._caller.call(call)
            if answer.error is not None:
                return answer
            self.paid += 1
            self.cost_usd += answer.cost_usd or Decimal(0)
            content = msgspec.json.encode(answer).decode()
            await asyncio.to_thread(
                self._store.put_answer,
                key,
                subject=call.subject,
                content=content,
                at=self._now(),
                user=call.user,
            )
            return answer


def answer_key(call: Call) -> str:
    """What makes two calls the same: release, question, parameters and which repeat it is. The deployment
    is not part of it: it is only the way to the release."""
    return digest(["answer", call.target.release, input_digest(call.input), call.params, call.repeat])
