"""Tuning as jobs of the controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from airboss.compose.evals import caller, parts, run_until_stopped, utc_now

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger
    from airboss.store.datadir import DataDir
    from airboss.store.job_rows import Job
    from airboss.store.tunes import SqlTuneStore
    from airboss.tuning.orders import TuneOrders
    from airboss.tuning.plan import TuneResult
    from airboss.tuning.proposing import Propose


@contextmanager
def open_tunes(data: DataDir) -> Iterator[SqlTuneStore]:
    """What tuning keeps of a data directory, closed at the end."""
    from airboss.store.tunes import SqlTuneStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    store = SqlTuneStore(data.ledger_url)
    try:
        yield store
    finally:
        store.close()


def orders(ledger: Ledger, data: DataDir, stores: Stores) -> TuneOrders:
    """Takes orders for tuning."""
    from airboss.tuning.orders import TuneOrders  # noqa: PLC0415 - numbers and schemas, where needed

    return TuneOrders(**parts(ledger, data, stores))


def handler(ledger: Ledger, data: DataDir, stores: Stores, propose: Propose) -> Handler:
    """Does jobs of kind `tune`; what turns out to be better is proposed."""
    from airboss.tuning.proposing import proposed  # noqa: PLC0415 - as above
    from airboss.tuning.work import Tuning  # noqa: PLC0415 - as above

    def work(job: Job, progress: Progress) -> object:
        async def main() -> TuneResult:
            with open_tunes(data) as tunes:
                async with aclosing(caller(ledger, data, stores.people)) as calls:
                    tuning = Tuning(
                        job,
                        evals=stores.evals,
                        tunes=tunes,
                        caller=calls,
                        now=utc_now,
                        report=progress.report,
                    )
                    return await tuning.run()

        return proposed(run_until_stopped(main(), progress), propose)

    return work
