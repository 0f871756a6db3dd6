"""A job as it is kept, and what a store of jobs promises."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, Protocol

import msgspec

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
"""`queued`: nobody works at it. `running`: somebody does, or did and died. The other three are ends."""

ENDS: tuple[JobState, ...] = ("done", "failed", "cancelled")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that outlives the process that does it.

    `spec` is what to do and `result` what came of it, JSON values of the kind's own. `done` of `total` steps
    are through (0 of 0 before anybody knows), `note` says in words where it stands. `error` is set for
    `failed` alone. `by` is who asked for it.
    """

    id: str
    kind: str
    spec: msgspec.Raw
    state: JobState
    done: int
    total: int
    note: str
    result: msgspec.Raw | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    by: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDS


class JobStore(Protocol):
    """Keeps jobs. Every call is one transaction, and durable when it returns. Raises SetupError if the
    database cannot be used.

    A job is worked at by its `owner`, a name that is used for one claim only. An owner that is silent for its
    lease loses the job to the next who claims it; from then on whatever it says is ignored.
    """

    def add(self, kind: str, spec: object, by: str, now: datetime, *, job_id: str | None = None) -> Job:
        """Keep a new job, queued. `spec` is encoded as JSON unless it is `msgspec.Raw`. `job_id` is one that
        no job has; left out, it is drawn."""

    def get(self, job_id: str) -> Job | None:
        """The job of this id."""

    def list(self, kind: str | None = None, limit: int = 100) -> tuple[Job, ...]:
        """The newest jobs, of this kind if one is given, newest first."""

    def claim(self, owner: str, now: datetime, lease_s: float, *, but: Collection[str] = ()) -> Job | None:
        """Take the oldest job that is queued, or whose owner has not been heard of for `lease_s`, of whatever
        kind `but` these; it is `running` then, and its `done`, `total` and `note` are what was said last.
        None: there is none."""

    def beat(self, job_id: str, owner: str, *, done: int, total: int, note: str, now: datetime) -> bool:
        """Say that the owner lives and how far it is. False: the job was cancelled, or is somebody else's;
        stop."""

    def finish(self, job_id: str, owner: str, result: object, now: datetime) -> bool:
        """The job is done. False, and nothing happens, where it is not the owner's any more."""

    def fail(self, job_id: str, owner: str, error: str, now: datetime) -> bool:
        """The job cannot be done, because of `error`. False as for `finish`."""

    def release(self, job_id: str, owner: str, now: datetime) -> bool:
        """Put the job back in the queue: its owner stops in good order. False as for `finish`."""

    def cancel(self, job_id: str, now: datetime) -> Job | None:
        """End a job that has not ended, at once; who works at it hears it at its next beat. Returns it as it
        is then, or None if there is none."""
