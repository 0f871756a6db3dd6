"""Counting in the gateway's own process, where it is the only one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from airboss.domain.errors import SetupError, Unavailable
from airboss.governance.counting import Answer, Change, Held, Want
from airboss.governance.owner import Owner


class LocalCounters:
    """Implements `counting.Counters` with an owner of its own; `now` is seconds since the epoch."""

    shared: ClassVar = False

    def __init__(self, owner: Owner, *, worker: str, now: Callable[[], float]) -> None:
        self._owner = owner
        self._worker = worker
        self._now = now
        self._seq = 0

    @property
    def here(self) -> bool:
        """Always."""
        return True

    async def start(self, held: Held) -> None:
        """As `Counters.start`."""
        self._seq = self._owner.hello(self._worker, held(), now=self._now())
        self._owner.alone(self._worker, now=self._now())

    def ask(self, wants: Sequence[Want]) -> Answer:
        """As `Counters.ask`; answers at once."""
        try:
            return self._owner.ask(self._worker, wants, now=self._now())
        except SetupError as error:
            message = f"limits cannot be kept: {error}"
            raise Unavailable(message, code="counters_away", retry_after_s=1) from error

    def tell(self, changes: Sequence[Change]) -> None:
        """As `Counters.tell`."""
        self._seq += 1
        self._owner.tell(self._worker, self._seq, changes, now=self._now())

    def tick(self) -> None:
        """As `Counters.tick`."""
        self._owner.tick(self._now())

    async def close(self) -> None:
        """As `Counters.close`."""
        self._owner.gone(self._worker, now=self._now())
