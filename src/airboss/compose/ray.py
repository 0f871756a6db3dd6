"""The process that has engines run on a Ray cluster, in the supervisor's stead."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from airboss.compose.parts import applied_config, open_ledger, role_lock
from airboss.compose.process_limits import fit_limits
from airboss.domain.ports import Ledger
from airboss.store.datadir import DataDir
from airboss.store.stopping import stop_on_signals
from airboss.supervisor import fleet
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves
from airboss.supervisor.roster import Roster
from airboss.telemetry import logs

log = logging.getLogger("airboss.ray")

POLL_S = 0.5


def run_ray(data_dir: Path, *, log_format: str | None) -> None:
    """Keep on the cluster what is placed in the ledger, until SIGTERM or the supervisor's end.

    Then the applications are deleted; after a kill they go on, and the next start takes them over.
    Raises SetupError without Ray or a cluster.
    """
    logs.configure("ray", log_format=log_format)
    fit_limits()
    from airboss.replicas.ray_serve import RayHost  # noqa: PLC0415 - an extra's

    stop = stop_on_signals()
    data = DataDir(data_dir)
    ready = fleet.ray_ready_path(data.run_dir)
    with role_lock(data), open_ledger(data) as ledger:
        ready.unlink(missing_ok=True)
        said = applied_config(ledger, data).replicas
        on_parent_gone(stop.set)
        host = RayHost(address=said.address, url=said.url, drain_s=said.drain_s)
        roster = Roster(ledger, host)
        tell_it_serves()
        try:
            while not stop.wait(POLL_S):
                try:
                    roster.keep()
                except Exception:
                    # The cluster or the ledger is away: what serves goes on, and we ask again.
                    log.exception("cannot see to the replicas on Ray; trying again")
                    continue
                if not ready.exists() and settled(ledger):
                    ready.write_text(json.dumps(os.getpid()))
        finally:
            ready.unlink(missing_ok=True)
            host.close()


def settled(ledger: Ledger) -> bool:
    """Whether every engine that is placed is ready or has failed: then the start is over."""
    rows = {row.id: row.state for row in ledger.replicas()}
    return all(rows.get(each.id) in {"ready", "failed"} for each in ledger.placements())
