"""Who hears of an alarm, where its notifiers change while it fires."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.store.alert_rows import Silence
from tests.controller.test_alarm_watch import ERRORS, Watched


@pytest.fixture
def firing(tmp_path: Path) -> Iterator[Watched]:
    """An alarm that fires, and of which `ops` was told."""
    made = Watched(tmp_path)
    made.calls(*range(200, 220), status="error")
    made.tick()
    assert made.told == [("ops", "firing")]
    yield made
    made.store.close()


def notify(watched: Watched, *names: str) -> None:
    """From now on these are told."""
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, notify=names)


def test_a_notifier_that_comes_while_it_fires_is_told_once(firing: Watched) -> None:
    """Also after a restart; and all who heard of it hear of its end."""
    notify(firing, "ops", "mail")
    firing.tick()
    firing.restarted()
    firing.tick()
    assert firing.told == [("ops", "firing"), ("mail", "firing")]
    firing.clock.at += timedelta(minutes=6)
    firing.calls(650)
    assert firing.tick().phase == "resolved"
    assert firing.told[2:] == [("ops", "resolved"), ("mail", "resolved")]


def test_a_notifier_that_comes_in_a_silence_is_told_when_it_ends(firing: Watched) -> None:
    """And not of an end where it never heard of the begin."""
    silence = Silence(until=firing.clock.at + timedelta(seconds=20), reason="x", by="x", at=firing.clock.at)
    firing.store.silence("errors", silence)
    notify(firing, "ops", "mail")
    firing.tick()
    firing.tick()
    assert firing.told == [("ops", "firing")]
    firing.clock.at += timedelta(seconds=30)
    firing.tick()
    assert firing.told == [("ops", "firing"), ("mail", "firing")]


def test_who_never_heard_of_a_fire_hears_nothing_of_its_end(firing: Watched) -> None:
    """One that came just as it ended, and one that had none at all."""
    notify(firing)
    firing.tick()
    notify(firing, "mail")
    firing.clock.at += timedelta(minutes=6)
    firing.calls(650)
    assert firing.tick().phase == "resolved"
    assert firing.told == [("ops", "firing")]
