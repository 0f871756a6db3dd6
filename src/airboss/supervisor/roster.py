"""Which engines should run, by the ledger, and how they stand, told to it."""

from __future__ import annotations

import logging

from airboss.config import Config, parse_config
from airboss.domain.ports import Ledger, Placement
from airboss.replicas.placing import ReplicaHost, engine_of, engines_of

log = logging.getLogger(__name__)


class Roster:
    """Has a host run what is placed in the ledger, and writes down how it stands there.

    Placements are the controller's to write, the rows of replicas are ours: no row has two writers.
    Not safe for threads: one task asks, one call at a time. All calls block on the ledger.
    """

    def __init__(self, ledger: Ledger, host: ReplicaHost) -> None:
        self._ledger = ledger
        self._host = host
        self._revision = -1
        self._config: Config | None = None
        self._engines: frozenset[tuple[str, str]] = frozenset()
        self._hosted = False

    def keep(self) -> None:
        """Ask for what should run now, and write how replicas stand, where that has changed."""
        self._follow_plan()
        self._host.want(self._ledger.placements())
        rows = {row.id: row for row in self._ledger.replicas()}
        now = {row.id: row for row in self._host.replicas()}
        for row in now.values():
            if rows.get(row.id) != row:
                self._ledger.put_replica(row)
        for row_id in rows.keys() - now.keys():
            self._ledger.forget_replica(row_id)

    def essential(self, placement: Placement) -> bool:
        """Whether nothing would be served without the placement's engine: all deployments depend on it."""
        return not self._hosted and self._engines == {engine_of(placement)}

    def _follow_plan(self) -> None:
        if self._ledger.revision() == self._revision:
            return
        snapshot, text = self._ledger.snapshot(), self._ledger.config()
        if snapshot is None or text is None:
            return
        config = parse_config(text, source="the configuration in force")
        if self._config is not None and (self._config.tls, self._config.gateway, self._config.replicas) != (
            config.tls,
            config.gateway,
            config.replicas,
        ):
            log.warning(
                "[tls], [gateway] or [replicas] have changed; they come into force at the next `airboss up`"
            )
        self._config = config
        self._engines = engines_of(snapshot.plan)
        self._hosted = any(
            target.kind != "local"
            for each in snapshot.plan.deployments
            for target in (each.target, *each.target.fallbacks)
        )
        self._revision = snapshot.revision
