"""A ledger that serves two deployments, for orders to be looked up in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airboss.domain.plan import Canary, DeploymentPlan, Served, ServingPlan, Standing, Target
from airboss.domain.ports import Snapshot
from airboss.domain.release import ModelVersion, Release
from airboss.releases.build import sealed

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
TARGET = Target(provider="p", kind="openai", base_urls=("https://h/v1",), upstream_model="m")


def release(name: str, model: str | None = None) -> Release:
    """A release whose model has its name unless another is given."""
    version = ModelVersion(provider="p", kind="openai", model=model or name)
    return sealed(Release(digest="", name=name, model=version))


OLD, NEW, OTHER, GRADER = release("support"), release("support", "m2"), release("spare"), release("grader")


def deployment(name: str, stable: Release, canary: Release | None = None) -> DeploymentPlan:
    """A deployment, with a canary if one is given."""
    served = Served(release=canary, target=TARGET) if canary is not None else None
    return DeploymentPlan(
        name=name,
        aliases=(f"{name}-alias",),
        stable=stable,
        target=TARGET,
        canary=Canary(rollout="r", served=served, weight=0.1, salt="s") if served is not None else None,
    )


def plan(*deployments: DeploymentPlan, others: tuple[Release, ...] = ()) -> ServingPlan:
    """A plan of these deployments and releases."""
    served = tuple(Served(release=each, target=TARGET) for each in others)
    return ServingPlan(number=1, created_at=NOW, deployments=deployments, others=served)


def standing(wanted: Release, stable: Release) -> dict[str, Standing]:
    """Where `support` stands."""
    return {"support": Standing(deployment="support", wanted=wanted.digest, stable=stable.digest)}


class FixedLedger:
    """A ledger of one plan; anything else asked of it fails the test."""

    def __init__(self, serving: ServingPlan | None, standings: Mapping[str, Standing]) -> None:
        self._plan = serving
        self._standings = standings

    def snapshot(self) -> Snapshot | None:
        """As `Ledger.snapshot`."""
        return None if self._plan is None else Snapshot(revision=1, plan=self._plan, keys=())

    def standings(self) -> Mapping[str, Standing]:
        """As `Ledger.standings`."""
        return self._standings

    def __getattr__(self, name: str) -> Any:
        """Nothing else is asked."""
        raise AssertionError(f"an order must not call Ledger.{name}")
