"""What becomes of a deployment when a configuration wants a release of it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.domain.plan import DeploymentPlan, Promotion, PromotionWhy, Standing
from airboss.domain.release import Release
from airboss.releases.build import sealed

Outcome = Literal["first", "same", "rollback", "applied", "candidate"]
"""What applying did: the first release, nothing, back to one that was stable before, at once, or waiting."""

PROMOTIONS_MAX = 200
"""So many promotions are remembered; the oldest are forgotten, and then are candidates like any other."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """`supersedes`: the wish changed, so a live rollout of any other release than `standing.wanted` ends."""

    standing: Standing
    outcome: Outcome
    supersedes: bool


def settle(before: Standing | None, *, deployment: str, wanted: str, careful: bool, now: datetime) -> Settled:
    """Where a deployment stands once the configuration wants the release of digest `wanted`.

    Applied at once: the first release, one that was promoted here before (that is what a rollback is), and
    any where the deployment is not `careful` (has no `rollout`). Everything else waits as a candidate, also
    what was promoted here and undone: nobody who applies a file that still says it serves it again unseen.
    """
    if before is None:
        first = promoted(
            Standing(deployment=deployment, wanted=wanted, stable=wanted), wanted, why="first", now=now
        )
        return Settled(standing=first, outcome="first", supersedes=False)
    supersedes = wanted != before.wanted
    wish = msgspec.structs.replace(before, wanted=wanted)
    if wanted == before.stable:
        return Settled(standing=wish, outcome="same", supersedes=supersedes)
    if any(wanted == each.release for each in before.promoted) and wanted not in undone(before):
        # A wish that was there already and has been taken back since is no new wish for it.
        if not supersedes:
            return Settled(standing=wish, outcome="same", supersedes=False)
        return Settled(
            standing=promoted(wish, wanted, why="rollback", now=now), outcome="rollback", supersedes=True
        )
    if not careful:
        return Settled(
            standing=promoted(wish, wanted, why="applied", now=now), outcome="applied", supersedes=True
        )
    return Settled(standing=wish, outcome="candidate", supersedes=supersedes)


def coming(deployment: DeploymentPlan, standing: Standing | None) -> str | None:
    """The digest of what takes over by itself once its engine is ready: it is stable, and not served yet."""
    if standing is None or standing.stable == deployment.stable.digest:
        return None
    return standing.stable


def promoted(standing: Standing, release: str, *, why: PromotionWhy, now: datetime) -> Standing:
    """The standing once `release` is stable and wanted."""
    history = (*standing.promoted, Promotion(release=release, at=now, why=why))[-PROMOTIONS_MAX:]
    return msgspec.structs.replace(standing, wanted=release, stable=release, promoted=history)


def are_alike(one: Release, other: Release) -> bool:
    """Whether they are one release but for the detectors of its policy, which are those of the Airboss that
    runs: of two versions of it the same configuration makes two."""
    if one.policy is None or other.policy is None:
        return one.digest == other.digest
    policy = msgspec.structs.replace(one.policy, detectors=other.policy.detectors)
    return sealed(msgspec.structs.replace(one, policy=policy)).digest == other.digest


def stable_before(standing: Standing) -> str | None:
    """The digest of what was stable before what is, None where nothing was. What was taken back is passed
    over: to undo twice goes back twice."""
    held: list[str] = []
    for each in standing.promoted:
        if each.why in ("rollback", "undo") and each.release in held:
            del held[held.index(each.release) + 1 :]
        elif each.why == "engine" and held:
            held[-1] = each.release
        else:
            held.append(each.release)
    return next((each for each in reversed(held[:-1]) if each != standing.stable), None)


def undone(standing: Standing) -> frozenset[str]:
    """The digests of what was undone, and has not become stable since."""
    found: set[str] = set()
    stable = None
    for each in standing.promoted:
        if each.why == "undo" and stable is not None:
            found.add(stable)
        found.discard(each.release)
        stable = each.release
    return frozenset(found)
