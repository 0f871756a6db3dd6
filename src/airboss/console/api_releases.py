"""Releases and rollouts in the admin API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.config.wording import nearest
from airboss.console.changes import Change, flat
from airboss.console.desk import Desk
from airboss.console.query import Limit
from airboss.console.route import Call, Route
from airboss.console.waits import for_another, must_wait
from airboss.domain.errors import ConfigError, InvalidRequest, NotFound
from airboss.domain.plan import Promotion
from airboss.domain.ports import KeptRelease
from airboss.domain.release import Release
from airboss.domain.verdict import Verdict
from airboss.governance.roles import loosened
from airboss.releases.build import is_bare
from airboss.rollouts import stages
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order, State

LIMIT = Limit(50, 1_000)
REASON_CHARS_MAX = 1_000
"""Of why somebody wants what they order."""
DIGITS_MIN = 8
"""Of a digest: a shorter text is a name."""

Place = Literal["stable", "canary", "candidate", "promoted before", "served"]
"""How a release stands: `served` means that no deployment has it, and our own calls may."""


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """Where a release stands in a deployment."""

    deployment: str
    place: Place


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A release in a list. `plan` is the first plan that could serve it, published `at`."""

    digest: str
    name: str
    provider: str
    model: str
    plan: int
    at: datetime
    stands: tuple[Stands, ...]


class Releases(msgspec.Struct, frozen=True, kw_only=True):
    """Every release ever published, the newest first."""

    releases: tuple[ReleaseRow, ...]


class ReleaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A release, whole: from it alone the behaviour can be rebuilt."""

    release: Release
    plan: int
    at: datetime
    stands: tuple[Stands, ...]


class ReleaseDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What tells release `b` from release `a`."""

    a: str
    b: str
    changes: tuple[Change, ...]


class CanaryView(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout exposes now."""

    rollout: str
    release: str
    name: str
    weight: float


class DeploymentView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a deployment stands. Releases are digests; `candidate` waits for `rollout start`. `previewed` is
    how many users and keys get that, or the canary, before others."""

    name: str
    aliases: tuple[str, ...]
    stable: str
    stable_name: str
    candidate: str | None
    canary: CanaryView | None
    promoted: tuple[Promotion, ...]
    previewed: int


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """Every deployment of the plan in force."""

    deployments: tuple[DeploymentView, ...]


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout. `weight` is the canary's share now, `steps` the shares of all steps (0 to 1), `step` counts
    from 0. `verdict` is the newest, with the numbers it rests on."""

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


class Rollouts(msgspec.Struct, frozen=True, kw_only=True):
    """Rollouts, the newest first."""

    rollouts: tuple[RolloutView, ...]


class RolloutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout with the verdicts that changed something, the oldest first."""

    rollout: RolloutView
    verdicts: tuple[Verdict, ...]


class StartIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout to begin: of `release` (name or digest), else of the deployment's candidate."""

    deployment: str
    release: str | None = None
    by: str = "admin"
    reason: str = ""


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word on the running rollout of a deployment; with `rollout`, its id, on that one alone."""

    deployment: str
    action: Literal["pause", "resume", "promote", "abort"]
    reason: str = ""
    by: str = "admin"
    rollout: str | None = None


def releases(desk: Desk, _call: Call) -> Releases:
    """GET /api/v1/releases."""
    places = _places(desk)
    return Releases(
        releases=tuple(
            ReleaseRow(
                digest=each.release.digest,
                name=each.release.name,
                provider=each.release.model.provider,
                model=each.release.model.model,
                plan=each.plan,
                at=each.at,
                stands=places.get(each.release.digest, ()),
            )
            for each in reversed(desk.ledger.releases())
        )
    )


def release(desk: Desk, call: Call) -> ReleaseAnswer:
    """GET /api/v1/releases/{ref}."""
    kept = find(desk, call.path["ref"])
    places = _places(desk)
    return ReleaseAnswer(
        release=kept.release, plan=kept.plan, at=kept.at, stands=places.get(kept.release.digest, ())
    )


def release_diff(desk: Desk, call: Call) -> ReleaseDiff:
    """GET /api/v1/releases/diff."""
    a, b = (find(desk, _needed(call, name)).release for name in ("a", "b"))
    before, after = (dict(flat(_content(each))) for each in (a, b))
    return ReleaseDiff(
        a=a.digest,
        b=b.digest,
        changes=tuple(
            Change(
                path=path,
                kind="added" if path not in before else "removed" if path not in after else "changed",
                before=before.get(path),
                after=after.get(path),
            )
            for path in sorted({*before, *after})
            if before.get(path) != after.get(path)
        ),
    )


def find(desk: Desk, ref: str) -> KeptRelease:
    """The release of a digest, of its first 8 digits or more, or of a name: what the configuration has under
    it, rather than an older version or a model of that name. Raises NotFound."""
    kept = desk.ledger.releases()
    if len(ref) >= DIGITS_MIN:
        found = [each for each in kept if each.release.digest.startswith(ref.lower())]
        if len(found) == 1:
            return found[0]
    named = [each for each in kept if each.release.name == ref]
    if named:
        wanted = {each.wanted for each in desk.ledger.standings().values()}
        return max(
            named,
            key=lambda each: (each.release.digest in wanted, not is_bare(each.release), each.plan),
        )
    names = sorted({each.release.name for each in kept})
    raise NotFound(
        f"there is no release {ref[:80]!r}; known: {', '.join(names[:20]) or 'none'}",
        code="release_not_found",
    )


def deployments(desk: Desk, _call: Call) -> Deployments:
    """GET /api/v1/deployments."""
    snapshot = desk.ledger.snapshot()
    standings = desk.ledger.standings()
    views = []
    for each in snapshot.plan.deployments if snapshot is not None else ():
        standing, canary = standings.get(each.name), each.canary
        waiting = standing is not None and standing.wanted != each.stable.digest
        views.append(
            DeploymentView(
                name=each.name,
                aliases=each.aliases,
                stable=each.stable.digest,
                stable_name=each.stable.name,
                candidate=standing.wanted if standing is not None and waiting else None,
                canary=CanaryView(
                    rollout=canary.rollout,
                    release=canary.served.release.digest,
                    name=canary.served.release.name,
                    weight=canary.weight,
                )
                if canary is not None
                else None,
                promoted=standing.promoted if standing is not None else (),
                previewed=len(each.preview.users) + len(each.preview.keys) if each.preview is not None else 0,
            )
        )
    return Deployments(deployments=tuple(views))


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
    return Rollouts(rollouts=tuple(map(view, found)))


def rollout(desk: Desk, call: Call) -> RolloutAnswer:
    """GET /api/v1/rollouts/{id}."""
    found = desk.rollouts.get(call.path["id"])
    if found is None:
        raise NotFound(f"no rollout {call.path['id'][:80]!r}; GET /api/v1/rollouts lists them", param="id")
    return RolloutAnswer(rollout=view(found), verdicts=tuple(desk.rollouts.verdicts(found.id)))


def start(desk: Desk, call: Call) -> RolloutView:
    """POST /api/v1/rollouts."""
    intent = call.intent(StartIntent)
    reason = kept_reason(intent.reason)
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
            begun = desk.rollouts.start(intent.deployment, intent.release, by=by_whom(call, intent.by))
            _note(desk, call, "rollout.start", begun, reason)
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config") from None
    return view(begun)


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
    return view(ordered)


def by_whom(call: Call, said: str) -> str:
    """Who asks: with the admin key whoever they say, with a console key whose it is; where another has
    approved it, who asked for it."""
    return call.actor if call.approved else call.caller.key or said[:200]


def _note(desk: Desk, call: Call, action: str, rollout: Rollout, reason: str) -> None:
    """Say in the audit log what was done to a rollout, and why."""
    detail = {"rollout": rollout.id, "release": rollout.release, "state": rollout.stage.state}
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


def view(rollout: Rollout) -> RolloutView:
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
    )


def _places(desk: Desk) -> dict[str, tuple[Stands, ...]]:
    """Where each release stands, by digest."""
    found: dict[str, list[Stands]] = {}

    def stands(digest: str, deployment: str, place: Place) -> None:
        found.setdefault(digest, []).append(Stands(deployment=deployment, place=place))

    snapshot, standings = desk.ledger.snapshot(), desk.ledger.standings()
    for each in snapshot.plan.deployments if snapshot is not None else ():
        stands(each.stable.digest, each.name, "stable")
        standing = standings.get(each.name)
        shown = {each.stable.digest}
        if each.canary is not None:
            stands(each.canary.served.release.digest, each.name, "canary")
            shown.add(each.canary.served.release.digest)
        if standing is not None and standing.wanted not in shown:
            stands(standing.wanted, each.name, "candidate")
            shown.add(standing.wanted)
        for promotion in standing.promoted if standing is not None else ():
            if promotion.release not in shown:
                shown.add(promotion.release)
                stands(promotion.release, each.name, "promoted before")
    return {digest: tuple(places) for digest, places in found.items()}


def _content(release: Release) -> dict[str, object]:
    said: dict[str, object] = msgspec.to_builtins(release)
    return {name: value for name, value in said.items() if name not in ("digest", "name")}


def _needed(call: Call, name: str) -> str:
    value = call.params.get(name)
    if not value:
        raise InvalidRequest(f"{name} is missing; give the name or digest of a release", param=name)
    return value


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/releases",
        summary="Every release ever published, the newest first",
        answer=Releases,
        handle=releases,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/releases/diff",
        summary="What tells one release from another",
        answer=ReleaseDiff,
        handle=release_diff,
        role="reader",
        params={"a": "name or digest of one release", "b": "of the other"},
    ),
    Route(
        method="GET",
        path="/api/v1/releases/{ref}",
        summary="One release, whole, by name or digest",
        answer=ReleaseAnswer,
        handle=release,
        role="reader",
    ),
    Route(
        method="GET",
        path="/api/v1/deployments",
        summary="Where each deployment stands: stable, candidate, canary",
        answer=Deployments,
        handle=deployments,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/rollouts",
        summary="Rollouts, the newest first",
        answer=Rollouts,
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
        answer=RolloutAnswer,
        handle=rollout,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/rollouts",
        summary="Begin a rollout",
        answer=RolloutView,
        handle=start,
        role="operator",
        body=StartIntent,
    ),
    Route(
        method="POST",
        path="/api/v1/rollouts/order",
        summary="Pause, resume, promote or abort the running rollout of a deployment",
        answer=RolloutView,
        handle=order,
        role="operator",
        body=OrderIntent,
    ),
)
"""The routes of this module."""
