"""Calls that were recorded, scored when somebody asks for it: drawn by chance, each score made once.

A score is one of the call, as those that a deployment's `scoring` gives are: its id follows from its record
and name, so that whoever makes it again finds it. One that could not be made, because a judge was away, say,
is tried again under an id of the job's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.ports import Ledger, RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.compare import Comparison, Metric, Observed, compare_all
from airboss.evaluations.marks import Mark, scored, unquoted, unscored
from airboss.evaluations.online import OnlineScorer, check_live, score_id, unscorable
from airboss.evaluations.orders import SCORERS_MAX, judges_of, read_scorer
from airboss.evaluations.ports import Report
from airboss.evaluations.record_scoring import CHUNK, RecordScoring, Wanted
from airboss.evaluations.scorer_names import ScorerNames
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.evaluations.scorers.spec import Spec
from airboss.evaluations.targets import Served
from airboss.store.job_rows import Job, JobStore
from airboss.store.wording import many

KIND: Final = "scoring"
"""Of the job."""

CALLS: Final = 200
CALLS_MAX: Final = 2_000
LOOKED_AT: Final = 10_000
"""Of calls that match at most so many are looked at, as some cannot be scored."""

PAGE: Final = 500
SEED_MAX: Final = 2**63 - 1
ALPHA: Final = 0.05


class ScoringOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls to score as somebody asks for it. `filters` are those of `GET /api/v1/records`; of what matches
    chance draws at most `limit` calls by `seed`, unless they are sorted. A scorer is written as for an
    evaluation."""

    scorers: tuple[str | dict[str, Any], ...]
    filters: dict[str, str] = {}
    limit: int = CALLS
    seed: int = 0


class ScoringTask(msgspec.Struct, frozen=True, kw_only=True):
    """The `spec` of a job of kind `scoring`. `calls` are records by their ids: a filter might name a person.
    `left_out` counts those that were drawn and cannot be scored, by cause."""

    scorers: tuple[Spec, ...]
    calls: tuple[str, ...]
    left_out: dict[str, int] = {}
    seed: int = 0


class ScoringReport(msgspec.Struct, frozen=True, kw_only=True):
    """The `result` of a job of kind `scoring`: each scorer's mean with its interval, labels and causes, as of
    an evaluation of one release, where what counts once is a user, else a session, else a call. `kept` counts
    scores that were there before, `gone` calls that are no longer kept."""

    comparisons: tuple[Comparison, ...]
    kept: int
    gone: int


class ScoringOrders:
    """Takes orders. `folder` is where Python scorers stand."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        ledger: Ledger,
        log: RecordLog,
        names: ScorerNames,
        now: Callable[[], datetime],
        folder: Path,
    ) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._log = log
        self._names = names
        self._now = now
        self._folder = folder

    def start(self, task: ScoringTask, *, by: str) -> Job:
        """Queue it. Raises WrongCall for a name that is taken."""
        self._names.check(task.scorers)
        return self._jobs.add(KIND, task, by, self._now())

    def task(self, order: ScoringOrder, where: RecordFilter) -> ScoringTask:
        """The order with every word looked up and its calls drawn; `where` is what its filters mean. Raises
        WrongCall for an order that means nothing, or no call; StoreUnavailable."""
        if not 1 <= order.limit <= CALLS_MAX:
            raise WrongCall(f"limit is {order.limit}; 1 to {CALLS_MAX:,} calls are scored at a time")
        if abs(order.seed) > SEED_MAX:
            raise WrongCall(f"seed is {order.seed}; give at most {SEED_MAX}")
        if not 1 <= len(order.scorers) <= SCORERS_MAX:
            raise WrongCall(f"{len(order.scorers)} scorers; give 1 to {SCORERS_MAX}")
        scorers = tuple(read_scorer(each, self._folder) for each in order.scorers)
        check_live(scorers)
        served = Served.of(self._ledger)
        judges_of(served, scorers)
        if where.deployment is not None and not self._log.records(where, limit=1, bodies=False):
            served.deployment(where.deployment)  # it may be misspelt
        calls, left_out = draw(self._log, where, limit=order.limit, seed=order.seed)
        return ScoringTask(scorers=scorers, calls=calls, left_out=left_out, seed=order.seed)


def draw(
    log: RecordLog, where: RecordFilter, *, limit: int, seed: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The ids of at most `limit` calls that match and can be scored, and how many cannot, by cause. Raises
    WrongCall where none can, StoreUnavailable."""
    where = msgspec.structs.replace(where, sort=where.sort or "shuffled", seed=seed)
    calls: list[str] = []
    left_out: Counter[str] = Counter()
    for record in log.records(where, limit=LOOKED_AT, bodies=False):
        cause = unscorable(record)
        if cause is not None:
            left_out[cause] += 1
            continue
        calls.append(record.id)
        if len(calls) == limit:
            break
    if not calls:
        causes = "; ".join(f"{count} {cause}" for cause, count in left_out.items())
        raise WrongCall(f"there is no call to score: {causes or 'none matches'}")
    return tuple(calls), dict(left_out)


async def score_calls(
    job: Job,
    *,
    scoring: RecordScoring,
    scorers: Callable[[], Sequence[OnlineScorer]],
    log: RecordLog,
    report: Report,
    names: ScorerNames,
) -> ScoringReport:
    """Do the job, or what is left of it. `scorers` opens them, by what is served when it is asked: before
    every few calls, in a thread. Jobs that share a scorer take turns with it, so that no judge is
    paid twice for a call. Raises WrongCall once a name is not the job's to use any more. What `report` raises
    passes through."""
    work = _Work(job, scoring, scorers, log, report)
    for start in range(0, len(work.task.calls), CHUNK):
        async with names.held(work.task.scorers, job.id, work.waits):
            await work.chunk(work.task.calls[start : start + CHUNK])
    return await work.reported()


class _Work:
    """One job's."""

    def __init__(
        self,
        job: Job,
        scoring: RecordScoring,
        scorers: Callable[[], Sequence[OnlineScorer]],
        log: RecordLog,
        report: Report,
    ) -> None:
        self.task = msgspec.json.decode(job.spec, type=ScoringTask)
        self._job = job
        self._scoring = scoring
        self._scorers = scorers
        self._log = log
        self._report = report
        self._done = 0
        self._kept = 0
        self._note = ""

    def waits(self, name: str) -> None:
        """Say that another run has the scorer of this name."""
        self._say(f"waits for its turn: another run asks {name}")

    async def chunk(self, ids: Sequence[str]) -> None:
        """Score these calls by every scorer that has not yet."""
        if self._note:
            self._say("")
        records, known = await self._found(ids)
        scorers = await asyncio.to_thread(self._scorers)
        todo = []
        for record in records:
            for online in scorers:
                there = known.get((record.id, online.spec.name), ())
                wanted = self._wanted(record.id, online.spec.name, there)
                if wanted is not None:
                    todo.append(Wanted(id=wanted, record=record, online=online))
                else:
                    self._kept += any(
                        each.value is not None and each.at < self._job.created_at for each in there
                    )
        await self._scoring.make(todo)
        self._done += len(ids)
        self._say("")

    def _say(self, note: str) -> None:
        self._report(self._done, len(self.task.calls), note)
        self._note = note

    async def _found(
        self, ids: Sequence[str]
    ) -> tuple[Sequence[InferenceRecord], dict[tuple[str, str], list[Score]]]:
        """Those of these calls that are still kept, and what scorers said of them."""
        where = RecordFilter(ids=tuple(ids))
        records = await self._scoring.told(self._log.records, where, limit=len(ids), bodies=False)
        return records, _by_scorer(await self._scoring.told(self._log.scores_of, ids))

    def _wanted(self, record_id: str, name: str, there: Sequence[Score]) -> str | None:
        """The id under which a score is to be made; None where a value is there, or this job has tried."""
        if any(each.value is not None for each in there):
            return None
        first, again = score_id(record_id, name), score_id(record_id, f"{name}\0{self._job.id}")
        tried = {each.id: each.at for each in there}
        if first not in tried:
            return first
        return None if again in tried or tried[first] >= self._job.created_at else again

    async def reported(self) -> ScoringReport:
        """What all scores of the job's calls show, those that were there before too."""
        observed: dict[str, list[Observed]] = {spec.name: [] for spec in self.task.scorers}
        gone = len(self.task.calls)
        for start in range(0, len(self.task.calls), PAGE):
            records, known = await self._found(self.task.calls[start : start + PAGE])
            gone -= len(records)
            for record in records:
                for name, seen in observed.items():
                    mark = _mark(known.get((record.id, name), ()))
                    if mark is not None:
                        unit = record.user or record.session or record.id
                        seen.append(Observed(item=record.id, unit=unit, a=(), b=(mark,)))
        found = await asyncio.to_thread(
            compare_all,
            [(_metric(spec), observed[spec.name]) for spec in self.task.scorers],
            alpha=ALPHA,
            seed=self.task.seed,
        )
        self._report(self._done, len(self.task.calls), _in_words(found))
        return ScoringReport(comparisons=found, kept=self._kept, gone=gone)


def _by_scorer(scores: Iterable[Score]) -> dict[tuple[str, str], list[Score]]:
    """What scorers of ours said, oldest first, by the call's id and the scorer's name: whichever job made it.
    What an app's evaluator says under that name is by its key."""
    found: dict[tuple[str, str], list[Score]] = {}
    for each in sorted(scores, key=lambda each: (each.at, each.id)):
        if each.source == "scorer" and each.by == each.name:
            found.setdefault((each.subject_id, each.name), []).append(each)
    return found


def _mark(scores: Sequence[Score]) -> Mark | None:
    """What was said of a call in the end; None where nobody had anything to say."""
    for each in reversed(scores):
        if each.value is not None:
            return scored(each.value)
    return unscored(unquoted(scores[-1].unscored or "")) if scores else None


def _metric(spec: Spec) -> Metric:
    assert not isinstance(spec, PairwiseJudge)  # check_live lets none pass
    return Metric(name=spec.name, bounds=spec.bounds, higher_is_better=spec.higher_is_better)


def _in_words(found: Sequence[Comparison]) -> str:
    """What scorers say, for people, in a line."""
    said = []
    for each in found:
        if each.mean_b is not None:
            said.append(f"{each.metric.name} {each.mean_b.estimate:.4g}")
        elif each.labels:
            most = max(each.labels, key=lambda label: each.labels[label][1])
            said.append(f"{each.metric.name} mostly {most[:40]}")
        if each.unscored_b:
            said.append(f"{many(each.unscored_b, 'call')} unscored by {each.metric.name}")
    return ", ".join(said)
