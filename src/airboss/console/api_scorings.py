"""Scores of recorded calls in the admin API: asked for here, done by the controller as jobs."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from airboss.console.api_datasets import FILTERS
from airboss.console.api_jobs import LIMIT, newest, of_job, of_kind, result_of, spec_told
from airboss.console.callers import NOBODY, Caller
from airboss.console.desk import Desk
from airboss.console.named import whole
from airboss.console.query import check_names, read_filter
from airboss.console.route import Call, Route
from airboss.evaluations.backfill import KIND, ScoringOrder, ScoringReport, ScoringTask
from airboss.store.job_rows import Job, JobState


class ScoringSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One in one line; `done` of `total` calls, `note` and `error` as of its job. `left_out` counts calls
    that were drawn and could not be scored, by cause. `means` are by scorer, of those that gave numbers."""

    id: str
    state: JobState
    created_at: datetime
    by: str
    scorers: tuple[str, ...]
    calls: int
    left_out: dict[str, int]
    means: dict[str, float]
    done: int
    total: int
    note: str
    error: str | None


class Scorings(msgspec.Struct, frozen=True, kw_only=True):
    """Those there are, newest first."""

    scorings: tuple[ScoringSummary, ...]


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """One in full; `report` is None until it is done."""

    summary: ScoringSummary
    report: ScoringReport | None


def run_scoring(desk: Desk, call: Call) -> Job:
    """POST /api/v1/scorings."""
    order = call.intent(ScoringOrder)
    check_names(order.filters, FILTERS)
    where = read_filter(whole(desk, order.filters), now=call.now, local=UTC)
    task = desk.scorings.task(order, where)
    with desk.ledger.together():
        job = desk.scorings.start(task, by=call.actor)
        detail = {
            "calls": len(task.calls),
            "scorers": [msgspec.to_builtins(spec)["kind"] for spec in task.scorers],
        }
        desk.note(call, "scoring.run", job.id, {**detail, **spec_told(job)})
    return job


def scorings(desk: Desk, call: Call) -> Scorings:
    """GET /api/v1/scorings."""
    return Scorings(scorings=tuple(summary(job, call.caller) for job in newest(desk, call, KIND)))


def show_scoring(desk: Desk, call: Call) -> Scoring:
    """GET /api/v1/scorings/{id}."""
    job = of_kind(desk, call, KIND, "scoring")
    return Scoring(summary=summary(job, call.caller), report=result_of(job, ScoringReport))


def summary(job: Job, caller: Caller = NOBODY) -> ScoringSummary:
    """A scoring's job in one line."""
    task, report = task_of(job), result_of(job, ScoringReport)
    found = report.comparisons if report is not None else ()
    return ScoringSummary(
        scorers=tuple(spec.name for spec in task.scorers),
        calls=len(task.calls),
        left_out=task.left_out,
        means={each.metric.name: each.mean_b.estimate for each in found if each.mean_b is not None},
        **of_job(job, caller),
    )


def task_of(job: Job) -> ScoringTask:
    """What it is to do."""
    return msgspec.json.decode(job.spec, type=ScoringTask)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/scorings",
        summary="Scores of recorded calls that were asked for, newest first",
        handle=scorings,
        role="viewer",
        params={"limit": LIMIT.told()},
    ),
    Route(
        method="POST",
        path="/api/v1/scorings",
        summary="Score recorded calls that match filters, drawn by chance, as a job",
        handle=run_scoring,
        role="operator",
        body=ScoringOrder,
    ),
    Route(
        method="GET",
        path="/api/v1/scorings/{id}",
        summary="One of them: where it stands, and what the scorers say",
        handle=show_scoring,
        role="reader",
    ),
)
"""Every route about them."""
