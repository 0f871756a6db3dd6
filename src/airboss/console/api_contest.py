"""Several releases against one baseline in the admin API: their table."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from airboss.console.api_eval import report_of
from airboss.console.api_jobs import of_job, result_of
from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import NotFound
from airboss.evaluations.contest import PREFIX, Contender, ContestTable, Entry, eval_id, table
from airboss.evaluations.orders import KIND, EvalResult, EvalTask
from airboss.store.job_rows import Job


def show_contest(desk: Desk, call: Call) -> ContestTable:
    """GET /api/v1/evals/{id}/contest."""
    wanted = call.path["id"]
    first = desk.jobs.get(eval_id(wanted, 1) if wanted.startswith(PREFIX) else wanted)
    if first is None or first.kind != KIND:
        raise NotFound(
            f"no contest or evaluation {wanted[:80]!r}; `airboss eval list`, or GET /api/v1/evals, shows all",
            param="id",
        )
    contest = msgspec.json.decode(first.spec, type=EvalTask).contest
    if contest is UNSET:
        raise NotFound(
            f"the evaluation {wanted[:80]!r} is of one release alone, and in no contest", param="id"
        )
    jobs = [job for each in contest.evals() if (job := desk.jobs.get(each)) is not None]
    return table(contest, [_entry(desk, job, call.caller) for job in jobs])


def _entry(desk: Desk, job: Job, caller: Caller) -> Entry:
    """An evaluation of a contest, as its table is made of it."""
    plan, result = msgspec.json.decode(job.spec, type=EvalTask).plan, result_of(job, EvalResult)
    told = of_job(job, caller)
    return Entry(
        contender=Contender(
            eval=job.id,
            release=plan.b,
            state=job.state,
            error=told["error"],
            done=job.done,
            total=job.total,
            conclusion=result.decision.conclusion if result is not None and result.decision else None,
        ),
        plan=plan,
        report=report_of(desk, job) if job.state == "done" else None,
        ms_a=None if result is None or result.ms_a is UNSET else result.ms_a,
        ms_b=None if result is None or result.ms_b is UNSET else result.ms_b,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/evals/{id}/contest",
        summary="Several releases against one baseline, best first; by the contest or an evaluation of it",
        handle=show_contest,
        role="reader",
    ),
)
"""Every route about contests."""
