"""Probes of bias as jobs of the controller: they call the running gateway, as evaluations do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airboss.compose.evals import caller, run_until_stopped, utc_now

if TYPE_CHECKING:
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger
    from airboss.evaluations.bias_orders import ProbeOrders
    from airboss.store.datadir import DataDir
    from airboss.store.job_rows import Job


def orders(ledger: Ledger, rooms: Mapping[str, Any]) -> ProbeOrders:
    """Takes orders for probes; `rooms` are the stores of `rooms.open_rooms`."""
    from airboss.evaluations.bias_orders import ProbeOrders  # noqa: PLC0415 - statistics, where needed

    return ProbeOrders(jobs=rooms["jobs"], ledger=ledger, now=utc_now)


def handler(ledger: Ledger, data: DataDir, rooms: Mapping[str, Any]) -> Handler:
    """Does jobs of kind `probe`."""
    from airboss.evaluations.bias_work import probe  # noqa: PLC0415 - as above

    def work(job: Job, progress: Progress) -> object:
        async def main() -> object:
            async with aclosing(caller(ledger, data)) as calls:
                return await probe(
                    job, store=rooms["evals"], caller=calls, now=utc_now, report=progress.report
                )

        return run_until_stopped(main(), progress)

    return work
