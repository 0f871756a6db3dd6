"""Chores are done one after the other, and none holds up another."""

from __future__ import annotations

import re
import threading

import pytest

from airboss.controller.chores import Chores
from airboss.domain.errors import StoreUnavailable


class Counting:
    """Counts its ticks; fails while told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.ticks = 0
        self.failure = failure

    def tick(self) -> None:
        """As `Chore.tick`."""
        self.ticks += 1
        if self.failure is not None:
            raise self.failure


def test_a_chore_that_fails_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again at each tick, and logged once until it has worked again, which is told too."""
    first, second = Counting(StoreUnavailable("down")), Counting()
    chores = Chores({"first": first, "second": second})
    for _ in range(3):
        chores.tick()
    assert (first.ticks, second.ticks, caplog.text.count("first: not done")) == (3, 3, 1)
    first.failure = None
    chores.tick()
    assert re.fullmatch(r"first: not done: over after \d+ s; missed: 3", caplog.messages[-1])


def test_a_defect_is_not_swallowed() -> None:
    """Who runs chores must not look alive when they are broken."""
    with pytest.raises(ZeroDivisionError):
        Chores({"broken": Counting(ZeroDivisionError())}).run(threading.Event())


def test_chores_stop_when_told() -> None:
    """At once, however long the pause between two rounds."""
    stop, counting = threading.Event(), Counting()
    thread = threading.Thread(target=Chores({"x": counting}, every_s=60).run, args=(stop,), daemon=True)
    thread.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
