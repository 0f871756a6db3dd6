"""A tuning job at work: search, choose, and judge once; gone on with after every crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from airboss.evaluations.datasets import Item
from airboss.evaluations.library import KeptDataset, Library
from airboss.evaluations.ports import Caller, EvalStore, Report
from airboss.evaluations.scorers.pairwise import PairwiseScorer
from airboss.evaluations.scorers.spec import open_scorer
from airboss.store.job_rows import Job
from airboss.store.wording import many
from airboss.tuning.acceptance import Judgement
from airboss.tuning.board import Board, Standing
from airboss.tuning.calling import Metered, Varying
from airboss.tuning.candidates import example_of, released
from airboss.tuning.frontier import frontier
from airboss.tuning.judging import judge_once
from airboss.tuning.plan import Choice, TuneResult, TuneTask, check_sizes, held_back
from airboss.tuning.ports import TuneStore
from airboss.tuning.search import Found, Search

CANDIDATES_KEPT: Final = 100
"""In a result; the best."""


class Tuning:
    """One process's work at a tuning job. `caller` calls the gateway; what `report` raises ends the work.

    The same task gives the same result, whatever died on the way: answers are kept, what was chosen is kept,
    and the holdout is opened once, after that.
    """

    def __init__(
        self,
        job: Job,
        *,
        evals: EvalStore,
        tunes: TuneStore,
        caller: Caller,
        now: Callable[[], datetime],
        report: Report,
    ) -> None:
        self._job = job
        self._task = msgspec.json.decode(job.spec, type=TuneTask)
        self._evals = evals
        self._tunes = tunes
        self._now = now
        self._report = report
        self._note = "begins"
        self._library = Library(evals, now)
        self._varying = Varying(caller, self._task.target)
        self._metered = Metered(
            self._varying,
            evals=evals,
            tunes=tunes,
            job=job.id,
            dataset=self._task.dataset,
            limit=self._task.budget,
            now=now,
            on_call=self._tell,
        )

    async def run(self) -> TuneResult:
        """Do the job, or what is left of it. Raises WrongCall where the dataset or the scorer is gone or the
        budget too small, UpstreamFailed where today's release does not answer, SetupError if a store
        fails."""
        dataset = self._library.again(self._task.dataset, self._task.dataset_name)
        choice = await self._choice(dataset)
        judged = None
        if choice.release is not None:
            self._say("judges on the holdout")
            judged = await self._judge(dataset, choice)
        return await asyncio.to_thread(self._result, choice, judged)

    async def _choice(self, dataset: KeptDataset) -> Choice:
        kept = self._tunes.tune_choice(self._job.id)
        if kept is None:
            found = await self._search(dataset)
            train = self._library.items(dataset, "train")
            made = msgspec.json.encode(self._chosen(*found, train)).decode()
            self._tunes.put_tune_choice(self._job.id, made, self._now())
            kept = self._tunes.tune_choice(self._job.id)
        assert kept is not None  # it was put just now
        return msgspec.json.decode(kept, type=Choice)

    async def _search(self, dataset: KeptDataset) -> tuple[Found, Board]:
        task = self._task
        check_sizes(
            dataset.name,
            dataset.sizes,
            uneven=self._library.uneven(dataset),
            budget=task.budget,
            scorer=task.scorer,
            concurrency=task.concurrency,
        )
        scorer = open_scorer(
            task.scorer,
            caller=self._metered,
            resolve=task.judges.__getitem__,
            folder=Path(task.folder),
        )
        assert not isinstance(scorer, PairwiseScorer)  # refused when it was asked for
        back = held_back(dataset.sizes["holdout"], task.scorer, task.concurrency)
        # What a crash loses is made again at the expense of the spare calls, never of the judgement's.
        self._metered.ceiling = task.budget - held_back(dataset.sizes["holdout"], task.scorer, 0)
        board = Board(
            task.base,
            caller=self._metered,
            varying=self._varying,
            scorer=scorer,
            concurrency=task.concurrency,
            params=task.params,
        )
        search = Search(
            board,
            task.base,
            train=usable(self._library.items(dataset, "train"), people=task.people),
            validation=self._library.items(dataset, "validation"),
            forms=task.forms,
            seed=task.seed,
            left=lambda: task.budget - back - self._metered.spent,
            caller=self._metered,
            reflector=task.reflector,
            note=self._say,
        )
        return await search.run(), board

    def _chosen(self, found: Found, board: Board, train: Sequence[Item]) -> Choice:
        entries = [
            entry
            for entry in board.entries.values()
            if entry is not found.base and all(item.id in entry.seen for item in found.items)
        ]
        standings = [board.standing(entry, found.items, found.base) for entry in entries]
        standings.sort(key=lambda each: (-each.score, each.release))
        best = found.best
        return Choice(
            release=None if best is None else released(best.candidate, self._task.base, self._task.name),
            today=board.standing(found.base, found.items, found.base),
            chosen=None if best is None else board.standing(best, found.items, found.base),
            candidates=tuple(standings[:CANDIDATES_KEPT]),
            tried=sum(bool(entry.seen) for entry in board.entries.values()),
            left_out=len(train) - len(usable(train, people=self._task.people)),
            reflections=found.reflections,
        )

    async def _judge(self, dataset: KeptDataset, choice: Choice) -> Judgement:
        """The one judgement."""
        assert choice.release is not None  # there is nothing to judge without one
        self._metered.ceiling = self._metered.limit
        shown = {example.input for example in choice.release.examples}
        return await judge_once(
            self._task,
            self._job,
            dataset,
            today=self._varying.know(self._task.base),
            new=self._varying.know(choice.release),
            known=lambda item: (example := example_of(item)) is not None and example.input in shown,
            work="tuning",
            evals=self._evals,
            caller=self._metered,
            now=self._now,
        )

    def _result(self, choice: Choice, judged: Judgement | None) -> TuneResult:
        task = self._task
        better = judged is not None and judged.better
        cost, unknown = self._metered.cost()
        return TuneResult(
            better=better,
            reason=_reason(choice, judged),
            deployment=task.deployment,
            dataset=task.dataset_name,
            base=task.target,
            release=choice.release,
            proposed=None,
            unproposed=None,
            today=choice.today,
            chosen=choice.chosen,
            judgement=judged,
            frontier=frontier([choice.today, *choice.candidates]),
            candidates=choice.candidates,
            tried=choice.tried,
            calls=self._metered.begun,
            budget=task.budget,
            cost_usd=cost,
            cost_unknown=unknown,
            seed=task.seed,
            left_out=choice.left_out,
            reflections=choice.reflections,
        )

    def _say(self, note: str) -> None:
        self._note = note
        self._tell()

    def _tell(self) -> None:
        self._report(self._metered.begun, self._task.budget, self._note)


def usable(train: Sequence[Item], *, people: bool) -> tuple[Item, ...]:
    """The items that prompts may be made of. What came from a person can be erased, and a release cannot: it
    is left out unless `people`."""
    return tuple(item for item in train if people or item.user is None)


def _reason(choice: Choice, judged: Judgement | None) -> str:
    if judged is not None:
        return judged.reason
    today: Standing = choice.today
    return (
        f"nothing scored higher than today's release on validation ({today.score:.4g} over "
        f"{many(today.n, 'item')}), of {many(choice.tried - 1, 'other')}; the holdout stays closed"
    )
