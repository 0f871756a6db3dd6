"""The data of a stopped Airboss, opened as its console would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from airboss.compose.desk import desk_over, status_over
from airboss.compose.governing import erasing, keeping, looking_at_audit
from airboss.compose.parts import ADMIN_KEY_ENV, SystemClock, machines, open_ledger
from airboss.compose.process_limits import leave_no_core
from airboss.compose.records import record_log_or_none
from airboss.compose.rollouts import rollouts
from airboss.compose.sealing import open_ring, sealed
from airboss.compose.stores import open_rollouts, open_stores
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir, private
from airboss.store.ledger_lead import leading
from airboss.supervisor import runfiles

if TYPE_CHECKING:
    from airboss.console.desk import Desk

LOCK_S = 0.5
"""Who has the data for longer may be about to serve."""


@contextmanager
def stopped_desk(data_dir: Path) -> Iterator[Desk]:
    """What the console works with, on the data of a stopped Airboss: under its lock, journals moved first.
    Raises SetupError where another one leads on its ledger, whose erasures it would take for done."""
    from airboss.controller.mover import Mover  # noqa: PLC0415 - only for a stopped one

    leave_no_core()
    data = DataDir(data_dir)
    if data.has_joined:
        raise SetupError(
            f"{data.path} is of a machine that serves calls beside another Airboss, which gets what it"
            f" records: ask that one, with --url and its admin key in {ADMIN_KEY_ENV}"
        )
    with (
        data.lock(wait_s=LOCK_S),
        leading(data.ledger_url, broke=lambda: None, wait_s=1.0),
        open_ledger(data) as ledger,
        open_stores(data) as stores,
        open_rollouts(data) as kept,
        open_ring(data, leads=True) as ring,
    ):
        # Nobody else has the lock, so what a killed Airboss said of itself holds no more; and as the lock is
        # held from here on, `running` would believe it.
        runfiles.forget_up(data.run_dir)
        runfiles.forget_alone(data.run_dir)
        with private():  # what is written between is the user's, an export say
            records = sealed(record_log_or_none(data), ledger, ring)
        audit = looking_at_audit(stores.audit, data)
        try:
            people, nodes = erasing(data, stores, records), machines(data)
            mover = Mover(data.journal_dir, records, SystemClock(), people=people, elsewhere=nodes)
            with private():
                journal = mover.finish()
            live = rollouts(ledger, data, records, stores, kept=kept, journal=lambda: journal)
            retention = keeping(ledger, stores, records, data)
            with suppress(OSError):  # on a disk that is full or read-only
                audit.look()
            status = status_over(
                ledger, data, stores, records, retention,
                audit=audit, journal=lambda: journal, nodes=nodes,
            )  # fmt: skip
            yield desk_over(
                ledger,
                data,
                stores,
                records,
                live,
                letters=mover.letters,
                admin_key="",
                status=status.whole,
                nodes=nodes,
                settle=mover.drain,
            )
        finally:
            audit.look_last()  # at what was done here: nobody else is there to
            with private():
                records.close()
