"""Tuning in the admin API: asked for here, done by the controller as a job."""

from __future__ import annotations

from datetime import datetime

import msgspec

from airboss.console.api_jobs import LIMIT, newest, of_job, of_kind, result_of, spec_told
from airboss.console.callers import NOBODY, Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.release import PromptForm
from airboss.evaluations.ports import Target
from airboss.store.job_rows import Job, JobState
from airboss.tuning.plan import KIND, TuneOrder, TuneResult, TuneTask


class TuneSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A tuning in one line; `done` of `total` calls, `note` and `error` as of its job. `better` is None
    before the end; `proposed` is the name of the release that came of it."""

    id: str
    state: JobState
    created_at: datetime
    by: str
    deployment: str
    dataset: str
    base: Target
    scorer: str
    reflector: Target | None
    forms: tuple[PromptForm, ...]
    seed: int
    done: int
    total: int
    note: str
    error: str | None
    better: bool | None
    proposed: str | None


class Tunes(msgspec.Struct, frozen=True, kw_only=True):
    """Tunings, newest first."""

    tunes: tuple[TuneSummary, ...]


class Tune(msgspec.Struct, frozen=True, kw_only=True):
    """A tuning in full; `result` is None until it is done. `uneven` says which parts of the dataset were too
    small for what was asked for."""

    summary: TuneSummary
    result: TuneResult | None
    uneven: tuple[str, ...] = ()


def run_tune(desk: Desk, call: Call) -> Job:
    """POST /api/v1/tunes."""
    with desk.ledger.together():
        job = desk.tuning.start(call.intent(TuneOrder), by=call.actor)
        task = msgspec.json.decode(job.spec, type=TuneTask)
        detail = {
            "dataset": task.dataset,
            "base": task.base.digest,
            "budget": task.budget,
            "reflector": task.reflector.release if task.reflector is not None else None,
        }
        desk.note(call, "tune.run", job.id, {**detail, **spec_told(job)})
    return job


def tunes(desk: Desk, call: Call) -> Tunes:
    """GET /api/v1/tunes."""
    return Tunes(tunes=tuple(summary(job, call.caller) for job in newest(desk, call, KIND)))


def show_tune(desk: Desk, call: Call) -> Tune:
    """GET /api/v1/tunes/{id}."""
    job = of_kind(desk, call, KIND, "tuning")
    return Tune(
        summary=summary(job, call.caller),
        result=result_of(job, TuneResult),
        uneven=msgspec.json.decode(job.spec, type=TuneTask).uneven,
    )


def summary(job: Job, caller: Caller = NOBODY) -> TuneSummary:
    """A tuning's job in one line."""
    task = msgspec.json.decode(job.spec, type=TuneTask)
    result = result_of(job, TuneResult)
    return TuneSummary(
        deployment=task.deployment,
        dataset=task.dataset_name,
        base=task.target,
        scorer=task.scorer.name,
        reflector=task.reflector,
        forms=task.forms,
        seed=task.seed,
        better=result.better if result is not None else None,
        proposed=result.proposed if result is not None else None,
        **of_job(job, caller),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/tunes",
        summary="Tunings, newest first",
        handle=tunes,
        role="viewer",
        params={"limit": LIMIT.told()},
    ),
    Route(
        method="POST",
        path="/api/v1/tunes",
        summary="Start tuning: search for a better prompt under a budget of calls, as a job",
        handle=run_tune,
        role="operator",
        body=TuneOrder,
    ),
    Route(
        method="GET",
        path="/api/v1/tunes/{id}",
        summary="One tuning: where it stands, and what came of it",
        handle=show_tune,
        role="reader",
    ),
)
"""Every route about tuning."""
