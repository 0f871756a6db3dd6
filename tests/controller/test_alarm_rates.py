"""How often default alarms err and what they find, with a seed; `python -m benchmarks.monitors` does hundreds
of weeks."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.monitors import (
    ALARMS,
    MINUTES,
    PLANTS,
    WORLDS,
    Counts,
    World,
    delays,
    false_alarms,
    watched,
)


def test_weeks_like_the_week_before_raise_no_alarm() -> None:
    """An A/A week of six kinds of traffic, and six alarms: none fires."""
    found = false_alarms(1, seed=20261128)
    assert set(found) == set(ALARMS)
    assert {name: sum(of.values()) for name, of in found.items()} == dict.fromkeys(ALARMS, 0)


SOON = {"errors": 60, "latency": 240, "cost": 240, "refusals": 60, "fallbacks": 60, "traffic": 90}
"""Minutes."""


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found(name: str) -> None:
    """Within an hour or a few, by the alarm that is for it, and not before."""
    (late,) = delays(1, seed=3, only=(name,))[name]
    assert late is not None
    assert 0 <= late <= SOON[name]


@pytest.mark.parametrize("clocks", [-60, 0, 60])
def test_an_office_that_is_closed_is_a_standstill(clocks: int) -> None:
    """Also in the week in which the clocks were changed, within an hour more."""
    world = World("office", 8.0, 0.005, 0.01, office=True, clocks=clocks)
    log = Counts(world, np.random.default_rng(20261201), PLANTS["traffic"])
    late = watched("traffic", log)
    assert late is not None
    assert 0 <= late - MINUTES // 2 <= 150


def test_the_worlds_differ() -> None:
    """Busy and quiet, one that fails in bunches, clocks that change: an alarm must stand them all."""
    assert len({world.name for world in WORLDS}) == len(WORLDS) == 6
