"""What stands where: the answer to `airboss status`, the console's System page and `/api/v1/status`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.domain.ports import Replica, Scaling
from airboss.domain.release import ProviderKind

ProcessState = Literal["starting", "ready", "silent", "backing_off", "failed", "stopping", "stopped"]
"""Where a supervised process stands. `silent`: it runs, and seems to hang. `backing_off`: it died and waits
before the next start. `failed`: it will not get ready, and is left alone."""

DeploymentState = Literal["ready", "starting", "down"]
"""`ready`: a call would be sent on; a hosted provider's is if its key is there: nobody asks it but calls do.
`starting`: no replica of a local model is ready; one comes. `down`: none, no key, or nobody answers."""


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process. `restarts` is since `airboss up`, `rss_bytes` its memory (None: not known)."""

    name: str
    state: ProcessState
    restarts: int
    since: datetime
    pid: int | None = None
    rss_bytes: int | None = None
    detail: str | None = None


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment. `model` is the name upstream or the weights' source; `release` is the digest,
    `candidate` a changed release's that no rollout exposes, `canary` of one that is, at `canary_weight`."""

    name: str
    aliases: tuple[str, ...]
    model: str
    release: str
    release_name: str
    provider: str
    kind: ProviderKind
    state: DeploymentState
    detail: str | None = None
    candidate: str | None = None
    canary: str | None = None
    canary_weight: float | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that became no record, or stray feedback: `why`, where it lay, its size and how it begins."""

    segment: str
    offset: int
    why: str
    bytes: int
    excerpt: str


class JournalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the record store is behind. `unmoved_bytes` are of frames not taken yet, `oldest_unmoved_at` is
    when the oldest was written, `lag_s` its age (None and 0.0 when all is moved). Counts are since the
    controller's start. `store_up`: the store answered last; else `store_detail` says why, or how long whom
    records wait for is silent: the ledger knows who was forgotten. `dead_letters`: the newest 20."""

    unmoved_bytes: int
    oldest_unmoved_at: datetime | None
    lag_s: float
    store_up: bool
    moved_records: int
    corrupt_frames: int
    store_detail: str | None = None
    waits_for: Literal["record store", "ledger"] = "record store"
    stray_feedback: int = 0
    dead_letters: tuple[DeadLetter, ...] = ()


class AlarmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where one alarm stands. `value` is what was measured last (None: there was nothing), of a `sequential`
    one the share of calls that are worse than usual. `where` narrows its calls, by filters of records."""

    name: str
    kind: str
    state: str
    since: datetime
    deployment: str
    metric: str
    value: float | None = None
    silenced_until: datetime | None = None
    where: dict[str, str] = {}


class RetentionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days what is kept, None for good; when this controller's last run ended, `expired` records
    by it. Since its start `dropped` lost bodies to `bodies_max_bytes`, or as the disk was nearly full."""

    bodies_days: int | None = None
    records_days: int | None = None
    answers_days: int | None = None
    bodies_max_bytes: int | None = None
    dropped: int = 0
    disk_full: bool = False
    ran_at: datetime | None = None
    expired: int = 0


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A place of a model that is left alone or out. `key` is a reference, `last_status` HTTP's, `out_since`
    since when it is tried in vain, by `deployments`; `stranded` have nobody else, `instead` is then None."""

    provider: str
    model: str
    url: str
    state: Literal["closed", "half_open", "open"]
    last_failure: str | None = None
    key: str | None = None
    out_since: datetime | None = None
    limited: Literal["out_of_quota", "rate_limited"] | None = None
    deployments: tuple[str, ...] = ()
    instead: str | None = None
    stranded: tuple[str, ...] = ()
    last_status: int | None = None


class SystemStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of one Airboss. `plan_number` and `plan_created_at` are None before the first plan. `running`
    False: of a stopped one, `started_at` and URLs are None. `base_url` ends with `/v1`. `erasures_pending`
    are people to be forgotten, `counters_away` gateways that do not reach who counts limits, `kept_plans`
    which serve a plan from disk, `unrecordable` which can record no call; `audit_trouble`: the audit log was
    edited, `ledger_trouble`: it is of earlier, or not written, `untold`: whom summaries did not reach."""

    version: str
    running: bool
    started_at: datetime | None
    data_dir: str
    base_url: str | None
    console_url: str | None
    plan_number: int | None
    plan_created_at: datetime | None
    deployments: tuple[DeploymentStatus, ...]
    replicas: tuple[Replica, ...]
    scaling: tuple[Scaling, ...] = ()
    processes: tuple[ProcessStatus, ...]
    journal: JournalStatus
    alarms: tuple[AlarmStatus, ...] = ()
    retention: RetentionStatus = RetentionStatus()
    erasures_pending: int = 0
    breakers: tuple[BreakerStatus, ...] = ()
    counters_away: int = 0
    kept_plans: tuple[str, ...] = ()
    unrecordable: tuple[str, ...] = ()
    audit_trouble: str | None = None
    untold: tuple[str, ...] = ()
    ledger_trouble: str | None = None
