"""Providers in the admin API: every place that may answer a call, and whether it does."""

from __future__ import annotations

from typing import Literal

import msgspec

from airboss.console.desk import Desk
from airboss.console.page import current_plan
from airboss.console.route import Call, Route
from airboss.console.views_providers import Shown, shown
from airboss.domain.release import ProviderKind
from airboss.telemetry.metrics import BREAKERS, TargetUse


class ProviderTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One address and key of a model, as all workers together have seen it since a plan has it.

    `breaker` is null where nobody has asked it yet. `roles` are the deployments that ask it. `attempts` have
    ended; of them `failed` did by its fault, or for its credit or quota being used up, `rate_limited` met a
    limit that a wait mends, `refused` were for what they said, and the others were answered. `failures`
    counts each that was not by its error. `first_output_ms` is the mean time of answers to a stream's first
    output or to a whole answer. `last_status` is the HTTP status that came with the last failure, if any did.
    """

    provider: str
    model: str
    kind: ProviderKind
    url: str
    key: str | None
    roles: tuple[str, ...]
    breaker: Literal["closed", "half_open", "open"] | None
    attempts: int = 0
    failed: int = 0
    rate_limited: int = 0
    refused: int = 0
    failures: dict[str, int] = {}
    opened: int = 0
    outstanding: int = 0
    first_output_ms: float | None = None
    last_failure: str | None = None
    last_status: int | None = None


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """Every place that the plan in force may ask, by provider and model."""

    targets: tuple[ProviderTarget, ...]


def list_providers(desk: Desk, _call: Call) -> Providers:
    """GET /api/v1/providers."""
    plan = current_plan(desk)
    found = shown(plan, desk.targets()) if plan is not None else ()
    return Providers(targets=tuple(place for each in found for place in _places(each)))


def _places(model: Shown) -> list[ProviderTarget]:
    target = model.target

    def place(use: TargetUse, *, asked: bool = True) -> ProviderTarget:
        return ProviderTarget(
            provider=target.provider,
            model=target.upstream_model,
            kind=target.kind,
            url=use.url,
            key=use.key or None,
            roles=model.roles,
            breaker=BREAKERS[use.state] if asked else None,
            attempts=use.attempts,
            failed=use.failed,
            rate_limited=use.rate_limited,
            refused=use.refused,
            failures=use.failures,
            opened=use.opened,
            outstanding=use.outstanding,
            first_output_ms=round(1000 * use.took_s / use.answered, 3)
            if use.answered and use.took_s
            else None,
            last_failure=use.last_error or None,
            last_status=use.last_status or None,
        )

    never = [TargetUse(target.provider, target.upstream_model, url, "") for url in model.waiting]
    return [*map(place, model.uses), *(place(each, asked=False) for each in never)]


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/providers",
        summary="Every provider's targets: breaker, attempts, failures, latency",
        handle=list_providers,
        role="viewer",
    ),
)
