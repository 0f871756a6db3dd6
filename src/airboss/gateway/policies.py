"""The policies that calls are under, as a snapshot has them: which there are, and all made ready."""

from __future__ import annotations

from collections.abc import Iterator

from airboss.domain.plan import DeploymentPlan
from airboss.domain.ports import Snapshot
from airboss.domain.release import Policy, Release
from airboss.governance.keys import Policies


def releases_of(deployment: DeploymentPlan) -> list[Release]:
    """Those that may answer for a deployment, or are asked beside."""
    releases = [deployment.stable]
    if deployment.canary is not None:
        releases.append(deployment.canary.served.release)
    if deployment.preview is not None:
        releases.append(deployment.preview.served.release)
    if deployment.shadow is not None:
        releases.append(deployment.shadow.release)
    return releases


def of_keys(snapshot: Snapshot) -> dict[str, Policies]:
    """The policies that bind the calls of keys themselves, by the key's name. One that is revoked, or under a
    policy that is not there, is left out."""
    known = snapshot.plan.policies
    return {
        key.name: tuple(known[name] for name in key.policies)
        for key in snapshot.keys
        if key.policies and key.revoked_at is None and known.keys() >= set(key.policies)
    }


def prepare_policies(snapshot: Snapshot) -> None:
    """Load and compile what calls may be under together, so that none waits for it."""
    bound = of_keys(snapshot)
    scopes = {(key.deployments, key.policies): bound[key.name] for key in snapshot.keys if key.name in bound}
    for deployment in snapshot.plan.deployments:
        beside: dict[tuple[str, ...], Policies] = {(): ()}
        for (only, names), policies in scopes.items():
            if only is None or deployment.name in only:
                beside[names] = policies
        for release in releases_of(deployment):
            for policies in beside.values():
                if release.policy is not None or deployment.policy is not None or policies:
                    from airboss.gateway.screened import compiled  # noqa: PLC0415 - 17 MB, for policies only

                    compiled(release.policy, deployment.policy, *policies)


def prepare_anew(snapshot: Snapshot) -> None:
    """The same, in place of what was compiled before."""
    from airboss.gateway.screened import compiled  # noqa: PLC0415 - as above

    compiled.cache_clear()
    prepare_policies(snapshot)


def policies_of(snapshot: Snapshot) -> Iterator[Policy | None]:
    """The policies that bind calls: of deployments, of all releases, and of keys."""
    for deployment in snapshot.plan.deployments:
        yield deployment.policy
        if deployment.shadow is not None:
            yield deployment.shadow.release.policy
    for served in snapshot.plan.served():
        yield served.release.policy
    for policies in of_keys(snapshot).values():
        yield from policies
