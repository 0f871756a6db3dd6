"""The mover's clock, which is never set back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from airboss.controller.steady import Steady
from tests.controller.houses import ALL, House
from tests.controller.journals import FixedClock
from tests.store.spans import llm

if TYPE_CHECKING:
    from airboss.domain.record import Redacted


class Set(FixedClock):
    """One that may be set while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0.0

    def monotonic(self) -> float:
        """Seconds that went by."""
        return self.ticks

    def forward(self, seconds: float) -> datetime:
        """Time goes on."""
        self.ticks += seconds
        self.at += timedelta(seconds=seconds)
        return self.at


def test_it_goes_on_where_the_clock_was_set_back() -> None:
    """And along with the clock where that is ahead."""
    clock = Set()
    steady, began = Steady(clock), clock.at
    clock.forward(1)
    assert steady.now() == began + timedelta(seconds=1)
    clock.at -= timedelta(hours=1)
    assert steady.now() == began + timedelta(seconds=1)
    clock.forward(2)
    assert steady.now() == began + timedelta(seconds=3)
    clock.at += timedelta(hours=2)
    assert steady.now() == clock.at
    assert clock.forward(1) == steady.now()


def test_a_call_that_a_span_tells_of_waits_two_seconds_whatever_the_clock_says(tmp_path: Path) -> None:
    """One that was moved just before the clock was set back is a record as soon as any."""
    house = House(tmp_path)
    clock = house.clock = Set()
    house.mover = house.new_mover()
    for number in (1, 2):
        told = llm(number, started_at=clock.at - timedelta(hours=2))
        house.worker.span(cast("Redacted", msgspec.json.encode(told)))
        house.mover.tick()
        clock.at -= timedelta(hours=1)
        for _ in range(5):
            clock.forward(1)
            house.mover.tick()
        assert len(house.log.records(ALL, limit=9, bodies=False)) == number
    house.close()
