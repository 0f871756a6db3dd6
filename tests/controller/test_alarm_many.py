"""Many alarms do not keep each other waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec

from airboss.config import AlarmConfig
from airboss.controller.alarm_watch import BEHIND_S, EVERY_S
from airboss.domain.ports import UsageQuery
from airboss.domain.usage import UsageRow
from tests.controller.journals import FixedClock
from tests.controller.test_alarm_watch import ERRORS, Log, Watched


class SlowLog(Log):
    """A log that takes two seconds for each question."""

    clock: FixedClock

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As a log."""
        self.clock.at += timedelta(seconds=2)
        return super().usage(asked)


def test_a_look_ends_in_time_and_the_next_goes_on(tmp_path: Path) -> None:
    """Forty alarms take a slow log 80 s: the first is told within seconds, each is looked at in its turn, and
    none is taken for gone or well meanwhile."""
    watched = Watched(tmp_path)
    log = watched.log = SlowLog()
    log.clock = watched.clock
    more = {
        f"a{number}": AlarmConfig(metric="error_rate", deployment="assistant", above=0.2, window=f"{number}m")
        for number in range(10, 50)
    }
    watched.alarms = {"errors": ERRORS, **more}
    watched.calls(*range(200, 220), status="error")
    watch, begin = watched.restarted(), watched.clock.at
    assert watched.tick(0).phase == "firing"
    assert watched.clock.at - begin <= timedelta(seconds=10)
    for _ in range(20):
        assert watched.tick(0).phase == "firing"
    assert set(watch.phases) == set(watched.alarms)
    looked = [row.checked_at for row in watched.store.alarms().values() if row.checked_at is not None]
    assert max(looked) - min(looked) <= timedelta(seconds=90)
    again = watched.restarted()
    watched.alarms = {name: msgspec.structs.replace(each, hold="0s") for name, each in watched.alarms.items()}
    watched.tick(0)
    assert again.phases["errors"] == "firing"
    assert set(again.phases) == set(watched.alarms)
    watched.store.close()


class Stop:
    """Ends a watch after two looks, and keeps how long it would have waited before and after each."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def is_set(self) -> bool:
        """As an event."""
        return len(self.waits) == 3

    def wait(self, seconds: float) -> None:
        """As an event."""
        self.waits.append(seconds)


def test_a_look_that_was_not_enough_is_gone_on_with_soon(tmp_path: Path) -> None:
    """What is due is not left for as long again as it was looked at; with all looked at there is a pause."""
    watched = Watched(tmp_path)
    log = watched.log = SlowLog()
    log.clock = watched.clock
    few, many = dict(watched.alarms), {f"a{number}": ERRORS for number in range(20)}
    many = {n: msgspec.structs.replace(each, window=f"{9 + i}m") for i, (n, each) in enumerate(many.items())}
    for watched.alarms, waits in ((many, [BEHIND_S] * 2), (few, [EVERY_S] * 2)):
        stop = Stop()
        watched.restarted().run(cast("threading.Event", stop))
        assert stop.waits == [BEHIND_S, *waits], "the first look gives the record store time to be asked"
    watched.store.close()


def test_a_store_that_has_not_been_asked_is_not_said_to_be_silent(tmp_path: Path) -> None:
    """Right after a start nobody knows yet whether it answers."""
    watched = Watched(tmp_path)
    why = "the record store has not been asked yet"
    watched.journal = msgspec.structs.replace(watched.journal, store_up=False, store_detail=why)
    assert watched.tick().why == why
    watched.journal = msgspec.structs.replace(watched.journal, store_detail=None)
    assert watched.tick().why == "the record store does not answer"
    watched.store.close()
