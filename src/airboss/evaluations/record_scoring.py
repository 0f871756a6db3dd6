"""Recorded calls given to scorers, and the scores kept beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from typing import Final, ParamSpec, TypeVar

import msgspec

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import Clock, RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.marks import unscored
from airboss.evaluations.online import OnlineScorer, as_record_score, judges_it, score
from airboss.store.opinions import wordless

CHUNK: Final = 16
"""Calls whose scores are kept together; a kill costs so many judgements at most."""

AT_ONCE: Final = 8
STARTS_PER_S_MAX: Final = 200
"""Of scores, so that catching up does not become load."""

WAIT_S: Final = (1.0, 10.0)
"""How long a record store that is away is waited for before it is asked again: at first, and at most."""

P = ParamSpec("P")
T = TypeVar("T")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A score to make: of a call, by a scorer, under this id. With a `refusal` it is unscored for that."""

    id: str
    record: InferenceRecord
    online: OnlineScorer
    refusal: str | None = None


class RecordScoring:
    """Makes scores and keeps them. One event loop calls it.

    `redact` takes secrets out of what scorers say. Calls of people who are to be `forgotten` are left alone.
    A record store that is away is waited for, and each time `waits` hears why: what judges were paid for
    meanwhile is kept then, and not asked for again.
    """

    def __init__(
        self,
        *,
        record_log: RecordLog,
        clock: Clock,
        redact: Callable[[str], str],
        forgotten: Callable[[InferenceRecord], bool],
        waits: Callable[[StoreUnavailable], None] = lambda _: None,
    ) -> None:
        self._log = record_log
        self._clock = clock
        self._redact = redact
        self._forgotten = forgotten
        self._waits = waits

    async def told(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the record store says in the end, however long it is away; it is asked in a thread."""
        wait, longest = WAIT_S
        while True:
            try:
                return await asyncio.to_thread(ask, *args, **kwargs)
            except StoreUnavailable as error:
                self._waits(error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)

    async def make(self, todo: Sequence[Wanted]) -> list[Score]:
        """The scores that could be made of these, kept by now."""
        gate = asyncio.Semaphore(AT_ONCE)
        worded: set[str] = set()
        read: dict[str, asyncio.Task[dict[str, InferenceRecord]]] = {}

        async def one(wanted: Wanted) -> Score | None:
            async with gate:
                record, spec = wanted.record, wanted.online.spec
                if record.id not in read:  # only now: whose bodies went meanwhile is not judged by them
                    read[record.id] = asyncio.create_task(self.told(self._with_bodies, {record.id}))
                whole = (await read[record.id]).get(record.id, record)
                if whole.response is not None:
                    worded.add(record.id)
                if not judges_it(spec, whole):
                    return None
                if wanted.refusal is not None:
                    return as_record_score(unscored(wanted.refusal), spec, record, self._clock.now())
                await asyncio.sleep(AT_ONCE / STARTS_PER_S_MAX)
                if whole.user is not None and await asyncio.to_thread(self._forgotten, whole):
                    return None  # a judge's call would be newer than their erasure, which would not find it
                return await score(wanted.online, whole, now=self._clock.now)

        made = await asyncio.gather(*map(one, todo))
        scores = [
            self._redacted(msgspec.structs.replace(each, id=wanted.id))
            for wanted, each in zip(todo, made, strict=True)
            if each is not None
        ]
        if scores:
            await self.told(self._keep, scores, worded)
        return scores

    def _keep(self, scores: Sequence[Score], worded: Container[str]) -> None:
        """Keep scores, without words about a call whose own are gone by now: somebody was forgotten while a
        model judged it, and what it says may quote them."""
        telling = {
            each.subject_id
            for each in scores
            if each.subject_id in worded and (each.comment is not None or each.unscored is not None)
        }
        left = self._with_bodies(telling)
        gone = {each for each in telling if each not in left or left[each].response is None}
        self._log.put_scores([wordless(each) if each.subject_id in gone else each for each in scores])

    def _with_bodies(self, ids: set[str]) -> dict[str, InferenceRecord]:
        found: dict[str, InferenceRecord] = {}
        for record_id in ids:
            for record in self._log.records(RecordFilter(id=record_id), limit=1, bodies=True):
                found[record_id] = record
        return found

    def _redacted(self, made: Score) -> Score:
        return msgspec.structs.replace(
            made,
            comment=self._redact(made.comment) if made.comment is not None else None,
            unscored=self._redact(made.unscored) if made.unscored is not None else None,
            value=self._redact(made.value) if isinstance(made.value, str) else made.value,
        )
