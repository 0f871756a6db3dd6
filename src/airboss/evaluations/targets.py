"""Which release somebody means: by name, by digest, or by where it stands in a deployment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Self

from airboss.domain import plan as plans
from airboss.domain.errors import Unavailable, WrongCall
from airboss.domain.plan import DeploymentPlan, ServingPlan, Standing
from airboss.domain.ports import Ledger
from airboss.domain.release import Release
from airboss.evaluations.ports import Target
from airboss.releases.build import is_bare
from airboss.releases.standing import coming
from airboss.store.wording import listed

DIGITS_MIN = 8
"""Of a digest: what is shorter is a name."""

STABLE, CANDIDATE = "stable", "candidate"


class Served:
    """What can be called now: the deployments of a plan, and every release that answers under it."""

    def __init__(self, plan: ServingPlan, standings: Mapping[str, Standing]) -> None:
        self._plan = plan
        self._standings = standings
        self._releases = {served.release.digest: served.release for served in plan.served()}
        self._asked = {digest for each in standings.values() for digest in (each.wanted, each.stable)}

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """By the plan that is in force. Raises WrongCall before the first."""
        snapshot = ledger.snapshot()
        if snapshot is None:
            raise WrongCall("nothing is served yet; apply a configuration first")
        return cls(snapshot.plan, ledger.standings())

    def deployment(self, name: str) -> DeploymentPlan:
        """The deployment of this name or alias. Raises WrongCall with the nearest name."""
        for each in self._plan.deployments:
            if name == each.name or name in each.aliases:
                return each
        names = [each.name for each in self._plan.deployments]
        near = difflib.get_close_matches(name[:80], names, n=1)
        raise WrongCall(
            f"no deployment is called {name[:80]!r}; there are {listed(names) or 'none'}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )

    def behind(self, target: Target) -> plans.Served:
        """The release that a target leads to, and where its model is."""
        return next(each for each in self._plan.served() if each.release.digest == target.release)

    def stable(self, deployment: str) -> Target:
        """What a deployment serves. Raises WrongCall as `deployment`."""
        found = self.deployment(deployment)
        return _target(found, found.stable)

    def check_settled(self, deployment: str) -> None:
        """Raises Unavailable while a deployment goes over to another release by itself, which it does once
        that one's engine is ready: what is stable now may be served no more before it is asked."""
        found = self.deployment(deployment)
        new = coming(found, self._standings.get(found.name))
        if new is not None:
            raise Unavailable(
                f"deployment {found.name!r} goes over from release {found.stable.digest[:12]} to {new[:12]} "
                "once its engine is ready, as `airboss status` tells; ask again then"
            )

    def candidate(self, deployment: str) -> Target | None:
        """What waits to take its place: the canary of a rollout, or what the configuration wants."""
        found = self.deployment(deployment)
        if found.canary is not None:
            return _target(found, found.canary.served.release)
        standing = self._standings.get(found.name)
        wanted = self._releases.get(standing.wanted) if standing is not None else None
        if wanted is None or wanted.digest == found.stable.digest:
            return None
        return _target(found, wanted)

    def find(self, deployment: str, wanted: str) -> Target:
        """The release of a name, or of a digest (its first 8 digits suffice), reached by way of a deployment;
        `stable` and `candidate` are the deployment's own. Raises WrongCall where none, or several, are meant.
        """
        if wanted == STABLE:
            return self.stable(deployment)
        if wanted == CANDIDATE:
            candidate = self.candidate(deployment)
            if candidate is None:
                raise WrongCall(
                    f"deployment {deployment!r} has no candidate: its configuration is what it serves; name "
                    "a release"
                )
            return candidate
        way = self.deployment(deployment)
        return _target(way, self._release(wanted))

    def meant(self, deployment: str, wanted: str | None) -> Target:
        """As `find`; where nothing is named, what is stable. Raises as `check_settled` then."""
        if not wanted:
            self.check_settled(deployment)
        return self.find(deployment, wanted or STABLE)

    def _release(self, wanted: str) -> Release:
        named = [each for each in self._releases.values() if each.name == wanted]
        # A model makes a release of its own name, which nobody means where the configuration has another one.
        named = [each for each in named if each.digest in self._asked or not is_bare(each)] or named
        by_digest = [
            each
            for each in self._releases.values()
            if len(wanted) >= DIGITS_MIN and each.digest.startswith(wanted.lower())
        ]
        found = named or by_digest
        if len(found) == 1:
            return found[0]
        if found:
            digests = ", ".join(sorted(each.digest[:12] for each in found))
            raise WrongCall(
                f"{len(found)} releases answer to {wanted!r}: {digests}; give a digest, or `{STABLE}` or "
                f"`{CANDIDATE}`"
            )
        names = sorted({each.name for each in self._releases.values()})
        near = difflib.get_close_matches(wanted[:80], names, n=1)
        raise WrongCall(
            f"no release {wanted[:80]!r} is served; there are {listed(names) or 'none'}"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + "; one in the configuration as [releases.NAME] can be called once it is applied"
        )


def _target(deployment: DeploymentPlan, release: Release) -> Target:
    return Target(deployment=deployment.name, release=release.digest, name=release.name)
