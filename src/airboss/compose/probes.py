"""Probes of bias as jobs of the controller: they call the running gateway, as evaluations do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airboss.compose.evals import calling, utc_now
from airboss.store.alert_runs import ProbeOutcome

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.controller.jobs import Handler
    from airboss.domain.ports import Ledger
    from airboss.evaluations.bias_orders import ProbeOrders
    from airboss.store.alert_rows import AlarmRule
    from airboss.store.datadir import DataDir


def orders(ledger: Ledger, stores: Stores) -> ProbeOrders:
    """Takes orders for probes."""
    from airboss.evaluations.bias_orders import ProbeOrders  # noqa: PLC0415 - statistics, where needed

    return ProbeOrders(jobs=stores.jobs, ledger=ledger, now=utc_now)


class Probes:
    """`alarm_runs.Making`: probes that alarms make, as jobs like any other."""

    def __init__(self, ledger: Ledger, stores: Stores) -> None:
        self._ledger = ledger
        self._stores = stores

    def start(self, rule: AlarmRule, *, job_id: str, run: int, baseline: str | None) -> None:  # noqa: ARG002 - of evaluations
        """As `Making.start`. Each run asks with other names and in another order: answers to the very same
        questions are kept and not asked for again."""
        from airboss.evaluations.bias_orders import read_order  # noqa: PLC0415 - as below

        if self._stores.jobs.get(job_id) is None:
            asked = read_order(msgspec.json.decode(rule.probe), rule.deployment, seed=run)
            orders(self._ledger, self._stores).start(asked, by="alarm", job_id=job_id)

    def cancel(self, job_id: str) -> None:
        """As `Making.cancel`."""
        self._stores.jobs.cancel(job_id, utc_now())

    def outcome(self, job_id: str) -> ProbeOutcome | None:
        """As `Making.outcome`."""
        from airboss.evaluations.bias_plan import ProbeReport  # noqa: PLC0415 - as below

        job = self._stores.jobs.get(job_id)
        if job is None:
            return ProbeOutcome(differences=None, words="the probe's job is gone")
        if not job.ended:
            return None
        if job.state != "done" or job.result is None:
            return ProbeOutcome(differences=None, words=job.error or f"the probe was {job.state}")
        report = msgspec.json.decode(job.result, type=ProbeReport)
        different = [each for each in report.findings if each.verdict == "different"]
        named = ", ".join(f"{each.measure} of {each.group}" for each in different[:5])
        words = f"probe {job_id}: {report.conclusion.replace('_', ' ')}" + (f" ({named})" if named else "")
        return ProbeOutcome(differences=len(different), words=words)


def handler(ledger: Ledger, data: DataDir, stores: Stores) -> Handler:
    """Does jobs of kind `probe`."""
    from airboss.evaluations.bias_work import probe  # noqa: PLC0415 - as above

    return calling(probe, ledger, data, stores)
