"""Drift in the admin API: what drifted, since when, examples, and that it is accepted."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.config import Config, DriftConfig
from airboss.config.wording import nearest
from airboss.console.api_alarms import in_force
from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import NotFound
from airboss.evaluations.drift import Drift, Found, read
from airboss.evaluations.drift_checks import Changed, Checks
from airboss.store.drift_rows import checks_of, features_of

Standing = Literal["off", "learning", "watching", "drifted"]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A bin of a feature: the shares of calls in it, of the reference and of the newest. `limit` is the share
    that is still no drift, `e_value` the evidence that more are in it; it is one at 1 / its part of alpha."""

    bin: str
    before: float
    now: float | None
    limit: float
    e_value: float


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of calls, `name` such as `input_length`. `now` is of the newest `n` calls."""

    name: str
    drifted: bool
    n: int
    bins: tuple[Share, ...]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Answers to fixed prompts: how often they were asked, and those of the last time that are others now,
    beyond the noise: how many, and for readers which. `failed` had no answer then, `why` is the cause for the
    first of them, for readers."""

    state: Standing
    prompts: int
    every: str
    replays: int
    at: datetime | None
    since: datetime | None
    failed: int
    why: str | None
    e_value: float | None
    changed: tuple[Changed, ...]
    changes: int


class DriftOf(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment stands. While `learning`, `n` of the `needed` calls are gathered; then `since` is when
    watching began, `found` is what drifted, and `alpha` the chance that anything is, falsely, in a week."""

    deployment: str
    state: Standing
    since: datetime | None
    n: int
    needed: int
    alpha: float
    features: tuple[Feature, ...]
    found: tuple[Found, ...]
    checks: Checked


class Drifts(msgspec.Struct, frozen=True, kw_only=True):
    """Every deployment, by name."""

    deployments: tuple[DriftOf, ...]


def drifts(desk: Desk, call: Call) -> Drifts:
    """GET /api/v1/drift."""
    config = in_force(desk)
    return Drifts(
        deployments=tuple(
            one_of(desk, name, config.deployments[name].drift, call.caller)
            for name in sorted(config.deployments)
        )
    )


def accept(desk: Desk, call: Call) -> DriftOf:
    """POST /api/v1/drift/{deployment}/accept."""
    config, name = in_force(desk), call.path["deployment"]
    known(config, name)
    with desk.ledger.together():
        desk.drifts.put_drift(features_of(name), None)
        desk.drifts.put_drift(checks_of(name), None)
        desk.note(call, "drift.accept", name)
    return one_of(desk, name, config.deployments[name].drift, call.caller)


def known(config: Config, name: str) -> None:
    """Raise NotFound for a deployment that there is not."""
    if name not in config.deployments:
        hint = nearest(name, config.deployments)
        raise NotFound(f"there is no deployment {name[:80]!r}; {hint}", param="deployment")


def one_of(desk: Desk, name: str, asked: DriftConfig, caller: Caller) -> DriftOf:
    """How one deployment stands."""
    kept = desk.drifts.drift(features_of(name)) if asked.features else None
    state = read(kept)
    checks = checked(desk, name, asked, caller)
    standing: Standing = "off" if not asked.features else "learning"
    if state is not None and state.watched:
        standing = "drifted" if state.found else "watching"
    if checks.state == "drifted":
        standing = "drifted"
    return DriftOf(
        deployment=name,
        state=standing,
        since=state.since if state is not None and state.watched else None,
        n=0 if state is None else state.reference if state.watched else len(state.learning),
        needed=asked.reference,
        alpha=float(asked.alpha),
        features=() if state is None else tuple(feature(state, each) for each in state.watched),
        found=() if state is None else state.found,
        checks=checks,
    )


def feature(state: Drift, name: str) -> Feature:
    """A feature, its bins side by side."""
    newest = state.recent.get(name, ())
    return Feature(
        name=name,
        drifted=any(each.feature == name for each in state.found),
        n=len(newest),
        bins=tuple(
            Share(
                bin=where,
                before=one.before / state.reference,
                now=newest.count(where) / len(newest) if newest else None,
                limit=one.test.limit,
                e_value=one.test.e_value,
            )
            for where, one in state.watched[name].items()
            if one.before or where in newest
        ),
    )


def checked(desk: Desk, name: str, asked: DriftConfig, caller: Caller) -> Checked:
    """How the fixed prompts of a deployment stand."""
    kept = desk.drifts.drift(checks_of(name)) if asked.prompts else None
    state = msgspec.json.decode(kept, type=Checks) if kept is not None else None
    standing: Standing = "learning" if asked.prompts else "off"
    if state is not None and state.test is not None:
        standing = "drifted" if state.drifted else "watching"
    return Checked(
        state=standing,
        prompts=len(asked.prompts),
        every=asked.every,
        replays=state.replays if state is not None else 0,
        at=state.at if state is not None and state.replays else None,
        since=state.since if state is not None else None,
        failed=state.failed if state is not None else 0,
        why=(state.why or None) if state is not None and caller.may("reader") else None,
        e_value=state.test.e_value if state is not None and state.test is not None else None,
        changed=state.changed if state is not None and caller.may("reader") else (),
        changes=len(state.changed) if state is not None else 0,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/drift",
        summary="What drifted of each deployment, since when, with examples",
        handle=drifts,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/drift/{deployment}/accept",
        summary="What is now is usual from here on: learn anew",
        handle=accept,
        role="operator",
    ),
)
"""Every route about drift."""
