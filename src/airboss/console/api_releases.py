"""Releases and rollouts in the admin API."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from airboss.config.wording import nearest
from airboss.console.changes import Change, flat
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.plan import Named, Promotion
from airboss.domain.ports import KeptRelease
from airboss.domain.release import Release
from airboss.evaluations.targets import DIGITS_MIN
from airboss.releases.build import is_bare
from airboss.releases.sharing import beside, said_of

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
    how many are named to get that, or the canary, before others: users, keys, teams and values of tags."""

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


def releases(desk: Desk, _call: Call) -> Releases:
    """GET /api/v1/releases."""
    places = _places(desk)
    return Releases(
        releases=tuple(
            ReleaseRow(
                digest=each.release.digest,
                name=each.release.name,
                provider=said_of(each.release)[1],
                model=said_of(each.release)[0],
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
    hint = nearest(ref, {each.release.name for each in kept})
    raise NotFound(f"there is no release {ref[:80]!r}; {hint}", code="release_not_found")


def named(who: Named) -> int:
    """How many names there are."""
    return len(who.users) + len(who.keys) + len(who.teams) + sum(map(len, who.tags.values()))


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
                previewed=named(each.preview) if each.preview is not None else 0,
            )
        )
    return Deployments(deployments=tuple(views))


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
    said: dict[str, Any] = msgspec.to_builtins(release)
    if release.shares:  # as somebody writes it: who shares the calls is no fallback
        others = beside(release)
        members = [said.pop("model"), *said["fallbacks"][:others]]
        said["fallbacks"] = said["fallbacks"][others:]
        parts = zip(members, release.shares, strict=True)
        said["shares"] = {
            f"{each['provider']}/{each['model']}": {**each, "share": part} for each, part in parts
        }
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
        handle=releases,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/releases/diff",
        summary="What tells one release from another",
        handle=release_diff,
        role="reader",
        params={"a": "name or digest of one release", "b": "of the other"},
    ),
    Route(
        method="GET",
        path="/api/v1/releases/{ref}",
        summary="One release, whole, by name or digest",
        handle=release,
        role="reader",
    ),
    Route(
        method="GET",
        path="/api/v1/deployments",
        summary="Where each deployment stands: stable, candidate, canary",
        handle=deployments,
        role="viewer",
    ),
)
"""The routes of this module."""
