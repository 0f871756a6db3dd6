"""Evaluations that alarms make, as jobs like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airboss.compose.evals import parts, utc_now
from airboss.store.alert_runs import EvalOutcome

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.domain.ports import Ledger
    from airboss.store.alert_rows import AlarmRule
    from airboss.store.datadir import DataDir


class Evaluations:
    """`alarm_runs.Making` of evaluations."""

    def __init__(self, ledger: Ledger, data: DataDir, stores: Stores) -> None:
        self._ledger = ledger
        self._data = data
        self._stores = stores

    def start(self, rule: AlarmRule, *, job_id: str, run: int, baseline: str | None) -> None:  # noqa: ARG002 - all ask the same
        """As `Making.start`."""
        from airboss.evaluations.scheduled import (  # noqa: PLC0415 - numbers and schemas, where needed
            Asked,
            Bounds,
            ScheduledEvals,
        )

        ScheduledEvals(**parts(self._ledger, self._data, self._stores)).start(
            msgspec.json.decode(rule.evaluation, type=Asked),
            rule.deployment,
            Bounds(calls=rule.calls, usd=rule.usd, alpha=rule.alpha),
            job_id=job_id,
            held_to=baseline if rule.by_baseline else None,
        )

    def outcome(self, job_id: str) -> EvalOutcome | None:
        """As `Making.outcome`. A run that is held to none is the baseline of those after it."""
        from airboss.evaluations.plan import EvalPlan, EvalReport  # noqa: PLC0415 - as above
        from airboss.evaluations.scheduled import said  # noqa: PLC0415 - as above

        job = self._stores.jobs.get(job_id)
        if job is None:
            return EvalOutcome(mean=None, words=f"the evaluation {job_id} is gone")
        if not job.ended:
            return None
        row = self._stores.evals.run(job_id) if job.state == "done" else None
        if row is None or row.report is None:
            return EvalOutcome(
                mean=None, words=f"{job_id} {job.state}: {job.error or 'somebody ended it'}", run=job_id
            )
        plan = msgspec.json.decode(row.content, type=EvalPlan)
        found = said(plan, msgspec.json.decode(row.report, type=EvalReport))
        return EvalOutcome(
            mean=found.mean,
            words=f"{job_id}: {found.words}",
            run=job_id,
            before=found.before,
            worse=found.worse,
            baseline=(plan.held_to or job_id) if found.mean is not None else None,
        )

    def cancel(self, job_id: str) -> None:
        """As `Making.cancel`."""
        self._stores.jobs.cancel(job_id, utc_now())
