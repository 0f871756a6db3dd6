"""Jobs in the admin API: work that outlives a crash, done by the controller."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.query import Limit
from airboss.console.route import Call, Route
from airboss.domain.errors import NotFound
from airboss.evaluations.contest import PREFIX, eval_id
from airboss.governance.audit_ledger import JOB_DIGEST, text_digest
from airboss.store.job_rows import Job

LIMIT = Limit(50, 1_000)

T = TypeVar("T")


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first."""

    jobs: tuple[Job, ...]


def jobs(desk: Desk, call: Call) -> Jobs:
    """GET /api/v1/jobs."""
    return Jobs(jobs=newest(desk, call, call.params.get("kind") or None))


def job(desk: Desk, call: Call) -> Job:
    """GET /api/v1/jobs/{id}."""
    return found(desk.jobs.get(call.path["id"]), call)


def newest(desk: Desk, call: Call, kind: str | None) -> tuple[Job, ...]:
    """The newest jobs of a kind, or of any, as many as the call wants."""
    return desk.jobs.list(kind, LIMIT.read(call.params))


def of_job(job: Job, caller: Caller) -> dict[str, Any]:
    """What the summary of a job says of it, of whatever kind it is. An error may quote an answer, so that its
    words are for readers."""
    same = ("id", "state", "created_at", "by", "done", "total", "note", "error")
    said = {name: getattr(job, name) for name in same}
    if job.error is not None and not caller.may("reader"):
        said["error"] = "failed; why is for readers"
    return said


def result_of(job: Job, kind: type[T]) -> T | None:
    """What came of a job; None until it is done."""
    return None if job.result is None else msgspec.json.decode(job.result, type=kind)


def spec_told(job: Job) -> dict[str, str]:
    """For the audit log: the digest of what a job is to do."""
    return {JOB_DIGEST: text_digest(bytes(job.spec).decode())}


def cancel(desk: Desk, call: Call) -> Job:
    """POST /api/v1/jobs/{id}/cancel."""
    before = found(desk.jobs.get(call.path["id"]), call)
    with desk.ledger.together():
        job = found(desk.jobs.cancel(before.id, call.now), call)
        if not before.ended:
            desk.note(call, "job.cancel", job.id, {"kind": job.kind})
    return job


def found(job: Job | None, call: Call) -> Job:
    """The job, where there is one. Raises NotFound."""
    if job is None:
        raise _missing(call, "job", "job")
    return job


def of_kind(desk: Desk, call: Call, kind: str, noun: str) -> Job:
    """The job of this kind that the path names; `noun` is what people call it. Raises NotFound."""
    job = desk.jobs.get(call.path["id"])
    if job is None or job.kind != kind:
        raise _missing(call, kind, noun)
    return job


def _missing(call: Call, verb: str, noun: str) -> NotFound:
    wanted = call.path["id"][:80]
    known = f"`airboss {verb} list`, or GET /api/v1/{verb}s, shows all"
    if wanted.startswith(PREFIX):
        first = eval_id(wanted, 1)
        known = f"a contest is several evaluations: name one of them, such as {first!r}, or see all with "
        known += f"`airboss eval show {wanted}`, or GET /api/v1/evals/{wanted}/contest"
    return NotFound(f"no {noun} {wanted!r}; {known}", param="id")


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/jobs",
        summary="Jobs, newest first",
        handle=jobs,
        role="reader",
        params={
            "kind": "only of this kind: eval, scoring, tune, finetune, …",
            "limit": LIMIT.told(),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/jobs/{id}",
        summary="One job: where it stands, and what came of it",
        handle=job,
        role="reader",
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{id}/cancel",
        summary="End a job that has not ended; what it has done so far is kept",
        handle=cancel,
        role="operator",
    ),
)
"""Every route about jobs."""
