"""Small things that the controller looks after now and then, one after the other, in one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Final, Protocol

from airboss.domain.errors import AirbossError
from airboss.telemetry.outage import Outage

EVERY_S: Final = 0.5

log = logging.getLogger(__name__)


class Chore(Protocol):
    """Something to look after. Keeps its own time, does a bounded piece at once, and can be killed
    anywhere."""

    def tick(self) -> None:
        """Do what is due. AirbossError and OSError are waited out: they are logged, and it is tried again."""


class Chores:
    """Looks after several until told to stop. A chore that cannot be done holds up no other."""

    def __init__(self, chores: Mapping[str, Chore], *, every_s: float = EVERY_S) -> None:
        self._chores = chores
        self._every_s = every_s
        self._outages = {name: Outage(log, f"{name}: not done") for name in chores}

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. A defect in a chore is raised: who runs this must not look alive then."""
        while not stop.is_set():
            self.tick()
            stop.wait(self._every_s)

    def tick(self) -> None:
        """Every chore once."""
        for name, chore in self._chores.items():
            try:
                chore.tick()
            except (AirbossError, OSError) as error:
                self._outages[name].failed(error)
            else:
                self._outages[name].over()
