"""Recorded calls scored as jobs of the controller: judges are asked at the gateway, as evaluations ask."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from airboss.compose import evals
from airboss.compose.parts import SystemClock
from airboss.compose.watching import InForce

if TYPE_CHECKING:
    from collections.abc import Callable

    from airboss.compose.stores import Stores
    from airboss.config import Config
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.evaluations.backfill import ScoringOrders
    from airboss.store.datadir import DataDir
    from airboss.store.job_rows import Job


def orders(
    ledger: Ledger, data: DataDir, stores: Stores, records: RecordLog, in_force: Callable[[], Config]
) -> ScoringOrders:
    """Takes orders for scores of recorded calls."""
    from airboss.evaluations.backfill import ScoringOrders  # noqa: PLC0415 - statistics, where needed
    from airboss.evaluations.scorer_names import ScorerNames  # noqa: PLC0415 - as above

    return ScoringOrders(
        jobs=stores.jobs,
        ledger=ledger,
        log=records,
        names=ScorerNames(jobs=stores.jobs, notes=stores.alerts, in_force=in_force),
        now=evals.utc_now,
        folder=evals.scorers_dir(data),
    )


def handler(
    ledger: Ledger, data: DataDir, stores: Stores, records: RecordLog, redact: Callable[[str], str]
) -> Handler:
    """Does jobs of kind `scoring`; `redact` takes secrets out of what scorers say."""
    from airboss.evaluations.backfill import ScoringTask, score_calls  # noqa: PLC0415 - as above
    from airboss.evaluations.online import open_scorers  # noqa: PLC0415 - as above
    from airboss.evaluations.record_scoring import RecordScoring  # noqa: PLC0415 - as above
    from airboss.evaluations.scorer_names import ScorerNames  # noqa: PLC0415 - as above
    from airboss.evaluations.targets import Served  # noqa: PLC0415 - as above

    names = ScorerNames(jobs=stores.jobs, notes=stores.alerts, in_force=InForce(ledger).config)

    def work(job: Job, progress: Progress) -> object:
        async def main() -> object:
            async with aclosing(evals.caller(ledger, data, stores.people)) as calls:
                scoring = RecordScoring(
                    record_log=records,
                    clock=SystemClock(),
                    redact=redact,
                    forgotten=stores.people.covers,
                    waits=lambda error: progress.report(
                        progress.done, progress.total, f"waits for the record store: {error}"
                    ),
                )
                return await score_calls(
                    job,
                    scoring=scoring,
                    scorers=partial(
                        open_scorers,
                        msgspec.json.decode(job.spec, type=ScoringTask).scorers,
                        caller=calls,
                        resolve=lambda name: Served.of(ledger).stable(name),
                        folder=evals.scorers_dir(data),
                    ),
                    log=records,
                    report=progress.report,
                    names=names,
                )

        return evals.run_until_stopped(main(), progress)

    return work
