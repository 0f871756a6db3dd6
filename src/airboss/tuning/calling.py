"""How a search calls: the gateway is told of candidates with each call, and calls are counted.

Candidates are many and live for minutes, so no plan has them: a candidate's call carries it
(`releases.variant`), and the gateway renders it as it would serve it. Answers are kept under the candidate's
own digest: should it become a release, what was paid for is known of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import msgspec

from airboss.domain.release import Release
from airboss.evaluations.paid_once import PaidOnce, answer_key
from airboss.evaluations.ports import Answer, Call, Caller, EvalStore, Target, Varied
from airboss.releases.variant import Variant
from airboss.store.wording import many
from airboss.tuning.ports import TuneStore


class Varying:
    """A `Caller` that knows releases which the gateway does not: variants of the one that `base` leads to.
    The calls of all others pass through as they are."""

    def __init__(self, caller: Caller, base: Target) -> None:
        self._caller = caller
        self._base = base
        self._known: dict[str, Variant] = {}

    def know(self, release: Release, *, new_model: bool = False, port: int | None = None) -> Target:
        """Take note of a variant; returns how to call it. `new_model`: it has another model than `base`, and
        with `port` an engine of its own there."""
        if release.digest != self._base.release:
            self._known[release.digest] = Variant(
                prompt=release.prompt,
                examples=release.examples,
                form=release.form,
                model=release.model if new_model else None,
                port=port,
            )
        return Target(deployment=self._base.deployment, release=release.digest, name=release.name)

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        variant = self._known.get(call.target.release)
        if variant is None:
            return await self._caller.call(call)
        told = Varied(release=self._base.release, variant=variant)
        return await self._caller.call(msgspec.structs.replace(call, varied=told))


class Metered:
    """A `Caller` with a budget, before a paid-once cache, before `caller`.

    `limit` bounds the calls begun for the job, in this process and in those before it that died: an answer
    from the cache is free, a call that fails is not. Beyond `ceiling`, which keeps calls back for what comes
    later and may be raised up to `limit`, a call is answered with an error and not made.

    `spent` counts what the job has asked for that was not there before it. A process that goes on after a
    crash counts it alike, although it finds those answers, and so decides alike. Calls that were in flight
    at a crash are lost: they are begun twice, count in `begun` alone, and are what `limit` needs some slack
    for.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        evals: EvalStore,
        tunes: TuneStore,
        job: str,
        dataset: str,
        limit: int,
        now: Callable[[], datetime],
        on_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._caller = caller
        self._evals = evals
        self._tunes = tunes
        self._job = job
        self._on_call = on_call
        self._begun: dict[str, int] = dict(tunes.tune_calls(job))
        self._counted: set[str] = set()
        self._cache = PaidOnce(_Paying(self), evals, now, dataset=dataset)
        self.limit = limit
        self.ceiling = limit
        self.begun = sum(self._begun.values())
        self.refused = 0

    @property
    def spent(self) -> int:
        """How many calls the job has needed so far."""
        return len(self._counted)

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        key = answer_key(call)
        if key in self._begun:
            self._counted.add(key)
        answer = await self._cache.call(call)
        self._on_call()
        return answer

    async def pay(self, call: Call) -> Answer:
        """Make a call that is in no cache, if there is one left."""
        key = answer_key(call)
        if self.begun >= self.ceiling:
            self.refused += 1
            return Answer(error=f"the budget of {many(self.limit, 'call')} has none left for this one")
        # First counted, then made: whatever happens in between, there are never more calls than counted.
        self.begun += 1
        self._begun[key] = self._begun.get(key, 0) + 1
        self._counted.add(key)
        await asyncio.to_thread(self._tunes.begin_tune_call, self._job, key)
        return await self._caller.call(call)

    def cost(self) -> tuple[Decimal, int]:
        """What the job's answers have cost in USD, and how many of them have no known price."""
        total, unknown = Decimal(0), 0
        for key in self._begun:
            kept = self._evals.answer(key)
            if kept is None:
                continue
            cost = msgspec.json.decode(kept, type=Answer).cost_usd
            total, unknown = (total, unknown + 1) if cost is None else (total + cost, unknown)
        return total, unknown


class _Paying:
    """The far side of the cache."""

    def __init__(self, metered: Metered) -> None:
        self._metered = metered

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        return await self._metered.pay(call)
