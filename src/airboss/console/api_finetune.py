"""Fine-tuning in the admin API: asked for here, done by the controller as a job."""

from __future__ import annotations

from datetime import datetime

import msgspec

from airboss.console.api_jobs import LIMIT, newest, of_job, of_kind, result_of, spec_told
from airboss.console.callers import NOBODY, Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.evaluations.ports import Target
from airboss.store.job_rows import Job, JobState
from airboss.tuning.finetune_plan import KIND, FinetuneOrder, FinetuneResult, FinetuneTask


class FinetuneSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A fine-tuning in one line; `done` of `total` steps of the training, or calls of the judgement, `note`
    and `error` as of its job. `model` is the base model, trained at `provider`; `new_model` is what came of
    it. `better` is None before the end; `proposed` is the name that model and release have in the
    configuration."""

    id: str
    state: JobState
    created_at: datetime
    by: str
    deployment: str
    dataset: str
    base: Target
    provider: str
    model: str
    scorer: str
    epochs: int
    seed: int
    people: bool
    done: int
    total: int
    note: str
    error: str | None
    better: bool | None
    new_model: dict[str, str] | None
    proposed: str | None


class Finetunes(msgspec.Struct, frozen=True, kw_only=True):
    """Fine-tunings, newest first."""

    finetunes: tuple[FinetuneSummary, ...]


class Finetune(msgspec.Struct, frozen=True, kw_only=True):
    """A fine-tuning in full; `result` is None until it is done. `uneven` says which parts of the dataset were
    too small for what was asked for."""

    summary: FinetuneSummary
    result: FinetuneResult | None
    uneven: tuple[str, ...] = ()


def run_finetune(desk: Desk, call: Call) -> Job:
    """POST /api/v1/finetunes."""
    with desk.ledger.together():
        job = desk.finetuning.start(call.intent(FinetuneOrder), by=call.actor)
        task = msgspec.json.decode(job.spec, type=FinetuneTask)
        detail = {
            "dataset": task.dataset,
            "base": task.base.digest,
            "provider": task.place.provider,
            "model": task.base.model.model,
            "epochs": task.epochs,
            "people": task.people,
        }
        desk.note(call, "finetune.run", job.id, {**detail, **spec_told(job)})
    return job


def finetunes(desk: Desk, call: Call) -> Finetunes:
    """GET /api/v1/finetunes."""
    return Finetunes(finetunes=tuple(summary(job, call.caller) for job in newest(desk, call, KIND)))


def show_finetune(desk: Desk, call: Call) -> Finetune:
    """GET /api/v1/finetunes/{id}."""
    job = of_kind(desk, call, KIND, "fine-tuning")
    return Finetune(
        summary=summary(job, call.caller),
        result=result_of(job, FinetuneResult),
        uneven=msgspec.json.decode(job.spec, type=FinetuneTask).uneven,
    )


def summary(job: Job, caller: Caller = NOBODY) -> FinetuneSummary:
    """A fine-tuning's job in one line."""
    task = msgspec.json.decode(job.spec, type=FinetuneTask)
    result = result_of(job, FinetuneResult)
    return FinetuneSummary(
        deployment=task.deployment,
        dataset=task.dataset_name,
        base=task.target,
        provider=task.place.provider,
        model=task.base.model.model,
        scorer=task.scorer.name,
        epochs=task.epochs,
        seed=task.seed,
        people=task.people,
        better=result.better if result is not None else None,
        new_model=result.learned.trained.fields if result is not None else None,
        proposed=result.proposed if result is not None else None,
        **of_job(job, caller),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/finetunes",
        summary="Fine-tunings, newest first",
        handle=finetunes,
        role="viewer",
        params={"limit": LIMIT.told()},
    ),
    Route(
        method="POST",
        path="/api/v1/finetunes",
        summary="Start a fine-tuning: train a release's model on a dataset and judge it once, as a job",
        handle=run_finetune,
        role="operator",
        body=FinetuneOrder,
    ),
    Route(
        method="GET",
        path="/api/v1/finetunes/{id}",
        summary="One fine-tuning: where it stands, and what came of it",
        handle=show_finetune,
        role="reader",
    ),
)
"""Every route about fine-tuning."""
