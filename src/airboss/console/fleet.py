"""What stands where: each deployment with the releases that answer in it, how much, and since when.

It reads, and gives what pages draw. The record store may be away: then there is no traffic, and all that the
ledger knows is there, so that a rollout can be ended all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from airboss.console import api_releases
from airboss.console.api_alarms import in_force
from airboss.console.api_releases import DeploymentView
from airboss.console.desk import Desk
from airboss.console.metric_words import LOOKS, headline
from airboss.console.query import Period
from airboss.console.route import Call
from airboss.console.shares import OWN_ARMS, Part, Shares, shares, step_of
from airboss.console.text import NB
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import ReleaseBucket, Replica
from airboss.domain.status import DeploymentStatus, SystemStatus
from airboss.domain.verdict import Verdict
from airboss.rollouts.live import Rollout

ROLLOUTS_MAX = 200
TOLD_MAX = 20
"""Rollouts of one deployment whose story is told."""

SAME_S = 2.0
"""A plan published so soon after a rollout's word is that word carried out."""

PLANS_MAX = 40
"""Plans looked through for what changed, the newest first."""

Role = Literal["stable", "canary", "candidate", "always", "never", "preview", "before"]
"""How a release stands: `before` answered in the period and does not any more."""


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """A release in a deployment. `weight` is what it should get now (0 to 1), `part` what it got in the
    period; None where it got nothing, or nobody knows."""

    role: Role
    digest: str
    name: str | None
    weight: float
    part: Part | None


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment: where it stands, who answers, its live rollout. `shares` is None while the record store
    is away. `per_day` are the calls of the last 24 hours."""

    view: DeploymentView
    status: DeploymentStatus | None
    answering: tuple[Answering, ...]
    shares: Shares | None
    rollout: Rollout | None
    replicas: tuple[Replica, ...]
    per_day: int | None

    @property
    def name(self) -> str:
        """Of the deployment."""
        return self.view.name


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that changed who answers. `kind` has an icon; `rollout` leads there."""

    at: datetime
    kind: Literal["promotion", "plan", "rollout", "verdict"]
    look: str
    title: str
    detail: str = ""
    release: str | None = None
    rollout: str | None = None


def fleet(desk: Desk, period: Period, *, points: int, now: datetime) -> tuple[Deployed, ...]:
    """Every deployment of the plan in force."""
    views = deployment_views(desk, now)
    step = step_of(period, points=points)
    buckets = traffic(desk, period.since, period.until, step_s=step)
    day = traffic(desk, now - timedelta(days=1), now, step_s=3_600)
    live = live_rollouts(desk)
    names = release_names(desk)
    status = desk.status()
    engines = replicas_of(desk, status)
    return tuple(
        deployed(
            each,
            status=status,
            names=names,
            replicas=engines.get(each.name, ()),
            found=None
            if buckets is None
            else shares([one for one in buckets if one.deployment == each.name], period, step_s=step),
            rollout=live.get(each.name),
            per_day=None
            if day is None
            else sum(one.requests for one in day if one.deployment == each.name and one.arm not in OWN_ARMS),
        )
        for each in views
    )


def deployment_views(desk: Desk, now: datetime) -> tuple[DeploymentView, ...]:
    """As the admin API gives them."""
    found = api_releases.deployments(desk, Call(params={}, path={}, body=b"", now=now))
    return found.deployments


def live_rollouts(desk: Desk) -> dict[str, Rollout]:
    """Those that are not over, by deployment."""
    return {each.deployment: each for each in desk.rollouts.list(limit=ROLLOUTS_MAX) if not each.final}


def release_names(desk: Desk) -> dict[str, str]:
    """What each release is called, by digest."""
    return {each.release.digest: each.release.name for each in desk.ledger.releases()}


def traffic(desk: Desk, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket] | None:
    """Who answered; None while the record store is away."""
    try:
        return desk.log.traffic(since, until, step_s=step_s)
    except StoreUnavailable:
        return None


def deployed(
    view: DeploymentView,
    *,
    status: SystemStatus,
    names: Mapping[str, str],
    replicas: tuple[Replica, ...],
    found: Shares | None,
    rollout: Rollout | None,
    per_day: int | None,
) -> Deployed:
    """One deployment, its releases in the order stable, canary, candidate, then who has it already and those
    before."""
    parts = {(each.release, each.arm): each for each in (found.parts if found is not None else ())}
    weight = view.canary.weight if view.canary is not None else 0.0
    rows = [row("stable", view.stable, names, parts.pop((view.stable, "stable"), None), 1.0 - weight)]
    if view.canary is not None:
        part = parts.pop((view.canary.release, "canary"), None)
        rows.append(row("canary", view.canary.release, names, part, weight))
    elif view.candidate is not None:
        rows.append(row("candidate", view.candidate, names, None, 0.0))
    previewed = {view.candidate, view.canary.release if view.canary else None} if view.previewed else set()
    now: dict[tuple[str, str], Role] = {(digest, "preview"): "preview" for digest in previewed if digest}
    if view.canary is not None:
        now |= {(view.canary.release, "always"): "always", (view.stable, "never"): "never"}
    for (digest, arm), part in parts.items():
        rows.append(row(now.get((digest, arm), "before"), digest, names, part, 0.0))
    own = next((each for each in status.deployments if each.name == view.name), None)
    return Deployed(
        view=view,
        status=own,
        answering=tuple(rows),
        shares=found,
        rollout=rollout,
        replicas=replicas,
        per_day=per_day,
    )


def row(role: Role, digest: str, names: Mapping[str, str], part: Part | None, weight: float) -> Answering:
    """One release."""
    return Answering(role=role, digest=digest, name=names.get(digest), weight=weight, part=part)


def replicas_of(desk: Desk, status: SystemStatus) -> dict[str, tuple[Replica, ...]]:
    """The engines of each deployment's local model, those included that do not serve yet or any more."""
    snapshot, config = desk.ledger.snapshot(), in_force(desk)
    found = {}
    for each in snapshot.plan.deployments if snapshot is not None else ():
        model = config.model_of(each.name) if each.name in config.deployments else None
        found[each.name] = tuple(
            one
            for one in status.replicas
            if each.target.kind == "local" and (one.model == model or one.url in each.target.base_urls)
        )
    return found


def history(desk: Desk, name: str) -> tuple[Changed, ...]:
    """What changed who answers in a deployment, the newest first: promotions, rollouts with their verdicts,
    and of the newest plans those that moved weight for another reason."""
    standing = desk.ledger.standings().get(name)
    found = [
        Changed(
            at=promotion.at,
            kind="promotion",
            look="ok",
            title="became stable",
            detail=WHY[promotion.why],
            release=promotion.release,
        )
        for promotion in (standing.promoted if standing is not None else ())
    ]
    for rollout in desk.rollouts.list(deployment=name, limit=TOLD_MAX):
        found += told(rollout, desk.rollouts.verdicts(rollout.id))
    moved = plans(desk, name)
    known = [each.at for each in found]
    found += [each for each in moved if all(abs((each.at - at).total_seconds()) > SAME_S for at in known)]
    return tuple(sorted(found, key=lambda each: each.at, reverse=True))


def told(rollout: Rollout, verdicts: Sequence[Verdict]) -> list[Changed]:
    """How a rollout began, and what was concluded."""
    steps = ", ".join(f"{100 * step:g}{NB}%" for step in rollout.rules.steps)
    return [
        Changed(
            at=rollout.started_at,
            kind="rollout",
            look="info",
            title="rollout began" if rollout.begun else f"rollout was set for {rollout.starts_at:%F %R} UTC",
            detail=f"by {rollout.by}, in steps of {steps}",
            release=rollout.release,
            rollout=rollout.id,
        ),
        *(
            Changed(
                at=verdict.at,
                kind="verdict",
                look=LOOKS[verdict.conclusion],
                title=f"rollout: {headline(verdict).lower()}",
                detail=verdict.reason,
                release=rollout.release,
                rollout=rollout.id,
            )
            for verdict in verdicts
        ),
    ]


def plans(desk: Desk, name: str) -> list[Changed]:
    """The newest plans that moved weight in a deployment."""
    snapshot = desk.ledger.snapshot()
    newest = snapshot.plan.number if snapshot is not None else 0
    found: list[Changed] = []
    before: tuple[str, float] | None = None
    for number in range(max(1, newest - PLANS_MAX), newest + 1):
        plan = desk.ledger.plan(number)
        own = next((each for each in plan.deployments if each.name == name), None) if plan else None
        if plan is None or own is None:
            continue
        now = (own.canary.served.release.digest, own.canary.weight) if own.canary is not None else ("", 0.0)
        if before is not None and now != before:
            share = f"canary at {100 * now[1]:g}{NB}%" if now[0] else "no canary"
            title = f"plan {number}: {share}"
            found.append(
                Changed(
                    at=plan.created_at, kind="plan", look="none", title=title, release=now[0] or before[0]
                )
            )
        before = now
    return found


WHY = {
    "first": "the first of this deployment",
    "applied": "applied; the deployment has no rollout",
    "rollback": "applied again: it was stable before, so at once",
    "rollout": "promoted on evidence",
    "person": "promoted by a person",
    "engine": "the same release on another engine",
    "undo": "back by a person's word: what followed was undone",
}
