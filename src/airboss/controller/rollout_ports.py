"""What rollouts ask of others: to publish, and to evaluate first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from airboss.config.types import GateConfig
from airboss.domain.plan import PromotionWhy, ServingPlan
from airboss.rollouts.live import Rollout


class Publish(Protocol):
    """Puts a configuration into force, with what the ledger says of rollouts (`publish.apply_config`)."""

    def __call__(
        self,
        text: str,
        source: str,
        *,
        supersede: Callable[[str, str], None],
        promote: Mapping[str, tuple[str, PromotionWhy]],
        retry_failed: bool,
    ) -> ServingPlan:
        """The plan published, or the one in force where nothing changes. Raises ConfigError, SetupError."""


class Gate(Protocol):
    """The offline evaluation before a rollout."""

    def begin(self, rollout: Rollout, gate: GateConfig) -> str:
        """Start it and return the job's id. Raises AirbossError where it cannot be."""

    def answer(self, job: str) -> tuple[bool, str] | None:
        """Whether it passed, and why; None while it runs."""
