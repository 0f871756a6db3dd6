"""An alarm shows calls that it is about, and leads to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from airboss.config import AlarmConfig
from airboss.config.types import SloConfig
from tests.controller.test_alarm_watch import Watched
from tests.store.samples import START, call_id


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ({"status": "error"}, {"status": "error"}),
        ({"latency_ms": 9_000.0}, {"sort": "slowest"}),
    ],
)
def test_a_budget_that_leaks_for_days_shows_what_used_it_up(
    tmp_path: Path, bad: dict[str, Any], shown: dict[str, str]
) -> None:
    """Of the time over which it burns, not of the last minutes, in which all may be well."""
    watched = Watched(tmp_path)
    slo = SloConfig(target=0.9, window="30d", latency_ms=5_000)
    watched.alarms = {"errors": AlarmConfig(deployment="assistant", slo=slo, hold="0s", notify=("ops",))}
    ill = [hour * 3_600 for hour in range(60)]
    watched.calls(*ill, **bad)
    watched.clock.at = START + timedelta(hours=60)
    watched.calls(*range(60 * 3_600 - 600, 60 * 3_600 - 590))
    row = watched.tick()
    assert row.phase == "firing"
    assert set(row.records) <= {call_id(second) for second in ill}
    assert len(row.records) == 5
    (note,) = watched.store.notifications("errors", limit=9)
    asked = dict(parse_qsl(urlsplit(note.body["link"]).query))
    assert datetime.fromisoformat(asked["since"]) <= START
    assert asked.items() >= shown.items()
    assert note.body["window"] == "3d"
    assert "times too fast over 3d" in note.body["text"]
    watched.store.close()


@pytest.mark.parametrize(
    ("metric", "bad", "said"),
    [
        ("error_rate", {"status": "error"}, "is 33.3 %; the alarm is for above 20 % over 5m (1 of 3 calls)"),
        ("refused_rate", {"status": "refused"}, "(1 of 3 calls)"),
        ("fallback_rate", {"error_type": "answered_by_fallback"}, "(1 of 3 calls)"),
    ],
)
def test_a_rate_says_of_how_many_calls_it_is(
    tmp_path: Path, metric: str, bad: dict[str, Any], said: str
) -> None:
    """At night one of three is no outage yet, and whoever is woken wants to know."""
    watched = Watched(tmp_path)
    watched.alarms["errors"] = msgspec.structs.replace(watched.alarms["errors"], metric=metric)
    watched.calls(200, 201)
    watched.calls(202, **bad)
    assert watched.tick().detail == "1 of 3 calls"
    (note,) = watched.store.notifications("errors", limit=9)
    assert said in note.body["text"]
    watched.store.close()


def test_what_is_said_of_yesterdays_calls_is_shown_too(tmp_path: Path) -> None:
    """An alarm on a score counts it when it is given, and leads to the call that it is about."""
    watched = Watched(tmp_path)
    watched.alarms["errors"] = AlarmConfig(
        metric="score:helpful", deployment="assistant", below=0.5, window="1h", hold="0s", notify=("ops",)
    )
    watched.calls(1)
    watched.clock.at = START + timedelta(hours=20)
    watched.complaint(of=1)
    watched.clock.at += timedelta(minutes=1)
    assert watched.tick().records == (call_id(1),)
    (note,) = watched.store.notifications("errors", limit=9)
    asked = dict(parse_qsl(urlsplit(note.body["link"]).query))
    assert datetime.fromisoformat(asked["since"]) <= START
    assert asked["score"] == "helpful<0.5"
    watched.store.close()
