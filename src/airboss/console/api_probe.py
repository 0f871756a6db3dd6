"""Probes of bias in the admin API: asked for here, done by the controller as jobs."""

from __future__ import annotations

from datetime import datetime

import msgspec

from airboss.console.api_jobs import LIMIT, newest, of_job, of_kind, result_of, spec_told
from airboss.console.callers import NOBODY, Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.evaluations.bias_measures import Measure
from airboss.evaluations.bias_orders import ProbeOrder
from airboss.evaluations.bias_plan import KIND, Conclusion, ProbeReport, ProbeTask
from airboss.evaluations.ports import Target
from airboss.store.job_rows import Job, JobState

BODY_MAX = 16 * 1024 * 1024
"""Of an order: a file of prompts is in it."""


class ProbeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A probe in one line; `done` of `total` calls, `note` and `error` as of its job. `questions` is how many
    each attribute gets, `left_out` counts prompts that were not asked, by reason. `conclusion` is None before
    the end."""

    id: str
    state: JobState
    created_at: datetime
    by: str
    deployment: str
    target: Target
    questions: dict[str, int]
    prompts: int
    left_out: dict[str, int]
    margins: dict[Measure, float]
    alpha: float
    seed: int
    temperature: float
    done: int
    total: int
    note: str
    error: str | None
    conclusion: Conclusion | None


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """Probes, newest first."""

    probes: tuple[ProbeSummary, ...]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A probe in full; `report` is None until it is done."""

    summary: ProbeSummary
    report: ProbeReport | None


def run_probe(desk: Desk, call: Call) -> Job:
    """POST /api/v1/probes."""
    order = call.intent(ProbeOrder)
    with desk.ledger.together():
        job = desk.probes.start(order, by=call.actor)
        plan = msgspec.json.decode(job.spec, type=ProbeTask).plan
        detail = {
            "release": plan.target.release,
            "questions": plan.questions,
            "calls": order.calls,
            "own_prompts": order.prompts is None,
        }
        desk.note(call, "probe.run", job.id, {**detail, **spec_told(job)})
    return job


def probes(desk: Desk, call: Call) -> Probes:
    """GET /api/v1/probes."""
    return Probes(probes=tuple(summary(job, call.caller) for job in newest(desk, call, KIND)))


def show_probe(desk: Desk, call: Call) -> Probe:
    """GET /api/v1/probes/{id}."""
    job = of_kind(desk, call, KIND, "probe")
    return Probe(summary=summary(job, call.caller), report=result_of(job, ProbeReport))


def summary(job: Job, caller: Caller = NOBODY) -> ProbeSummary:
    """A probe's job in one line."""
    plan = msgspec.json.decode(job.spec, type=ProbeTask).plan
    report = result_of(job, ProbeReport)
    return ProbeSummary(
        deployment=plan.target.deployment,
        target=plan.target,
        questions=plan.questions,
        prompts=len(plan.prompts),
        left_out=plan.left_out,
        margins=plan.margins,
        alpha=plan.alpha,
        seed=plan.seed,
        temperature=plan.temperature,
        conclusion=report.conclusion if report is not None else None,
        **of_job(job, caller),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/probes",
        summary="Probes of bias, newest first",
        handle=probes,
        role="viewer",
        params={"limit": LIMIT.told()},
    ),
    Route(
        method="POST",
        path="/api/v1/probes",
        summary="Start a probe of bias: the same questions about people who differ in one thing, as a job",
        handle=run_probe,
        role="operator",
        body=ProbeOrder,
        body_max=BODY_MAX,
    ),
    Route(
        method="GET",
        path="/api/v1/probes/{id}",
        summary="One probe: where it stands, and what it found",
        handle=show_probe,
        role="reader",
    ),
)
"""Every route about probes."""
