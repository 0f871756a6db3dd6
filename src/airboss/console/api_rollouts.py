"""Rollouts in the admin API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from airboss.config import Config
from airboss.config.types import RolloutConfig
from airboss.config.wording import nearest
from airboss.console.desk import Desk
from airboss.console.query import Limit
from airboss.console.route import Call, Route
from airboss.console.waits import for_another, must_wait
from airboss.domain.errors import ConfigError, InvalidRequest, NotFound, StoreUnavailable
from airboss.domain.ports import RecordFilter, UsageQuery
from airboss.domain.release import Release
from airboss.domain.verdict import Verdict
from airboss.governance.roles import loosened
from airboss.rollouts import stages
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order, State

LIMIT = Limit(50, 1_000)
APART = ("always", "preview", "never")
"""The arms of callers who are named."""
LIVE_RULES = ("always", "never")
"""What a configuration says of a rollout that holds at once, also for one that runs."""
AHEAD_MAX = timedelta(days=366)
"""So far ahead a rollout may be set."""
REASON_CHARS_MAX = 1_000
"""Of why somebody wants what they order."""


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one arm for which nothing was drawn, as a rollout or preview names who made them. They are no
    evidence. `counted` are those that ended well or in an error."""

    arm: str
    requests: int
    errors: int
    counted: int


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout. `weight` is the canary's share now, `steps` the shares of all steps (0 to 1), `step` counts
    from 0. `verdict` is the newest, with the numbers it rests on. `starts_at` is when it was to begin, where
    that was said. `apart` is told of one that is live, or is asked for alone."""

    id: str
    deployment: str
    release: str
    name: str
    baseline: str
    state: State
    step: int
    steps: tuple[float, ...]
    weight: float
    alpha: float
    by: str
    started_at: datetime
    since: datetime
    verdict: Verdict | None
    job: str | None
    starts_at: datetime | None = None
    apart: tuple[Apart, ...] = ()


class Rollouts(msgspec.Struct, frozen=True, kw_only=True):
    """Rollouts, the newest first."""

    rollouts: tuple[RolloutView, ...]


class RolloutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout with the verdicts that changed something, the oldest first."""

    rollout: RolloutView
    verdicts: tuple[Verdict, ...]


class StartIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout to begin: of `release` (name or digest), else of the deployment's candidate; now, else `at`
    a time as in 2027-01-15T06:00Z."""

    deployment: str
    release: str | None = None
    by: str = "admin"
    reason: str = ""
    at: str | None = None


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word on the running rollout of a deployment; with `rollout`, its id, on that one alone."""

    deployment: str
    action: Literal["pause", "resume", "promote", "abort"]
    reason: str = ""
    by: str = "admin"
    rollout: str | None = None


def rollouts(desk: Desk, call: Call) -> Rollouts:
    """GET /api/v1/rollouts."""
    limit = LIMIT.read(call.params)
    deployment = call.params.get("deployment") or None
    found = desk.rollouts.list(deployment=deployment, limit=limit)
    if deployment is not None and not found:
        snapshot = desk.ledger.snapshot()
        known = [each.name for each in snapshot.plan.deployments] if snapshot is not None else []
        if deployment not in known:
            raise NotFound(
                f"there is no deployment {deployment[:80]!r}; {nearest(deployment, known)}",
                param="deployment",
            )
    live = [apart(desk, each, call.now) if not each.final else () for each in found]
    return Rollouts(rollouts=tuple(map(view, found, live)))


def rollout(desk: Desk, call: Call) -> RolloutAnswer:
    """GET /api/v1/rollouts/{id}."""
    found = desk.rollouts.get(call.path["id"])
    if found is None:
        raise NotFound(f"no rollout {call.path['id'][:80]!r}; GET /api/v1/rollouts lists them", param="id")
    return RolloutAnswer(
        rollout=view(found, apart(desk, found, call.now)), verdicts=tuple(desk.rollouts.verdicts(found.id))
    )


def apart(desk: Desk, rollout: Rollout, now: datetime) -> tuple[Apart, ...]:
    """Who was named during a rollout, and what they saw; nobody while the record store is away."""
    asked = UsageQuery(
        since=rollout.started_at,
        until=rollout.stage.since if rollout.final else max(now, rollout.started_at),
        by=("arm",),
        among=APART,
        where=RecordFilter(deployment=rollout.deployment),
        people=(),
    )
    try:
        found = desk.log.usage(asked)
    except StoreUnavailable:
        return ()
    return tuple(
        Apart(
            arm=each.group[0] or "",
            requests=each.requests,
            errors=each.errors,
            counted=each.requests - each.cancelled - each.refused,
        )
        for each in sorted(found, key=lambda each: APART.index(each.group[0] or ""))
    )


def start(desk: Desk, call: Call) -> RolloutView:
    """POST /api/v1/rollouts."""
    intent = call.intent(StartIntent)
    reason = kept_reason(intent.reason)
    starts_at = time_to_come(intent.at, call) if intent.at is not None else None
    if intent.release is not None and not call.caller.may("admin"):
        chosen = desk.rollouts.startable(intent.deployment, intent.release)
        bound_as_much(desk, call, intent.deployment, chosen)
        intent = msgspec.structs.replace(intent, release=chosen.digest)
    if not call.approved and must_wait(desk, call.caller):
        # A name may be another release's by the time that somebody approves it.
        release = desk.rollouts.startable(intent.deployment, intent.release).digest
        asked = msgspec.structs.replace(intent, release=release)
        for_another(desk, call, "rollout.start", asked, subject=intent.deployment, reason=reason)
    try:
        with desk.rollouts.together():
            begun = desk.rollouts.start(
                intent.deployment, intent.release, by=by_whom(call, intent.by), starts_at=starts_at
            )
            _note(desk, call, "rollout.start", begun, reason)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config") from None
    return view(begun)


def time_to_come(text: str, call: Call) -> datetime:
    """A time at which a rollout may begin. Raises InvalidRequest."""
    now = call.now
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = f"at={text[:60]!r} is no time with its zone; write it as in 2027-01-15T06:00Z"
        raise InvalidRequest(message, param="at")
    if not now < at <= now + AHEAD_MAX:
        late = "leave it out to begin now"
        if call.approved:
            late = "reject it, and ask for it anew if it is wanted"
        when = f"past; {late}" if at <= now else f"more than {AHEAD_MAX.days} days ahead"
        raise InvalidRequest(f"at={text[:60]!r} is {when} (it is {now:%Y-%m-%dT%H:%MZ})", param="at")
    return at.astimezone(UTC)


def bound_as_much(desk: Desk, call: Call, deployment: str, chosen: Release) -> None:
    """A release that is to answer, and binds calls less than what does now, is an admin's to choose, unless
    it is what the configuration says already. Raises PermissionDenied."""
    snapshot = desk.ledger.snapshot()
    standing = desk.ledger.standings().get(deployment)
    said = standing is not None and standing.wanted == chosen.digest
    for each in snapshot.plan.deployments if snapshot is not None else ():
        if each.name == deployment and not said and loosened(each.policy, each.stable.policy, chosen.policy):
            call.need(desk, "admin", f"to take {chosen.name!r} for {each.name!r}, which binds calls less,")


def order(desk: Desk, call: Call) -> RolloutView:
    """POST /api/v1/rollouts/order."""
    intent = call.intent(OrderIntent)
    said = Order(
        at=call.now, action=intent.action, by=by_whom(call, intent.by), reason=kept_reason(intent.reason)
    )
    running = next(iter(desk.rollouts.list(deployment=intent.deployment, limit=1)), None)
    if intent.rollout is not None and (running is None or running.id != intent.rollout):
        message = f"{intent.rollout[:60]} is not the newest rollout of {intent.deployment[:80]!r} any more"
        raise InvalidRequest(message, param="rollout")
    # Where none runs there is nothing to wait for: `order` says why.
    live = running if running is not None and not running.final else None
    if live and intent.action == "promote" and not call.approved and must_wait(desk, call.caller):
        asked = msgspec.structs.replace(intent, rollout=live.id)
        for_another(desk, call, "rollout.promote", asked, subject=intent.deployment, reason=said.reason)
    try:
        ordered = desk.rollouts.order(intent.deployment, said)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config") from None
    _note(desk, call, f"rollout.{intent.action}", ordered, said.reason)
    return view(ordered, () if ordered.final else apart(desk, ordered, call.now))


def kept_rules(desk: Desk, before: Config, after: Config) -> tuple[str, ...]:
    """Of which rollouts that run a configuration changes the rules, which are those that they began with."""
    found = []
    for name, deployment in after.deployments.items():
        had = (before.deployments[name].rollout if name in before.deployments else None) or RolloutConfig()
        said = deployment.rollout or had
        changed = [
            each
            for each in RolloutConfig.__struct_fields__
            if each not in LIVE_RULES and getattr(had, each) != getattr(said, each)
        ]
        newest = next(iter(desk.rollouts.list(deployment=name, limit=1)), None) if changed else None
        if newest is not None and newest.begun and not newest.final:
            found.append(
                f"the rollout of {name!r} that runs goes on by the rules that it began with, without the "
                f"change of {', '.join(changed)}, which are for the next one; `airboss rollout abort {name}` "
                "ends it"
            )
    return tuple(found)


def by_whom(call: Call, said: str) -> str:
    """Who asks: with the admin key whoever they say, with a console key whose it is; where another has
    approved it, who asked for it."""
    return call.actor if call.approved else call.caller.key or said[:200]


def _note(desk: Desk, call: Call, action: str, rollout: Rollout, reason: str) -> None:
    """Say in the audit log what was done to a rollout, and why."""
    detail = {"rollout": rollout.id, "release": rollout.release, "state": rollout.stage.state}
    if rollout.stage.state == "scheduled" and rollout.starts_at is not None:
        detail["starts_at"] = rollout.starts_at.isoformat()
    if reason:
        detail["reason"] = reason
    desk.note(call, action, rollout.deployment, detail)


def kept_reason(said: str) -> str:
    """A reason that can be kept. Raises InvalidRequest."""
    if len(said) > REASON_CHARS_MAX:
        raise InvalidRequest(
            f"the reason has {len(said)} characters, at most {REASON_CHARS_MAX} are kept; shorten it",
            param="reason",
        )
    return said


def view(rollout: Rollout, apart: tuple[Apart, ...] = ()) -> RolloutView:
    """A rollout without what only assignment needs: who knew the salt could choose users for an arm."""
    return RolloutView(
        id=rollout.id,
        deployment=rollout.deployment,
        release=rollout.release,
        name=rollout.name,
        baseline=rollout.baseline,
        state=rollout.stage.state,
        step=rollout.stage.step,
        steps=rollout.rules.steps,
        weight=stages.weight(rollout.rules, rollout.stage),
        alpha=rollout.analysis.alpha,
        by=rollout.by,
        started_at=rollout.started_at,
        since=rollout.stage.since,
        verdict=rollout.verdict,
        job=rollout.job,
        starts_at=rollout.starts_at,
        apart=apart,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/rollouts",
        summary="Rollouts, the newest first",
        handle=rollouts,
        role="viewer",
        params={
            "deployment": "only of this one",
            "limit": LIMIT.told(),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/rollouts/{id}",
        summary="One rollout with its verdicts",
        handle=rollout,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/rollouts",
        summary="Begin a rollout, now or at a set time",
        handle=start,
        role="operator",
        body=StartIntent,
    ),
    Route(
        method="POST",
        path="/api/v1/rollouts/order",
        summary="Pause, resume, promote or abort the running rollout of a deployment",
        handle=order,
        role="operator",
        body=OrderIntent,
    ),
)
"""The routes of this module."""
