"""Alarms that watch some calls of a deployment alone: by key, team or tag, say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from airboss.config import AlarmConfig
from airboss.config.types import AlarmKind, SloConfig
from airboss.console.query import read_filter
from airboss.controller import alarm_tests
from airboss.controller.alarm_measures import Measures
from airboss.controller.alarms import broken
from airboss.store.alert_rules import rule_of
from tests.controller.test_alarm_kinds import NOW, Log
from tests.controller.test_alarm_watch import ERRORS, Watched
from tests.store.samples import START

APP = {"key": "app", "tag": "team=a"}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A log in which one key's calls of one tag fail, half of them, and no others."""
    made = Watched(tmp_path)
    made.calls(*range(100, 200), key="other")
    made.calls(*range(200, 210), key="app", tags={"team": "b"})
    made.calls(*range(210, 220), key="app", tags={"team": "a"}, status="error", deployment="elsewhere")
    made.calls(*range(220, 230), key="app", tags={"team": "a"})
    made.calls(*range(230, 240), key="app", tags={"team": "a"}, status="error")
    yield made
    made.store.close()


def narrowed(watched: Watched, alarm: AlarmConfig, **where: str) -> None:
    """The alarm watches these calls."""
    watched.alarms["errors"] = msgspec.structs.replace(alarm, where=where)


def test_an_alarm_counts_the_calls_that_it_names(watched: Watched) -> None:
    """Beside one that counts all, and one of another key, each told by its own."""
    narrowed(watched, ERRORS, **APP)
    watched.alarms["all"] = msgspec.structs.replace(ERRORS, above=0.05)
    watched.alarms["other"] = msgspec.structs.replace(ERRORS, where={"key": "other"})
    row = watched.tick()
    assert (row.phase, row.value, row.detail) == ("firing", 0.5, "10 of 20 calls")
    rows = watched.store.alarms()
    assert rows["all"].value == pytest.approx(10 / 130)
    assert rows["other"].value == 0.0
    narrowed(watched, ERRORS, key="nobody")
    row = watched.tick()
    assert (row.value, row.why) == (None, "no calls (key nobody) in the last 5m")


def test_what_it_says_names_its_calls_and_leads_to_them(watched: Watched) -> None:
    """In words, in the body, and in the link, which is a question of records."""
    narrowed(watched, ERRORS, **APP)
    row = watched.tick()
    (note,) = watched.store.notifications("errors", limit=9)
    assert note.body["where"] == APP
    assert "error_rate of assistant (key app, tag team=a) is 50 %" in note.body["text"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(note.body["link"]).query).items()}
    assert APP.items() <= asked.items()
    where = read_filter(asked, now=watched.clock.at, local=UTC)
    assert watched.log.count(where) == 10
    found = watched.log.records(where, limit=99, bodies=False)
    assert set(row.records) <= {each.id for each in found}
    assert len(row.records) == 5


def test_a_team_is_the_keys_that_are_in_it_now(watched: Watched) -> None:
    """One without any has no calls."""
    narrowed(watched, ERRORS, team="web")
    assert watched.tick().why == "no calls (team web) in the last 5m"
    watched.teams = {"web": {"app", "more"}, "ops": {"other"}}
    row = watched.tick()
    assert (row.phase, row.value) == ("firing", pytest.approx(1 / 3))
    assert len(row.records) == 5
    (note,) = watched.store.notifications("errors", limit=9)
    assert "team=web" in note.body["link"]


def test_calls_are_counted_by_how_they_ended(watched: Watched) -> None:
    """So many failures, not which part of all."""
    failures = AlarmConfig(metric="requests", deployment="assistant", above=9, hold="0s")
    narrowed(watched, failures, status="error")
    assert (watched.tick().phase, watched.tick().value) == ("firing", 10.0)


@pytest.mark.parametrize(
    "alarm",
    [
        AlarmConfig(deployment="assistant", slo=SloConfig(target=0.9), hold="0s"),
        AlarmConfig(deployment="assistant", kind="sequential", metric="error_rate", window="1h", hold="0s"),
    ],
    ids=["burn_rate", "sequential"],
)
def test_tests_and_budgets_are_of_the_same_calls(watched: Watched, alarm: AlarmConfig) -> None:
    """Failures of others wake nobody."""
    watched.alarms["errors"] = alarm
    narrowed(watched, alarm, key="other")
    watched.tick()
    for minute in range(20):
        at = 240 + 60 * minute
        watched.calls(*range(at, at + 30), key="other")
        watched.calls(*range(at + 30, at + 50), key="app", status="error")
        watched.clock.at = START + timedelta(seconds=at + 85)
        row = watched.tick()
    assert (row.phase, row.value) == ("ok", 0.0)
    narrowed(watched, alarm, key="app")
    for minute in range(20, 60):
        at = 240 + 60 * minute
        watched.calls(*range(at + 30, at + 50), key="app", status="error")
        watched.clock.at = START + timedelta(seconds=at + 85)
        row = watched.tick()
    assert row.phase == "firing"


def test_what_was_learned_of_other_calls_is_forgotten(watched: Watched) -> None:
    """A test that is narrowed anew begins anew; else it goes on, whatever else of it is changed."""
    alarm = AlarmConfig(deployment="assistant", kind="sequential", metric="error_rate", window="1h")
    narrowed(watched, alarm, key="other")
    begun = watched.tick().memory["since"]
    watched.clock.at += timedelta(minutes=20)
    narrowed(watched, msgspec.structs.replace(alarm, remind="1h"), key="other")
    assert watched.tick().memory["since"] == begun
    narrowed(watched, alarm, key="app")
    assert watched.tick().memory["since"] > begun


@pytest.mark.parametrize("kind", ["threshold", "sequential"])
def test_scores_are_those_of_these_calls(kind: AlarmKind) -> None:
    """A judge that thinks badly of one program's answers, and well of all others."""
    log = Log()
    bound: dict[str, Any] = {"below": 0.5} if kind == "threshold" else {}
    alarm = AlarmConfig(
        kind=kind, metric="score:tone", deployment="assistant", window="1h", hold="0s", **bound
    )
    row = {}
    for key in ("app", "other"):
        rule = rule_of("x", msgspec.structs.replace(alarm, where={"key": key}))
        memory: object = None
        for minute in range(0, 120, 5):
            at = NOW + timedelta(minutes=minute)
            value = 0.1 if key == "app" and minute >= 60 else 0.9
            log.scores(at, [value] * 20, key=key)
            now = at + timedelta(minutes=5, seconds=30)
            reading = (
                alarm_tests.look(rule, memory, log, now)
                if kind == "sequential"
                else Measures(log).read(rule, None, now)
            )
            memory = reading.memory
        row[key] = (broken(rule, reading), reading.value)
    assert [fires for fires, _ in row.values()] == [True, False]
    log.close()
