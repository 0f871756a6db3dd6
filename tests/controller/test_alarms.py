"""When alarms fire and end, and when somebody is told."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from airboss.controller.alarms import RESOLVED_SHOWN, Decision, Reading, begun, decide, notice
from airboss.store.alert_causes import Cause
from airboss.store.alert_metrics import worded
from airboss.store.alert_rows import AlarmRow, AlarmRule, Silence

START = datetime(2026, 11, 24, tzinfo=UTC)
RULE = AlarmRule(
    name="errors", metric="error_rate", deployment="support", below=False, bound=0.1, window_s=300, hold_s=60
)


class Played:
    """An alarm that takes readings, ten seconds apart; `told` is what was told, in order."""

    def __init__(self, rule: AlarmRule = RULE) -> None:
        self.rule = rule
        self.now = START
        self.row = begun(rule, START)
        self.told: list[str] = []
        self.phases: list[str] = ["ok"]
        self.silence: Silence | None = None

    def take(self, value: float | None, times: int = 1) -> Decision:
        """Take the same reading so often."""
        for _ in range(times):
            self.now += timedelta(seconds=10)
            reading = Reading(value=value) if value is not None else Reading(why="no calls")
            decision = decide(self.row, self.rule, reading, now=self.now, silence=self.silence)
            # What the ledger keeps between two readings is the row, as JSON.
            self.row = msgspec.json.decode(msgspec.json.encode(decision.row), type=AlarmRow)
            if decision.event is not None:
                assert decision.event.before == self.phases[-1]
                self.phases.append(decision.event.after)
            if decision.tell is not None:
                self.told.append(decision.tell)
        return decision


def test_an_alarm_fires_after_its_time_and_resolves_after_its_time() -> None:
    """Ok, pending, firing, resolved, ok; told once of the fire and once of its end."""
    alarm = Played()
    alarm.take(0.05, 3)
    alarm.take(0.5, 6)
    assert (alarm.row.phase, alarm.told) == ("pending", [])
    alarm.take(0.5)
    assert (alarm.row.phase, alarm.told) == ("firing", ["firing"])
    assert alarm.row.since == START + timedelta(seconds=40)
    alarm.take(0.5, 100)
    alarm.take(0.0, 6)
    assert alarm.told == ["firing"]
    alarm.take(0.0)
    assert alarm.told == ["firing", "ok"]
    alarm.take(0.0, int(RESOLVED_SHOWN.total_seconds() / 10))
    assert alarm.phases == ["ok", "pending", "firing", "resolved", "ok"]


def test_a_short_break_is_told_to_nobody() -> None:
    """One value within the bound ends `pending`, and the time begins anew."""
    alarm = Played()
    for _ in range(20):
        alarm.take(0.5, 6)
        alarm.take(0.1)
    assert (alarm.told, set(alarm.phases)) == ([], {"ok", "pending"})


def test_a_value_that_comes_and_goes_keeps_firing() -> None:
    """A fire ends only after values were within the bound for as long as it takes to fire."""
    alarm = Played()
    alarm.take(0.5, 7)
    for _ in range(20):
        alarm.take(0.0, 6)
        alarm.take(0.5)
    assert (alarm.row.phase, alarm.told) == ("firing", ["firing"])


def test_without_a_time_to_hold_one_value_is_enough() -> None:
    """`for = "0s"`: fires and resolves at once."""
    alarm = Played(msgspec.structs.replace(RULE, hold_s=0))
    alarm.take(0.5)
    alarm.take(0.0)
    alarm.take(0.5)
    assert (alarm.told, alarm.phases) == (["firing", "ok", "firing"], ["ok", "firing", "resolved", "firing"])


def test_no_data_is_a_state_of_its_own() -> None:
    """A quiet deployment is neither well nor on fire, and nobody is woken."""
    alarm = Played()
    alarm.take(None, 6)
    assert alarm.row.phase == "ok"
    alarm.take(None, 1)
    assert (alarm.row.phase, alarm.row.why, alarm.told) == ("no_data", "no calls", [])
    alarm.take(0.0)
    assert (alarm.row.phase, alarm.told) == ("ok", [])


def test_no_data_is_told_where_it_is_asked_for() -> None:
    """With `no_data = "notify"` both its begin and its end are told."""
    alarm = Played(msgspec.structs.replace(RULE, notify_no_data=True))
    alarm.take(None, 7)
    alarm.take(0.0)
    assert alarm.told == ["no_data", "ok"]


def test_a_fire_out_of_sight_is_told() -> None:
    """Whoever was told of a fire is told that nothing can be seen, and then how it went on."""
    alarm = Played()
    alarm.take(0.5, 7)
    alarm.take(None, 7)
    assert (alarm.row.phase, alarm.told) == ("no_data", ["firing", "no_data"])
    alarm.take(0.0)
    assert (alarm.row.phase, alarm.told) == ("resolved", ["firing", "no_data", "ok"])
    alarm.take(0.5, 7)
    alarm.take(None, 7)
    alarm.take(0.5, 7)
    assert alarm.told[3:] == ["firing", "no_data", "firing"]


def test_a_gap_shorter_than_the_time_changes_nothing() -> None:
    """A store that is away for a moment neither ends nor starts anything."""
    alarm = Played()
    alarm.take(0.5, 4)
    alarm.take(None, 2)
    alarm.take(0.5, 1)
    assert (alarm.row.phase, alarm.told) == ("firing", ["firing"])
    alarm.take(None, 6)
    alarm.take(0.5)
    assert alarm.told == ["firing"]


def test_nobody_is_told_while_it_is_silenced() -> None:
    """A fire that came and went is told to nobody; one that is still there when the silence ends is."""
    alarm = Played()
    alarm.silence = Silence(until=START + timedelta(hours=1), reason="known", by="ann", at=START)
    alarm.take(0.5, 10)
    alarm.take(0.0, 10)
    assert (alarm.phases[-1], alarm.told) == ("resolved", [])
    alarm.take(0.5, 400)
    assert alarm.told == ["firing"]
    assert alarm.now > START + timedelta(hours=1)


def test_a_fire_that_ends_in_a_silence_is_told_after_it() -> None:
    """Who was told of the fire hears of its end, late rather than never."""
    alarm = Played()
    alarm.take(0.5, 7)
    alarm.silence = Silence(until=START + timedelta(hours=1), reason="known", by="ann", at=START)
    alarm.take(0.0, 20)
    assert alarm.told == ["firing"]
    alarm.take(0.0, 400)
    assert alarm.told == ["firing", "ok"]


def test_the_bound_itself_does_not_break_it() -> None:
    """Above means above, below means below."""
    assert Played().take(0.1).row.phase == "ok"
    below = msgspec.structs.replace(RULE, below=True)
    assert Played(below).take(0.1).row.phase == "ok"
    assert Played(below).take(0.09).row.phase == "pending"


def test_what_is_told_alternates_whatever_comes() -> None:
    """Thousands of random readings: never the same twice, and what was told follows the phases."""
    seed = 20261124
    rng = random.Random(seed)
    for notify_no_data in (False, True):
        alarm = Played(msgspec.structs.replace(RULE, notify_no_data=notify_no_data))
        for _ in range(1_000):
            alarm.take(rng.choice([None, 0.0, 0.5, 0.5]), rng.randrange(1, 20))
        told = ["ok", *alarm.told]
        assert all(a != b for a, b in pairwise(told)), seed
        assert alarm.row.told == told[-1], seed
        assert {"firing", "ok", "no_data"} <= set(told), seed
        if not notify_no_data:
            before = {a for a, b in pairwise(told) if b == "no_data"}
            assert before == {"firing"}, seed


def test_a_notice_says_all_there_is_to_know() -> None:
    """Alarm, state, value, bound, window, since, link, and a line for people."""
    alarm = Played()
    alarm.take(0.5, 7)
    met = Cause(error_type="upstream_error", status_code=500, provider="main", model="m", calls=9, of=10)
    said = notice(
        alarm.row,
        "firing",
        now=alarm.now,
        window="5m",
        link="http://x/records?status=error",
        page="http://x/alerts/errors",
        causes=[met],
    )
    assert said == {
        "alarm": "errors",
        "state": "firing",
        "reminder": False,
        "kind": "threshold",
        "deployment": "support",
        "key": "",
        "team": "",
        "tag": "",
        "where": {},
        "metric": "error_rate",
        "value": 0.5,
        "comparison": "above",
        "threshold": 0.1,
        "window": "5m",
        "since": "2026-11-24T00:00:10+00:00",
        "at": "2026-11-24T00:01:10+00:00",
        "detail": None,
        "records": [],
        "causes": [
            {
                "error_type": "upstream_error",
                "status_code": 500,
                "provider": "main",
                "model": "m",
                "calls": 9,
                "of": 10,
            }
        ],
        "link": "http://x/records?status=error",
        "page": "http://x/alerts/errors",
        "text": "errors firing: error_rate of support is 50 %; the alarm is for above 10 % over 5m; "
        "mostly upstream_error (500) from main/m",
    }


@pytest.mark.parametrize(
    ("kind", "metric", "value", "words"),
    [
        ("threshold", "error_rate", 0.104623, "10.5 %"),
        ("threshold", "latency_p95", 219.945, "220 ms"),
        ("threshold", "ttft_p50", 5000.0, "5,000 ms"),
        ("threshold", "latency_p50", 0.4213, "0.42 ms"),
        ("threshold", "cost_usd", 0.000012345, "$0.0000123"),
        ("threshold", "cost_usd", 1234.567, "$1,234.57"),
        ("threshold", "requests", 120.0, "120"),
        ("threshold", "score:tone", 0.4567, "0.4567"),
        ("change", "requests", -0.95, "-95 %"),
        ("change", "error_rate", 0.1, "+10 points"),
        ("change", "score:tone", -0.2, "-0.2"),
        ("sequential", "latency_p95", 0.123456, "12.3 %"),
        ("sequential", "score:tone", 0.3, "0.3"),
        ("burn_rate", "error_rate", 10.3627, "10.4"),
        ("budget", "budget", 1.029, "103 %"),
        ("recording", "dead_letters", 2.0, "2"),
    ],
)
def test_numbers_have_their_units(kind: str, metric: str, value: float, words: str) -> None:
    """People are told a rate in percent and a time in milliseconds, not as they are kept."""
    assert worded(kind, metric, value) == words


def test_who_is_told_of_a_fire_that_is_well_again_hears_that() -> None:
    """A notifier that is new, or reminded, is not told that 5 % were over 10 % without more."""
    alarm = Played(msgspec.structs.replace(RULE, notify=("old",)))
    alarm.take(0.5, 7)
    alarm.take(0.05)
    alarm.rule = msgspec.structs.replace(alarm.rule, notify=("old", "new"))
    told = alarm.take(0.05)
    assert (told.tell, told.to) == ("firing", ("new",))
    text = notice(told.row, "firing", now=alarm.now, window="5m", link="", page="")["text"]
    assert text.endswith("is for above 10 % over 5m; well since 00:01:20 UTC, over once that has lasted 1m")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("threshold", "x no data: error_rate of support cannot be measured now: no calls in the last 5m"),
        (
            "burn_rate",
            "x no data: the error budget of support cannot be measured now: no calls in the last 5m",
        ),
        ("drift", "x no data: the drift of support cannot be measured now: no calls in the last 5m"),
    ],
)
def test_a_notice_of_no_data_says_what_is_out_of_sight(kind: str, text: str) -> None:
    """And why; no number stands beside a bound."""
    rule = msgspec.structs.replace(RULE, name="x", kind=kind)
    row = msgspec.structs.replace(begun(rule, START), why="no calls in the last 5m")
    assert notice(row, "no_data", now=START, window="5m", link="", page="")["text"] == text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("drift", 1.0, "x firing: 1 thing about support drifted"),
        ("drift", 3.0, "x firing: 3 things about support drifted"),
        ("probe", 1.0, "x firing: the probe of support found 1 difference"),
    ],
)
def test_a_notice_counts_as_people_do(kind: str, value: float, text: str) -> None:
    """One thing is no plural."""
    rule = msgspec.structs.replace(RULE, name="x", kind=kind)
    row = msgspec.structs.replace(begun(rule, START), value=value)
    assert notice(row, "firing", now=START, window="5m", link="", page="")["text"] == text
