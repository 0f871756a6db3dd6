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
from airboss.evaluations.online import OnlineScorer, drawn, score_id, unscorable
from airboss.evaluations.record_scoring import CHUNK, RecordScoring, Wanted

CURSOR: Final = "scoring"
PAGE: Final = 200
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
        redact: Callable[[str], str],
        brought: Container[str],
        forgotten: Callable[[InferenceRecord], bool],
    ) -> None:
        self._rules = rules
        self._since = since
        self._log = record_log
        self._cursors = cursors
        self._clock = clock
        self._brought = brought
        self._scoring = RecordScoring(record_log=record_log, clock=clock, redact=redact, forgotten=forgotten)
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
        made = await self._scoring.make(
            [
                Wanted(
                    id=score_id(record.id, online.spec.name),
                    record=record,
                    online=online,
                    refusal=self._refusal(record, online, rules[record.deployment]),
                )
                for record, online in todo
            ]
        )
        self.unscored += sum(each.value is None for each in made)
        self.scored += sum(each.value is not None for each in made)

    def _refusal(self, record: InferenceRecord, online: OnlineScorer, rule: OnlineRule) -> str | None:
        """Why a call is not scored though it was drawn."""
        if self._clock.now() - record.started_at > LATE:
            return f"scoring was more than {LATE.total_seconds() / 3600:g} h behind"
        name, most = f"{record.deployment}/{online.spec.name}", rule.judge_per_minute
        if online.calls_a_model and self._minutes.over(name, record, most):
            return f"over judge_per_minute = {most}; raise it, or lower sample"
        return None


def _counts(record: InferenceRecord, rules: Mapping[str, OnlineRule]) -> bool:
    """Whether a call is one to score, and drawn."""
    rule = rules.get(record.deployment)
    return rule is not None and unscorable(record) is None and drawn(record.id, rule.sample)
