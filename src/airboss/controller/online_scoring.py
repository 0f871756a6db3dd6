"""Scores a sample of live calls, behind the record log: never on a call's path, never a call twice.

A cursor in the ledger says how far the log was followed, in the order of storage. It moves after the scores
of what it passes are kept, and a score's id follows from its record and name: a controller killed in between
looks at the same calls again, finds the scores that are there, and makes the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.controller.following import Cursors, Minutes, follow, newest, unseen
from airboss.domain.ports import Clock, RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.marks import unscored
from airboss.evaluations.online import OnlineScorer, as_record_score, drawn, judges_it, score, score_id
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.opinions import wordless

CURSOR: Final = "scoring"
PAGE: Final = 200
CHUNK: Final = 16
"""Calls whose scores are kept together; a kill costs so many judgements at most."""

AT_ONCE: Final = 8
STARTS_PER_S_MAX: Final = 200
"""Of scores, so that catching up does not become load."""

LATE: Final = timedelta(hours=1)
"""A call that old is not scored any more: what is scored now matters more."""

LOST_EVERY_S: Final = 60.0

log = logging.getLogger(__name__)


class OnlineRule(msgspec.Struct, frozen=True, kw_only=True):
    """How one deployment's calls are scored."""

    sample: float
    judge_per_minute: int
    scorers: tuple[OnlineScorer, ...]


class OnlineScoring:
    """Follows the record log. One event loop calls it.

    `rules` are those in force, by deployment; `since` is when there came to be any. `redact` takes secrets
    out of what scorers say. Calls that were `brought` by an import are no live ones, and left alone, as those
    of people are who are to be `forgotten`. `counts` may be read by any thread.
    """

    def __init__(
        self,
        *,
        rules: Callable[[], Mapping[str, OnlineRule]],
        since: Callable[[], datetime],
        record_log: RecordLog,
        cursors: Cursors,
        clock: Clock,
        redact: Callable[[str], str] = lambda text: text,
        brought: Container[str] = (),
        forgotten: Callable[[InferenceRecord], bool],
    ) -> None:
        self._rules = rules
        self._since = since
        self._log = record_log
        self._cursors = cursors
        self._clock = clock
        self._redact = redact
        self._brought = brought
        self._forgotten = forgotten
        self._minutes = Minutes()
        self._looked_for_loss_at = 0.0
        self.lag_s = 0.0
        self.scored = 0
        self.unscored = 0

    @property
    def counts(self) -> dict[str, float]:
        """For metrics: how far behind, and how many scores were made since the start."""
        return {
            "scoring_lag_seconds": self.lag_s,
            "scoring_scored": float(self.scored),
            "scoring_unscored": float(self.unscored),
        }

    async def run(self) -> None:
        """Follow until cancelled. A store or ledger that fails is asked again."""
        await follow(self.tick, "nothing scored")

    async def tick(self) -> bool:
        """Look at one page of the log; whether there may be more. Raises StoreUnavailable, SetupError."""
        if not self._rules():
            self.lag_s = 0.0
            if await asyncio.to_thread(self._cursors.cursor, CURSOR) is not None:
                await asyncio.to_thread(self._cursors.put_cursor, CURSOR, None)
            return False
        where = await asyncio.to_thread(unseen, self._cursors, CURSOR, self._since)
        page = await asyncio.to_thread(self._log.records, where, limit=PAGE, bodies=False)
        if not page:
            self.lag_s = 0.0
            await asyncio.to_thread(self._look_for_loss, where.after)
            return False
        rules = self._rules()  # as of now: a call may have come after its deployment was switched on
        full = len(page) == PAGE
        self.lag_s = max(0.0, (self._clock.now() - page[0].started_at).total_seconds()) if full else 0.0
        for start in range(0, len(page), CHUNK):
            chunk = page[start : start + CHUNK]
            await self._chunk(chunk, rules)
            await asyncio.to_thread(self._cursors.put_cursor, CURSOR, chunk[-1].id)
        return full

    def _look_for_loss(self, cursor: str | None) -> None:
        """A record that is gone has nothing after it: then go on from the newest one that is older still."""
        if not cursor or self._clock.monotonic() - self._looked_for_loss_at < LOST_EVERY_S:
            return
        self._looked_for_loss_at = self._clock.monotonic()
        if self._log.records(RecordFilter(id=cursor), limit=1, bodies=False):
            return
        at = datetime.fromtimestamp(int(cursor[:8] + cursor[9:13], 16) / 1000, self._clock.now().tzinfo)
        self._cursors.put_cursor(CURSOR, newest(self._log, at - LATE))

    async def _chunk(self, records: Sequence[InferenceRecord], rules: Mapping[str, OnlineRule]) -> None:
        """Score what is drawn of these calls, but what was scored before."""
        wanted = [record for record in records if _counts(record, rules) and record.id not in self._brought]
        if not wanted:
            return
        known = {each.id for each in await asyncio.to_thread(self._log.scores_of, [r.id for r in wanted])}
        todo = [
            (record, online)
            for record in wanted
            for online in rules[record.deployment].scorers
            if score_id(record.id, online.spec.name) not in known
        ]
        gate = asyncio.Semaphore(AT_ONCE)
        worded: set[str] = set()

        async def one(record: InferenceRecord, online: OnlineScorer) -> Score | None:
            async with gate:
                # Only now: of who is forgotten meanwhile nothing is shown to a judge.
                bodies = await asyncio.to_thread(self._with_bodies, {record.id})
                whole = bodies.get(record.id, record)
                if whole.response is not None:
                    worded.add(record.id)
                if not judges_it(online.spec, whole):
                    return None
                refusal = self._refusal(record, online, rules[record.deployment])
                if refusal is not None:
                    return as_record_score(unscored(refusal), online.spec, record, self._clock.now())
                await asyncio.sleep(AT_ONCE / STARTS_PER_S_MAX)
                if whole.user is not None and await asyncio.to_thread(self._forgotten, whole):
                    return None  # a judge's call would be newer than their erasure, which would not find it
                return await score(online, whole, now=self._clock.now)

        made = await asyncio.gather(*(one(record, online) for record, online in todo))
        scores = [self._redacted(each) for each in made if each is not None]
        if scores:
            await asyncio.to_thread(self._keep, scores, worded)
        self.unscored += sum(each.value is None for each in scores)
        self.scored += sum(each.value is not None for each in scores)

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

    def _refusal(self, record: InferenceRecord, online: OnlineScorer, rule: OnlineRule) -> str | None:
        """Why a call is not scored though it was drawn."""
        if self._clock.now() - record.started_at > LATE:
            return f"scoring was more than {LATE.total_seconds() / 3600:g} h behind"
        name, most = f"{record.deployment}/{online.spec.name}", rule.judge_per_minute
        if online.calls_a_model and self._minutes.over(name, record, most):
            return f"over judge_per_minute = {most}; raise it, or lower sample"
        return None

    def _redacted(self, made: Score) -> Score:
        return msgspec.structs.replace(
            made,
            comment=self._redact(made.comment) if made.comment is not None else None,
            unscored=self._redact(made.unscored) if made.unscored is not None else None,
            value=self._redact(made.value) if isinstance(made.value, str) else made.value,
        )


def _counts(record: InferenceRecord, rules: Mapping[str, OnlineRule]) -> bool:
    """Whether a call is one to score: answered, not our own but for shadows, and drawn."""
    rule = rules.get(record.deployment)
    return (
        rule is not None
        and record.status == "ok"
        and (record.key != INTERNAL_KEY or record.arm == "shadow")
        and record.operation in {"chat", "text_completion"}
        and drawn(record.id, rule.sample)
    )
