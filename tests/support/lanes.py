"""Which worker runs what: two of them the journeys, one file after another, all others the rest."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it has no types

AT_ONCE = 2
"""Whole systems on two cores: with more of them, each is too slow for what it promises."""
JOURNEYS = "tests/journeys/"


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """By files, as `--dist loadfile`. Journeys wait more than half of their time, as others do: together they
    leave room for more workers than there are cores. Who runs journeys takes the next of them when one ends:
    halves that were fixed beforehand were twice as long as each other."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        self._lanes: list[Any] = []

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        """The next of its kind; when there are none, of the other."""
        self._lanes = [each for each in self._lanes if each in self.assigned_work]
        if node not in self._lanes and len(self._lanes) < AT_ONCE:
            self._lanes.append(node)
        mine = node in self._lanes
        if chosen := next((each for each in self.workqueue if each.startswith(JOURNEYS) is mine), None):
            self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
