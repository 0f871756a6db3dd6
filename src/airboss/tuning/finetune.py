"""A fine-tuning job at work: examples, a training, and one judgement; gone on with after every crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from airboss.domain.errors import SetupError
from airboss.domain.release import Release
from airboss.evaluations.datasets import words_digest
from airboss.evaluations.library import KeptDataset, Library
from airboss.evaluations.ports import Caller, EvalStore, Report
from airboss.releases.build import sealed
from airboss.store.job_rows import Job
from airboss.tuning.calling import Metered, Varying
from airboss.tuning.examples import Lines, lines_of
from airboss.tuning.finetune_plan import FinetuneResult, FinetuneTask, Learned, check_examples, check_holdout
from airboss.tuning.judging import judge_once
from airboss.tuning.plan import BUDGET_MAX, per_item
from airboss.tuning.ports import Trained, Trainer, TrainingFailed, TrainOrder, TuneStore
from airboss.tuning.training_files import PARTS, Part, TrainingFiles

WRITES_MAX: Final = 20
"""Times the files are written, should somebody be erased each time meanwhile."""


class FineTuning:
    """One process's work at a fine-tuning job. What `report` raises ends the work.

    The same task gives the same result, whatever died on the way: what was trained is kept, answers are kept,
    and the holdout is opened once, after that.
    """

    def __init__(
        self,
        job: Job,
        *,
        evals: EvalStore,
        tunes: TuneStore,
        files: TrainingFiles,
        now: Callable[[], datetime],
        report: Report,
    ) -> None:
        self.task = msgspec.json.decode(job.spec, type=FinetuneTask)
        self._job = job
        self._evals = evals
        self._tunes = tunes
        self._files = files
        self._now = now
        self._report = report
        self._library = Library(evals, now)

    def learned(self) -> Learned | None:
        """What was trained, if it was."""
        kept = self._tunes.tune_choice(self._job.id)
        return None if kept is None else msgspec.json.decode(kept, type=Learned)

    def learn(self, trainer: Trainer) -> Learned:
        """Train, or go on training; what came of it is on disk when this returns. Blocks.

        Raises WrongCall where the dataset is gone or became too small, TrainingFailed.
        """
        found = self._written()
        trained = trainer.train(order_of(self.task, self._job.id, self._files), self._report)
        learned = Learned(
            release=self._released(trained),
            trained=trained,
            examples=len(found["training"].lines),
            validation=len(found["validation"].lines),
            left_out=found["training"].people,
            unfit=found["training"].unfit,
        )
        self._tunes.put_tune_choice(self._job.id, msgspec.json.encode(learned).decode(), self._now())
        return learned

    async def judge(self, learned: Learned, caller: Caller, *, port: int | None = None) -> FinetuneResult:
        """Judge what was trained on the holdout, once. `port` is where the engine of a local model answers.
        Raises WrongCall where the dataset or the scorer is gone, SetupError if a store fails."""
        task = self.task
        dataset = self._library.again(task.dataset, task.dataset_name)
        total = 2 * per_item(task.scorer) * dataset.sizes["holdout"]
        varying = Varying(caller, task.target)
        metered = Metered(
            varying,
            evals=self._evals,
            tunes=self._tunes,
            job=self._job.id,
            dataset=task.dataset,
            limit=BUDGET_MAX,
            now=self._now,
            on_call=lambda: self._report(min(metered.begun, total), total, "judges on the holdout"),
        )
        learnt = {words_digest(item.input) for item in self._library.items(dataset, "train")}
        judged = await judge_once(
            task,
            self._job,
            dataset,
            today=varying.know(task.base),
            new=varying.know(learned.release, new_model=True, port=port),
            known=lambda item: words_digest(item.input) in learnt,
            work="fine-tuning",
            evals=self._evals,
            caller=metered,
            now=self._now,
        )
        cost, unknown = await asyncio.to_thread(metered.cost)
        return FinetuneResult(
            better=judged.better,
            reason=judged.reason,
            deployment=task.deployment,
            dataset=task.dataset_name,
            base=task.target,
            release=learned.release,
            proposed=None,
            unproposed=None,
            learned=learned,
            judgement=judged,
            calls=metered.begun,
            cost_usd=cost,
            cost_unknown=unknown,
            epochs=task.epochs,
            seed=task.seed,
        )

    def _written(self) -> dict[Part, Lines]:
        """The examples, and the files of them. Who is erased while they are written is looked for after, and
        they are written again: an erasure takes items out of datasets first, and out of files then."""
        found = self._lines()
        for _ in range(WRITES_MAX):
            for part in PARTS:
                if found[part].lines:
                    self._files.write(self._job.id, part, found[part].lines)
            again = self._lines()
            if again == found:
                return found
            found = again
        raise SetupError("items of the dataset are erased faster than they can be written; try again")

    def _lines(self) -> dict[Part, Lines]:
        task = self.task
        dataset = self._library.again(task.dataset, task.dataset_name)
        found: dict[Part, Lines] = {
            "training": self._part(dataset, "training"),
            "validation": self._part(dataset, "validation"),
        }
        uneven = self._library.uneven(dataset)
        check_examples(task.dataset_name, found["training"], uneven)
        check_holdout(task.dataset_name, dataset.sizes["holdout"], uneven)
        return found

    def _part(self, dataset: KeptDataset, part: Part) -> Lines:
        items = self._library.items(dataset, "train" if part == "training" else "validation")
        return lines_of(items, self.task.base, policy=self.task.policy, people=self.task.people)

    def _released(self, trained: Trained) -> Release:
        """Today's release with the model that was trained."""
        base = self.task.base
        try:
            model = msgspec.structs.replace(base.model, **trained.fields)
        except TypeError as error:
            raise TrainingFailed(f"what was trained is no model as releases have it: {error}") from error
        return sealed(msgspec.structs.replace(base, name=self.task.name, model=model))


def order_of(task: FinetuneTask, job: str, files: TrainingFiles) -> TrainOrder:
    """What the trainer is asked for, once the files are written."""
    validation = files.path(job, "validation")
    return TrainOrder(
        model=task.base.model.model,
        training=files.path(job, "training"),
        validation=validation if validation.exists() else None,
        epochs=task.epochs,
        learning_rate=task.learning_rate,
        rank=task.rank,
        seed=task.seed,
        work=files.folder(job),
    )
