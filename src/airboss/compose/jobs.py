"""The jobs that the controller does: which handler does which kind, and the thread that works at them."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airboss.compose import evals, finetuning, probes, scorings, tuning
from airboss.compose.parts import SystemClock
from airboss.compose.threads import at_work
from airboss.store.datadir import DataDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from airboss.compose.stores import Stores
    from airboss.controller.jobs import Handler
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.store.job_rows import JobStore

Handlers = dict[str, "Handler"]
"""Who does which kind of job."""


def handlers(
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: RecordLog,
    *,
    redact: Callable[[str], str],
    propose: finetuning.Propose,
) -> Handlers:
    """Who does which kind of job; `redact` takes secrets out of what scorers say, `propose` puts a release
    into the configuration."""
    return {
        "eval": evals.handler(ledger, data, stores),
        "probe": probes.handler(ledger, data, stores),
        "scoring": scorings.handler(ledger, data, stores, records, redact),
        "tune": tuning.handler(ledger, data, stores, propose),
        "finetune": finetuning.handler(ledger, data, stores, propose),
    }


@contextmanager
def working(
    store: JobStore, handlers: Handlers, *, redact: Callable[[str], str], broke: Callable[[], None]
) -> Iterator[None]:
    """Jobs are done until the end of the block; those under way are given back then. `broke` is called if the
    thread that works at them ends by a defect: a controller that does no jobs must not look alive."""
    from airboss.controller.jobs import JobRunner  # noqa: PLC0415 - the controller's own

    name = f"{socket.gethostname()[:60]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    runner = JobRunner(store, handlers, redact=redact, clock=SystemClock(), name=name)
    with at_work({"jobs": runner.run}, broke=broke):
        yield
