"""What stands where: the answer to `airboss status`, the console's System page and `/api/v1/status`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.domain.ports import Replica
from airboss.domain.release import ProviderKind

ProcessState = Literal["starting", "ready", "backing_off", "stopping", "stopped"]
"""Where a supervised process stands. `backing_off`: it died and waits before the next start."""

DeploymentState = Literal["ready", "starting", "down"]
"""`ready`: a call would be sent on. A hosted provider is always `ready`: nobody asks it but calls do.
`starting`: no replica of a local model is ready, and one is being fetched or started. `down`: none is."""


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process. `restarts` counts since `airboss up`; `since` is when `state` began.

    `rss_bytes` is the memory it holds, None where that cannot be read.
    """

    name: str
    state: ProcessState
    restarts: int
    since: datetime
    pid: int | None = None
    rss_bytes: int | None = None
    detail: str | None = None


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment. `model` is the name upstream or the weights' source; `release` is the digest."""

    name: str
    aliases: tuple[str, ...]
    model: str
    release: str
    release_name: str
    provider: str
    kind: ProviderKind
    state: DeploymentState
    detail: str | None = None


class JournalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the record store is behind the journals.

    `unmoved_bytes` are bytes of frames not taken yet; `oldest_unmoved_at` is when the oldest of them was
    written and `lag_s` its age in seconds (None and 0.0 when all is moved). `moved_records` and
    `corrupt_frames` count since the controller started. `store_up` is whether the store answered last; if
    not, `store_detail` is what it said.
    """

    unmoved_bytes: int
    oldest_unmoved_at: datetime | None
    lag_s: float
    store_up: bool
    moved_records: int
    corrupt_frames: int
    store_detail: str | None = None


class SystemStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of one Airboss. `plan_number` and `plan_created_at` are None before the first plan.

    `running` False: read from the data of a stopped one; `started_at` and the URLs are then None.
    `base_url` ends with `/v1`, as `OPENAI_BASE_URL` does.
    """

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
    processes: tuple[ProcessStatus, ...]
    journal: JournalStatus
