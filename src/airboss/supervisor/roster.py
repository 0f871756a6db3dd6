"""Which replicas should run, by the plan in force, and how they stand, told to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from airboss.config import Config, ModelConfig, parse_config
from airboss.domain.ports import Ledger, Replica, ReplicaState
from airboss.domain.status import ProcessStatus
from airboss.supervisor import fleet
from airboss.supervisor.supervisor import Spec

log = logging.getLogger(__name__)


class Roster:
    """Wants one engine for each local model that the plan in force sends calls to, at the URL that it names.

    The rows in the ledger only tell how replicas stand. The plan says what should be: it is published whole,
    while a row may be written by us and by who publishes at the same moment.
    Not safe for threads: one task asks, one call at a time. All calls block on the ledger. `fetched` says
    whether a model's weights are at hand: a replica without them is fetching, not just starting.
    """

    def __init__(
        self, ledger: Ledger, places: fleet.Places, *, fetched: Callable[[ModelConfig], bool]
    ) -> None:
        self._ledger = ledger
        self._places = places
        self._fetched = fetched
        self._revision = -1
        self._config: Config | None = None
        self._models: dict[str, ModelConfig] = {}
        self._urls: dict[str, str] = {}

    def specs(self) -> list[Spec]:
        """What should run now."""
        self._follow_plan()
        return [
            fleet.replica(
                name,
                url,
                self._places,
                port=urlsplit(url).port or 0,
                version=repr(msgspec.structs.replace(self._models[name], price=None)),
            )
            for name, url in self._urls.items()
        ]

    def report(self, statuses: Mapping[str, ProcessStatus]) -> None:
        """Write how the replicas stand, where that has changed, and drop rows of models that do not run."""
        rows = {row.id: row for row in self._ledger.replicas()}
        for name, url in self._urls.items():
            status = statuses.get(fleet.replica_name(name))
            if status is None:
                continue
            now = Replica(
                id=name,
                model=name,
                url=url,
                state=self._state(name, status),
                restarts=status.restarts,
                since=status.since,
                pid=status.pid,
                detail=status.detail,
            )
            if rows.get(name) != now:
                self._ledger.put_replica(now)
        for row_id in rows.keys() - self._urls.keys():
            self._ledger.forget_replica(row_id)

    def _state(self, model: str, status: ProcessStatus) -> ReplicaState:
        if status.state == "starting":
            return "starting" if self._fetched(self._models[model]) else "fetching"
        if status.state in {"stopping", "stopped"}:
            return "stopped"
        return "ready" if status.state == "ready" else "backing_off"

    def _follow_plan(self) -> None:
        if self._ledger.revision() == self._revision:
            return
        snapshot, text = self._ledger.snapshot(), self._ledger.config()
        if snapshot is None or text is None:
            return
        config = parse_config(text, source="the configuration in force")
        if self._config is not None and (self._config.tls, self._config.gateway) != (
            config.tls,
            config.gateway,
        ):
            log.warning("[tls] and [gateway] have changed; they come into force at the next `airboss up`")
        self._config = config
        targets = [each.target for each in snapshot.plan.deployments if each.target.kind == "local"]
        self._models = config.models
        self._urls = {
            target.upstream_model: target.base_urls[0]
            for target in targets
            if target.upstream_model in config.models
        }
        self._revision = snapshot.revision
