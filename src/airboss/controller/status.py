"""Puts together what `airboss status` and the console's System page show.

The types are in `domain.status`, so that the console can read them without importing the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airboss import __version__
from airboss.domain.plan import DeploymentPlan
from airboss.domain.ports import Ledger, Replica
from airboss.domain.status import (
    DeploymentState,
    DeploymentStatus,
    JournalStatus,
    ProcessStatus,
    SystemStatus,
)


def gather(
    *,
    ledger: Ledger,
    journal: JournalStatus,
    processes: Sequence[ProcessStatus],
    data_dir: str,
    started_at: datetime | None,
    base_url: str | None,
    console_url: str | None,
) -> SystemStatus:
    """The status of now. `started_at` None means that no Airboss is running on this data directory."""
    snapshot = ledger.snapshot()
    replicas = ledger.replicas()
    plan = snapshot.plan if snapshot is not None else None
    return SystemStatus(
        version=__version__,
        running=started_at is not None,
        started_at=started_at,
        data_dir=data_dir,
        base_url=base_url,
        console_url=console_url,
        plan_number=plan.number if plan is not None else None,
        plan_created_at=plan.created_at if plan is not None else None,
        deployments=tuple(deployment_status(each, replicas) for each in plan.deployments) if plan else (),
        replicas=replicas,
        processes=tuple(processes),
        journal=journal,
    )


def deployment_status(deployment: DeploymentPlan, replicas: Sequence[Replica]) -> DeploymentStatus:
    """Where one deployment stands, by the replicas that serve it."""
    own = [each for each in replicas if each.url in deployment.target.base_urls]
    state: DeploymentState = "ready"
    if deployment.target.kind == "local":
        state = local_state(own)
    return DeploymentStatus(
        name=deployment.name,
        aliases=deployment.aliases,
        model=deployment.stable.model.model,
        release=deployment.stable.digest,
        release_name=deployment.stable.name,
        provider=deployment.target.provider,
        kind=deployment.target.kind,
        state=state,
        detail=next((each.detail for each in own if each.detail and each.state != "ready"), None),
    )


def local_state(replicas: Sequence[Replica]) -> DeploymentState:
    """One ready replica is enough to serve; none at all is `down`."""
    states = {each.state for each in replicas}
    if "ready" in states:
        return "ready"
    return "starting" if states & {"fetching", "starting"} else "down"
