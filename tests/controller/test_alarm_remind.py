"""Reminders: whom a fire was told is told again while it lasts, where the alarm says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.config import MaintenanceConfig
from airboss.store.alert_rows import Silence
from tests.controller.test_alarm_watch import ERRORS, Watched

REMINDED = msgspec.structs.replace(ERRORS, remind="1m", window="1h")


@pytest.fixture
def firing(tmp_path: Path) -> Iterator[Watched]:
    """An alarm that fires, and reminds every minute."""
    made = Watched(tmp_path)
    made.alarms["errors"] = REMINDED
    made.calls(*range(200, 220), status="error")
    made.tick()
    sent(made)
    yield made
    made.store.close()


def sent(watched: Watched) -> None:
    """All that is to be told is taken."""
    for each in watched.store.notifications("errors", limit=99):
        done = msgspec.structs.replace(each, state="sent", ended_at=watched.clock.at)
        watched.store.settle_notification(done)


def go_on(watched: Watched, seconds: int, *, taken: bool = True) -> int:
    """Look every five seconds, started anew each time; how many were told meanwhile."""
    before = len(watched.told)
    for _ in range(seconds // 5):
        watched.restarted()
        watched.tick()
        if taken:
            sent(watched)
    return len(watched.told) - before


def test_a_fire_is_told_again_while_it_lasts(firing: Watched) -> None:
    """So often as is said, through restarts, as what it is; and its end once."""
    assert go_on(firing, 175) == 2
    assert go_on(firing, 60) == 1
    assert firing.told == [("ops", "firing"), *[("ops", "reminder")] * 3]
    (note,) = firing.store.notifications("errors", limit=1)
    assert (note.body["state"], note.body["reminder"]) == ("firing", True)
    assert note.body["text"].startswith("errors still firing: error_rate of assistant is 100 %")
    assert "link" in note.body
    firing.clock.at += timedelta(hours=1)
    firing.calls(4_000)
    assert firing.tick().phase == "resolved"
    assert go_on(firing, 300) == 0
    assert firing.told[-1] == ("ops", "resolved")


def test_nobody_is_reminded_unless_it_is_wished(firing: Watched) -> None:
    """It is off; one that is switched on later counts from when somebody was told last."""
    firing.alarms["errors"] = msgspec.structs.replace(REMINDED, remind=None)
    assert go_on(firing, 300) == 0
    firing.alarms["errors"] = msgspec.structs.replace(REMINDED, remind="10m")
    assert go_on(firing, 290) == 0
    assert go_on(firing, 15) == 1


@pytest.mark.parametrize("by", ["silence", "maintenance"])
def test_it_is_quiet_while_it_is_silenced(firing: Watched, by: str) -> None:
    """And tells once what still holds when that ends."""
    until = firing.clock.at + timedelta(minutes=5)
    if by == "silence":
        firing.store.silence("errors", Silence(until=until, reason="x", by="x", at=firing.clock.at))
    else:
        firing.maintenance = {"m": MaintenanceConfig(starts=firing.clock.at - timedelta(hours=1), ends=until)}
    assert go_on(firing, 295) == 0
    assert go_on(firing, 30) == 1


def test_who_has_not_taken_the_last_gets_no_other(firing: Watched) -> None:
    """A notifier that was away for a day is not told a hundred times when it is back."""
    assert go_on(firing, 600, taken=False) == 1
    sent(firing)
    assert go_on(firing, 70) == 1


def test_a_clock_that_is_set_back_holds_no_reminder_up(firing: Watched) -> None:
    """It counts from then on."""
    go_on(firing, 120)
    firing.clock.at -= timedelta(minutes=2)
    assert go_on(firing, 70) == 1


def test_a_notifier_that_comes_is_told_of_the_fire_first(firing: Watched) -> None:
    """Then it is reminded like the others."""
    firing.alarms["errors"] = msgspec.structs.replace(REMINDED, notify=("ops", "mail"))
    go_on(firing, 70)
    assert firing.told == [("ops", "firing"), ("mail", "firing"), ("ops", "reminder"), ("mail", "reminder")]
