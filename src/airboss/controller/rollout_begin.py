"""A rollout before it begins: of what, and by which rules."""

from __future__ import annotations

import secrets
from datetime import datetime

from airboss.config import Config
from airboss.config.types import RolloutConfig
from airboss.controller.rollout_rows import first_id
from airboss.domain.errors import ConfigError, NotFound, WrongCall
from airboss.domain.plan import Standing
from airboss.domain.ports import Ledger
from airboss.domain.release import Release
from airboss.evaluations.online import less_is_better
from airboss.releases.build import build_releases
from airboss.rollouts import analysis, live, metrics
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Rules, Stage


def drafted(config: Config, standing: Standing, chosen: Release, *, by: str, now: datetime) -> Rollout:
    """A rollout of the release against what is stable, as the configuration says; nothing is kept of it."""
    deployment = config.deployments[standing.deployment]
    said = deployment.rollout or RolloutConfig()
    less = less_is_better(deployment.scoring)
    watched = metrics.standards(said.metrics, said.margin, less_is_better=less)
    return Rollout(
        id=f"rollout-{secrets.token_hex(5)}",
        deployment=standing.deployment,
        release=chosen.digest,
        baseline=standing.stable,
        name=chosen.name,
        by=by,
        started_at=now,
        salt=secrets.token_hex(16),
        rules=Rules(
            steps=tuple(step / 100 for step in said.steps),
            step_units=said.step_units,
            step_s_min=said.step_min_s,
            step_s_max=said.step_max_s,
            gate=said.gate is not None,
        ),
        late_s=said.late_s,
        stage=Stage(state="scheduled", since=now),
        analysis=analysis.begin(alpha=said.alpha, metrics=watched),
        lanes=live.lanes(watched, after=first_id(now)),
    )


def candidate(
    ledger: Ledger, config: Config, standing: Standing, wanted: str | None, engine_version: str
) -> Release:
    """The release to roll out: that of a name or digest, else the deployment's candidate. Raises WrongCall
    where there is none or it is stable already, NotFound where it cannot be served now."""
    if wanted is None:
        if standing.wanted == standing.stable:
            raise WrongCall(
                f"{standing.deployment!r} has no candidate: the release that its configuration says "
                f"({standing.stable[:12]}) is stable already; apply a changed one, or name one with "
                "--release"
            )
        return found(ledger, standing.wanted)
    snapshot = ledger.snapshot()
    served = {each.release.digest: each.release for each in snapshot.plan.served()} if snapshot else {}
    said = build_releases(config, engine_version=engine_version).named.get(wanted)
    # A name is the configuration's, whatever else has it: an older version of it, a bare model.
    named = [
        each
        for each in served.values()
        if (each.digest == said.digest if said is not None else each.name == wanted)
        or (len(wanted) >= 8 and each.digest.startswith(wanted))
    ]
    if not named:
        known = ", ".join(sorted({each.name for each in served.values()}))
        raise NotFound(f"no release {wanted!r} can be served now; known: {known}", code="release_not_found")
    chosen = named[-1]
    if chosen.digest == standing.stable:
        raise WrongCall(f"release {wanted!r} is stable in {standing.deployment!r} already")
    return chosen


def found(ledger: Ledger, digest: str) -> Release:
    """The release of a digest. Raises ConfigError where the ledger has lost it."""
    release = ledger.release(digest)
    if release is None:
        raise ConfigError(f"the ledger has no release {digest[:12]}")
    return release
