"""Evaluations in the admin API: asked for here, done by the controller as jobs, reported item by item."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from airboss.console.api_datasets import UPLOAD_MAX
from airboss.console.api_jobs import LIMIT, newest, of_job, of_kind, result_of, spec_told
from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.evaluations.datasets import Part
from airboss.evaluations.estimate import Estimate
from airboss.evaluations.gate import Conclusion
from airboss.evaluations.orders import KIND, EvalOrder, EvalResult, EvalTask
from airboss.evaluations.plan import EvalPlan, EvalReport, not_judged
from airboss.evaluations.ports import Target
from airboss.store.job_rows import Job, JobState


class EvalSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation in one line; `done`, `total`, `note` and `error` as of its job. `a` is None where `b` is
    scored alone; a side without a `deployment` is an app that is no release. `conclusion` is that of its
    gates, None without gates or before the end. `mean_a` and `mean_b` have each side's mean by scorer, once
    it is done; labels have none. `contest` is the id of the one that it is in, left out where there is none.
    """

    id: str
    state: JobState
    created_at: datetime
    by: str
    dataset: str
    part: Part
    a: Target | None
    b: Target
    scorers: tuple[str, ...]
    done: int
    total: int
    note: str
    error: str | None
    conclusion: Conclusion | None
    mean_a: dict[str, float] = {}
    mean_b: dict[str, float] = {}
    contest: str | UnsetType = UNSET


class Evals(msgspec.Struct, frozen=True, kw_only=True):
    """Evaluations, newest first."""

    evals: tuple[EvalSummary, ...]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation in full: what it was to do, and what it found (None until it is done).
    `holdout_reads_before` is how often the holdout had been read before, None for other parts. By the scorers
    `not_judged` numbers are told and neither side is called better or worse. `uneven` says how the part was
    too small for what was asked for."""

    summary: EvalSummary
    plan: EvalPlan
    report: EvalReport | None
    holdout_reads_before: int | None
    not_judged: tuple[str, ...] = ()
    uneven: tuple[str, ...] = ()


def run_eval(desk: Desk, call: Call) -> Job:
    """POST /api/v1/evals. Of several releases the first one's job; its spec names the contest."""
    order = call.intent(EvalOrder)
    with desk.ledger.together():
        if order.releases is None:
            jobs: tuple[Job, ...] = (desk.orders.start(order, by=call.actor),)
        else:
            jobs = desk.orders.start_contest(order, by=call.actor)
        for job in jobs:
            plan = msgspec.json.decode(job.spec, type=EvalTask).plan
            detail = {
                "dataset": plan.dataset,
                "part": plan.part,
                "a": plan.a.release if plan.a is not None else None,
                "b": plan.b.release,
                "scorers": [msgspec.to_builtins(spec)["kind"] for spec in plan.scorers],
            }
            app = {"app": plan.b.name} if plan.b.app else {}
            desk.note(call, "eval.run", job.id, {**detail, **app, **spec_told(job)})
    return jobs[0]


def estimate_eval(desk: Desk, call: Call) -> Estimate:
    """POST /api/v1/evals/estimate."""
    return asyncio.run(desk.orders.estimate(call.intent(EvalOrder), desk.log))


def evals(desk: Desk, call: Call) -> Evals:
    """GET /api/v1/evals."""
    jobs, name = newest(desk, call, KIND), call.params.get("dataset") or None
    made = (summary(job, call.caller, desk) for job in jobs)
    return Evals(evals=tuple(each for each in made if name in (None, each.dataset)))


def show_eval(desk: Desk, call: Call) -> Evaluation:
    """GET /api/v1/evals/{id}."""
    job = of_kind(desk, call, KIND, "evaluation")
    report = report_of(desk, job)
    result = result_of(job, EvalResult)
    task = msgspec.json.decode(job.spec, type=EvalTask)
    return Evaluation(
        summary=summary(job, call.caller, desk),
        plan=task.plan,
        not_judged=not_judged(task.plan, contest=task.contest is not UNSET),
        report=report,
        uneven=task.uneven,
        holdout_reads_before=result.holdout_reads_before if result is not None else None,
    )


def summary(job: Job, caller: Caller, desk: Desk) -> EvalSummary:
    """An evaluation's job in one line."""
    report = report_of(desk, job) if job.state == "done" else None
    found = report.comparisons if report is not None else ()
    task = msgspec.json.decode(job.spec, type=EvalTask)
    plan = task.plan
    result = result_of(job, EvalResult)
    decision = result.decision if result is not None else None
    return EvalSummary(
        dataset=plan.dataset_name,
        part=plan.part,
        a=plan.a,
        b=plan.b,
        scorers=tuple(spec.name for spec in plan.scorers),
        conclusion=decision.conclusion if decision is not None else None,
        mean_a={each.metric.name: each.mean_a.estimate for each in found if each.mean_a is not None},
        mean_b={each.metric.name: each.mean_b.estimate for each in found if each.mean_b is not None},
        contest=UNSET if task.contest is UNSET else task.contest.id,
        **of_job(job, caller),
    )


def report_of(desk: Desk, job: Job) -> EvalReport | None:
    """What an evaluation found, as soon as it is kept."""
    row = desk.evals.run(job.id)
    return None if row is None or row.report is None else msgspec.json.decode(row.report, type=EvalReport)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/evals",
        summary="Evaluations, newest first",
        handle=evals,
        role="viewer",
        params={"limit": LIMIT.told(), "dataset": "of these, only those on the dataset of this name"},
    ),
    Route(
        method="POST",
        path="/api/v1/evals",
        summary="Start an evaluation: two releases over a dataset, as a job that survives a crash; with "
        "`releases` one of each against the same baseline, with `answers` of an app of your own by them",
        handle=run_eval,
        role="operator",
        body=EvalOrder,
        body_max=UPLOAD_MAX,
    ),
    Route(
        method="POST",
        path="/api/v1/evals/estimate",
        summary="What an evaluation would ask and cost, with nothing asked",
        handle=estimate_eval,
        role="operator",
        body=EvalOrder,
        body_max=UPLOAD_MAX,
    ),
    Route(
        method="GET",
        path="/api/v1/evals/{id}",
        summary="One evaluation: what it was to do, and its report",
        handle=show_eval,
        role="reader",
    ),
)
"""Every route about evaluations."""
