"""Rollouts put together: the loop, its gate (an evaluation's job), and how a configuration is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airboss.compose.evals import orders
from airboss.compose.parts import SystemClock, ledger_notes, pick_port

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.config.types import GateConfig
    from airboss.controller.rollouts import Rollouts
    from airboss.domain.plan import PromotionWhy, ServingPlan
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.domain.status import JournalStatus
    from airboss.rollouts.live import Rollout
    from airboss.store.datadir import DataDir
    from airboss.store.rollouts import SqlRolloutStore


def rollouts(
    ledger: Ledger,
    data: DataDir,
    records: RecordLog,
    stores: Stores,
    *,
    kept: SqlRolloutStore,
    journal: Callable[[], JournalStatus],
) -> Rollouts:
    """The rollouts of a data directory."""
    from airboss.controller.publish import apply_config  # noqa: PLC0415 - only who publishes
    from airboss.controller.rollouts import Rollouts  # noqa: PLC0415 - as above
    from airboss.replicas.llamacpp import engine_version  # noqa: PLC0415 - as above

    def publish(
        text: str,
        source: str,
        *,
        supersede: Callable[[str, str], None],
        promote: Mapping[str, tuple[str, PromotionWhy]],
        retry_failed: bool,
    ) -> ServingPlan:
        return apply_config(
            ledger,
            text,
            source=source,
            data=data,
            pick_port=pick_port,
            now=datetime.now(UTC),
            supersede=supersede,
            promote=promote,
            retry_failed=retry_failed,
            notes=ledger_notes(ledger, stores.audit),
        )

    return Rollouts(
        ledger=ledger,
        store=kept,
        records=records,
        publish=publish,
        journal=journal,
        clock=SystemClock(),
        gate=EvalGate(ledger, data, stores),
        engine_version=engine_version,
    )


class EvalGate:
    """A rollout's gate: an evaluation of the candidate against stable, as a job of the controller."""

    def __init__(self, ledger: Ledger, data: DataDir, stores: Stores) -> None:
        self._orders = orders(ledger, data, stores)
        self._jobs = stores.jobs

    def begin(self, rollout: Rollout, gate: GateConfig) -> str:
        """As `controller.rollout_ports.Gate`."""
        from airboss.evaluations.orders import gate_order  # noqa: PLC0415 - numbers and schemas, where needed

        order = gate_order(
            deployment=rollout.deployment,
            release=rollout.release,
            baseline=rollout.baseline,
            dataset=gate.dataset,
            scorer=gate.scorer,
            margin=gate.margin,
        )
        return str(self._orders.start(order, by=f"rollout {rollout.id}").id)

    def answer(self, job: str) -> tuple[bool, str] | None:
        """As `controller.rollout_ports.Gate`; an evaluation that is gone or broke is no pass."""
        from airboss.evaluations.orders import gate_outcome  # noqa: PLC0415 - as above

        found = self._jobs.get(job)
        if found is None:
            return False, f"the evaluation {job} is gone"
        outcome, reason = gate_outcome(found)
        return None if outcome == "waiting" else (outcome == "pass", f"gate {outcome}: {reason}")
