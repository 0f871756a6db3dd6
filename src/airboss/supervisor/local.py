"""Engines as child processes of `airboss up`: `replicas.placing.ReplicaHost` on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from airboss.config import ModelConfig
from airboss.domain.ports import Placement, Replica, ReplicaState
from airboss.domain.status import ProcessStatus
from airboss.replicas.placing import read_settings
from airboss.supervisor import fleet
from airboss.supervisor.supervisor import Spec


class LocalHost:
    """Turns placements into processes for the supervisor, and its statuses into replicas.

    It is asked by one task, one call at a time: `want` and `saw` first, then `specs` and `replicas`.
    `fetched` says whether a model's weights are at hand: a replica without them is fetching, not just
    starting.
    """

    def __init__(self, places: fleet.Places, *, fetched: Callable[[ModelConfig], bool]) -> None:
        self._places = places
        self._fetched = fetched
        self._placements: dict[str, Placement] = {}
        self._known: dict[str, Placement] = {}
        self._statuses: Mapping[str, ProcessStatus] = {}

    def want(self, placements: Sequence[Placement]) -> None:
        """These shall run and no others."""
        self._placements = {each.id: each for each in placements}
        self._known |= self._placements

    def saw(self, statuses: Mapping[str, ProcessStatus]) -> None:
        """How the supervisor's processes stand, by name."""
        self._statuses = statuses

    def specs(self, *, essential: Callable[[Placement], bool]) -> list[Spec]:
        """The processes that should run now."""
        return [
            fleet.replica(each, self._places, essential=essential(each)) for each in self._placements.values()
        ]

    def replicas(self) -> Sequence[Replica]:
        """How each engine stands whose process there is; one that is just ending is among them."""
        found = []
        for placement_id, placement in tuple(self._known.items()):
            status = self._statuses.get(fleet.replica_name(placement_id))
            if status is not None:
                found.append(self._replica(placement, status))
            elif placement_id not in self._placements:
                del self._known[placement_id]
        return found

    def _replica(self, placement: Placement, status: ProcessStatus) -> Replica:
        return Replica(
            id=placement.id,
            model=placement.model,
            url=placement.url,
            state=self._state(placement, status),
            restarts=status.restarts,
            since=status.since,
            pid=status.pid,
            detail=status.detail,
        )

    def _state(self, placement: Placement, status: ProcessStatus) -> ReplicaState:
        if status.state == "starting":
            try:
                return "starting" if self._fetched(read_settings(placement.settings)) else "fetching"
            except msgspec.ValidationError:  # placed by another version
                return "starting"
        if status.state in {"stopping", "stopped"}:
            return "stopped"
        if status.state == "ready":
            return "ready"
        return "failed" if status.state == "failed" else "backing_off"
