"""What each kind of alarm measures in the record log, and when it says that something is wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.config import AlarmConfig, MaintenanceConfig
from airboss.config.types import SloConfig
from airboss.controller import alarm_tests
from airboss.controller.alarm_measures import Measures
from airboss.controller.alarms import Reading, begun, broken, decide, notice
from airboss.domain.ports import JournalMove
from airboss.domain.score import Score
from airboss.store.alert_rows import AlarmRule, calls_of
from airboss.store.alert_rules import in_maintenance, rule_of
from airboss.store.memory import MemoryRecordLog
from tests.store.samples import call_id, record_json

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Log(MemoryRecordLog):
    """A log that takes calls at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = iter(range(1, 10**6))

    def calls(self, at: datetime, count: int = 1, **fields: Any) -> list[str]:
        """So many calls at a time."""
        numbers = [next(self.numbers) for _ in range(count)]
        records = tuple(record_json(each, started_at=at, **fields) for each in numbers)
        self.apply(JournalMove(segment=f"s{numbers[0]}", start=0, end=1, records=records))
        return [call_id(each) for each in numbers]

    def scores(self, at: datetime, values: list[float], **fields: Any) -> None:
        """Scores of `tone`, of calls of then."""
        given = [
            Score(
                id=f"{record_id}/tone",
                subject="record",
                subject_id=record_id,
                name="tone",
                source="scorer",
                by="judge",
                at=at,
                value=value,
            )
            for record_id, value in zip(self.calls(at, len(values), **fields), values, strict=True)
        ]
        self.put_scores(given)


@pytest.fixture
def log() -> Iterator[Log]:
    """An empty log."""
    made = Log()
    yield made
    made.close()


def rule(**fields: Any) -> AlarmRule:
    """A rule of the deployment that calls are of."""
    return rule_of("x", AlarmConfig(**{"deployment": "assistant", **fields}))


def read(log: Log, asked: AlarmRule, *, now: datetime = NOW) -> Reading:
    """What a rule that keeps nothing measures."""
    return Measures(log).read(asked, None, now)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("error_rate", 0.25),
        ("refused_rate", 1 / 9),
        ("latency_p50", 100.0),
        ("latency_p95", 100.0),
        ("ttft_p95", 20.0),
        ("cost_usd", 0.000123 * 10),
        ("requests", 10.0),
        ("tokens_per_s", 100.0),
        ("input_tokens", 100.0),
    ],
)
def test_metrics_are_of_their_deployment(log: Log, metric: str, expected: float) -> None:
    """Cancelled and refused calls count neither as errors nor as calls, and other deployments not at all."""
    at = NOW - timedelta(minutes=1)
    log.calls(at, 6)
    log.calls(at, 2, status="error")
    log.calls(at, status="cancelled")
    log.calls(at, status="refused")
    log.calls(at, 99, deployment="other", status="error", latency_ms=9e9)
    log.calls(at, 5, key="airboss", status="error")
    assert read(log, rule(metric=metric, above=0.0)).value == pytest.approx(expected)


def test_what_fallbacks_answer_is_a_rate(log: Log) -> None:
    """Of all answers: an outage that fallbacks cover fails no call, and somebody wants to know. Its calls are
    those that a fallback answered."""
    asked = rule(metric="fallback_rate", above=0.2)
    at = NOW - timedelta(minutes=1)
    log.calls(at, status="error")
    assert read(log, asked) == Reading(why="no answers in the last 5m")
    log.calls(at, 6)
    assert read(log, asked).value == 0.0
    log.calls(at, 2, error_type="answered_by_fallback")
    log.calls(at, 9, deployment="other", error_type="answered_by_fallback")
    log.calls(NOW - timedelta(days=7, minutes=1), 8)
    assert read(log, asked).value == 0.25
    assert read(log, rule(metric="error_rate", above=0.2)).value == pytest.approx(1 / 9)
    assert calls_of(asked, NOW, None)["error_type"] == "answered_by_fallback"
    assert broken(asked, read(log, asked))


def test_nothing_to_measure_says_why(log: Log) -> None:
    """None is no zero; no requests and no cost are zeros."""
    names = ("error_rate", "latency_p95", "ttft_p95", "score:tone", "requests", "cost_usd")
    found = {metric: read(log, rule(metric=metric, above=0.0)) for metric in names}
    assert [each.value for each in found.values()] == [None, None, None, None, 0.0, 0.0]
    assert found["score:tone"].why == "no scores 'tone' in the last 5m"
    log.calls(NOW - timedelta(minutes=1), status="refused", cost_usd=None)
    for metric in ("error_rate", "latency_p95", "cost_usd"):
        reading = read(log, rule(metric=metric, above=0.0))
        assert reading.value is None
        assert reading.why


def slo(**fields: Any) -> AlarmRule:
    """99 % over 30 days."""
    return rule(slo=SloConfig(target=0.99, **fields))


def test_a_budget_that_burns_fast_is_seen_over_two_windows(log: Log) -> None:
    """20 % errors for an hour are 20 times too fast; once what is recent is well it is over."""
    for minute in range(60):
        log.calls(NOW - timedelta(minutes=minute + 0.5), 4)
        log.calls(NOW - timedelta(minutes=minute + 0.5), 1, status="error")
    reading = read(log, slo())
    assert (reading.broken, reading.bound) == (True, pytest.approx(14.4))
    assert reading.value == pytest.approx(20)
    assert "used up" in (reading.detail or "")
    later = NOW + timedelta(hours=6, minutes=5)
    log.calls(later - timedelta(minutes=1), 20)
    assert read(log, slo(), now=later).broken is False


def test_calls_count_when_they_end(log: Log) -> None:
    """Calls that fail after 80 s are in a window of half a minute from the moment they end and for no longer;
    so are those that hang for ten minutes in the short window of a budget."""
    short = rule(metric="error_rate", above=0.5, window="30s")
    log.calls(NOW - timedelta(seconds=90), 5, status="error", latency_ms=80_000.0)
    log.calls(NOW - timedelta(seconds=20), 5, latency_ms=1_000.0)
    assert read(log, short).value == 0.5
    assert read(log, short, now=NOW - timedelta(seconds=15)).value == 0.0
    assert read(log, short, now=NOW + timedelta(seconds=25)).value is None
    hung = NOW + timedelta(hours=2)
    log.calls(hung - timedelta(minutes=10, seconds=1), 9, status="error", latency_ms=600_000.0)
    assert read(log, slo(), now=hung).broken is True


def test_what_is_left_of_a_budget_is_a_minute_old_where_it_burns(log: Log) -> None:
    """A fire does not say that all is left; by the same measures that watched a quiet start."""
    log.calls(NOW - timedelta(hours=1), 1_000)
    measures = Measures(log)

    def look(now: datetime) -> Reading:
        measures.forget_old(now)
        return measures.read(slo(), None, now)

    assert look(NOW).detail == "100 % of the budget of 30d is left"
    log.calls(NOW + timedelta(seconds=1), 200, status="error")
    later = look(NOW + timedelta(minutes=1, seconds=2))
    assert later.detail == "the budget of 30d is used up 16.7 times"
    assert later.broken is True


def test_a_slow_leak_is_seen_over_days(log: Log) -> None:
    """2 % errors for three days use the budget up in half its time; an hour of them is nothing."""
    for hour in range(72):
        log.calls(NOW - timedelta(hours=hour + 0.5), 49)
        log.calls(NOW - timedelta(hours=hour + 0.5), 1, status="error")
    reading = read(log, slo())
    assert (reading.broken, reading.bound) == (True, pytest.approx(1.0))
    assert reading.value == pytest.approx(2)


@pytest.mark.parametrize("window", ["1d", "7d", "30d"])
def test_a_budget_that_lasts_its_time_fires_nothing(log: Log, window: str) -> None:
    """At 0.9 of the speed that uses it up in its time nothing is wrong; at 1.1, for days, it is."""
    asked = rule(slo=SloConfig(target=0.5, window=window))
    halves = [NOW - timedelta(minutes=30 * half + 15) for half in range(2 * 72)]
    for at in halves:
        log.calls(at, 11)
        log.calls(at, 9, status="error")
    reading = read(log, asked)
    assert (reading.broken, reading.value) == (False, pytest.approx(0.9))
    for at in halves:
        log.calls(at, 5, status="error")
    assert read(log, asked).broken is True


def test_one_failure_of_few_calls_burns_nothing(log: Log) -> None:
    """A rate of five calls is no rate; and without any there is no data."""
    assert read(log, slo()).value is None
    log.calls(NOW - timedelta(minutes=1), 4)
    log.calls(NOW - timedelta(minutes=1), 1, status="error")
    assert read(log, slo()).broken is False


def test_slow_answers_use_up_a_budget_of_time(log: Log) -> None:
    """With a time, an answer beyond it is as bad as none."""
    log.calls(NOW - timedelta(minutes=1), 60)
    log.calls(NOW - timedelta(minutes=1), 40, latency_ms=3_000.0)
    assert read(log, slo(latency_ms=2_000)).broken is True
    assert read(log, slo()).broken is False


def test_a_change_is_against_the_same_hour_of_the_week_before(log: Log) -> None:
    """Traffic that stopped is seen; too little to compare with is no data."""
    gone = rule(kind="change", metric="requests", below=-0.95, window="1h")
    assert read(log, gone).why == "a week ago there were 0 of the 100 to compare with"
    for minutes in (-30, 30, 90):
        log.calls(NOW - timedelta(days=7, minutes=minutes), 200, latency_ms=100.0)
    reading = read(log, gone)
    assert (reading.value, broken(gone, reading)) == (-1.0, True)
    log.calls(NOW - timedelta(minutes=30), 100, latency_ms=150.0)
    reading = read(log, gone)
    assert (reading.value, broken(gone, reading), reading.detail) == (-0.5, False, "100 now, 200 then")
    slower = read(log, rule(kind="change", metric="latency_p95", above=0.4, window="1h"))
    assert slower.value == pytest.approx(0.5)
    rate = read(log, rule(kind="change", metric="error_rate", above=0.1, window="1h"))
    assert rate.value == 0.0


class Watch:
    """A sequential alarm, looked at every minute; its memory is kept as the ledger keeps it."""

    def __init__(self, log: Log, **fields: Any) -> None:
        self.log = log
        self.rule = rule(kind="sequential", window="1h", **fields)
        self.memory: object = None
        self.now = NOW

    def minute(self) -> Reading:
        """A minute passes."""
        self.now += timedelta(minutes=1)
        reading = alarm_tests.look(self.rule, self.memory, self.log, self.now)
        self.memory = msgspec.json.decode(msgspec.json.encode(reading.memory))
        self.last = reading
        return reading

    def until(self, answer: bool, *, within: int, **calls: Any) -> int:
        """Minutes until it says so, with ten such calls a minute."""
        for minute in range(within):
            self.log.calls(self.now + timedelta(seconds=1), 10, **calls)
            if self.minute().broken is answer:
                return minute
        raise AssertionError(f"not {answer} within {within} minutes")


def test_a_fresh_deployment_that_fails_is_seen_at_once(log: Log) -> None:
    """Nothing need be learned to see that everything fails; and once all is well it is over."""
    watch = Watch(log, metric="error_rate")
    watch.minute()
    assert watch.until(True, within=4, status="error") <= 2
    watch.now += timedelta(hours=1)
    assert watch.until(False, within=3) <= 2


def test_calls_that_hang_and_fail_are_seen_when_they_end(log: Log) -> None:
    """Where every call runs out of its time after ten minutes, none is in the log in the minute it began."""
    watch = Watch(log, metric="error_rate")
    watch.rule = rule(kind="sequential", metric="error_rate")
    for _ in range(30):
        log.calls(watch.now + timedelta(seconds=1), 10)
        assert watch.minute().broken is False
    seen = []
    for minute in range(30):
        if minute >= 10:
            log.calls(watch.now - timedelta(minutes=10), 10, status="error")
        seen.append(watch.minute())
    fires = [minute for minute, each in enumerate(seen) if each.broken]
    assert fires == list(range(fires[0], 30)), "it is not well in between"
    assert fires[0] <= 15
    assert all(each.value is not None for each in seen[fires[0] :])


def test_answers_that_take_long_count_beside_failures_that_do_not(log: Log) -> None:
    """2 % fail at once, the others answer after three minutes: that is 2 %, not everything."""
    for hour in range(1, 100):
        log.calls(NOW - timedelta(hours=hour), 98)
        log.calls(NOW - timedelta(hours=hour), 2, status="error")
    watch = Watch(log, metric="error_rate")
    watch.rule = rule(kind="sequential", metric="error_rate")
    watch.minute()
    for minute in range(60):
        log.calls(watch.now + timedelta(seconds=1), 1, status="error")
        if minute >= 3:
            log.calls(watch.now - timedelta(minutes=3), 49)
        reading = watch.minute()
        assert reading.broken is False
    assert reading.value == pytest.approx(0.02, rel=0.2)


def test_what_is_usual_is_learned(log: Log) -> None:
    """5 % errors are no alarm where there were 5 % before, and 25 % are one."""
    draw = random.Random(5)
    for hour in range(1, 168):
        errors = sum(draw.random() < 0.05 for _ in range(20))
        log.calls(NOW - timedelta(hours=hour), 20 - errors)
        log.calls(NOW - timedelta(hours=hour), max(errors, 1), status="error")
    watch = Watch(log, metric="error_rate")
    for _ in range(60):
        log.calls(watch.now + timedelta(seconds=1), 19)
        log.calls(watch.now + timedelta(seconds=1), 1, status="error")
        reading = watch.minute()
        assert reading.broken is False
    assert reading.bound is not None
    assert 0.08 < reading.bound < 0.15
    assert reading.detail == "58 of 1,160 failed in the last 1h; before it was 6.6 % of 3,423 calls"
    minutes = 0
    while not watch.minute().broken:
        log.calls(watch.now + timedelta(seconds=1), 15)
        log.calls(watch.now + timedelta(seconds=1), 5, status="error")
        minutes += 1
    assert minutes <= 30
    sure = "since 13:0. UTC .* failed; before .* calls; chance alone does this once in [0-9,]* times at most"
    assert re.fullmatch(sure, watch.minute().detail or "")


@pytest.mark.parametrize(
    ("metric", "usual", "worse"),
    [
        ("latency_p95", {"latency_ms": 100.0}, {"latency_ms": 200.0}),
        ("ttft_p95", {"ttft_ms": 20.0}, {"ttft_ms": 50.0}),
        ("cost_usd", {"cost_usd": Decimal("0.01")}, {"cost_usd": Decimal("0.02")}),
        ("refused_rate", {}, {"status": "refused"}),
        ("fallback_rate", {}, {"error_type": "answered_by_fallback"}),
    ],
)
def test_each_default_sees_what_it_is_for(
    log: Log, metric: str, usual: dict[str, Any], worse: dict[str, Any]
) -> None:
    """Slower, later, dearer, refused or answered by another: seen within minutes, and not before there is a
    past."""
    watch = Watch(log, metric=metric)
    reading = watch.minute()
    assert reading.value is None
    log.calls(NOW - timedelta(hours=30), 300, **usual)
    watch.now += timedelta(hours=1)
    log.calls(watch.now, 10, **usual)
    assert watch.minute().broken is False
    for _ in range(30):
        log.calls(watch.now + timedelta(seconds=1), 10, **usual)
        assert watch.minute().broken is False
    assert watch.until(True, within=5, **worse) <= 3


def test_a_score_that_falls_is_seen(log: Log) -> None:
    """By the means of a few minutes, against the mean of before."""
    draw = random.Random(6)
    log.scores(NOW - timedelta(hours=2), [min(1.0, draw.gauss(0.8, 0.1)) for _ in range(400)])
    watch = Watch(log, metric="score:tone")
    for _ in range(60):
        log.scores(watch.now + timedelta(seconds=1), [min(1.0, draw.gauss(0.8, 0.1)) for _ in range(5)])
        assert watch.minute().broken is False
    minutes = 0
    while not watch.minute().broken:
        log.scores(watch.now + timedelta(seconds=1), [min(1.0, draw.gauss(0.5, 0.1)) for _ in range(5)])
        minutes += 1
    assert minutes <= 40
    read = watch.minute()
    assert (read.value or 0) < (read.bound or 0) < 0.8, "means, as people know the score"
    row = msgspec.structs.replace(begun(watch.rule, NOW), value=0.52, bound=0.71)
    words = notice(row, "firing", now=NOW, window="1h", link="", page="")["text"]
    assert words.endswith("score:tone of assistant is 0.52 over 1h; down to 0.71 is usual")


def test_a_score_of_which_less_is_better_is_seen_to_rise(log: Log) -> None:
    """Refusals are few and stay few: no alarm; as many again as there were are one, fewer are none."""
    draw = random.Random(6)
    log.scores(NOW - timedelta(hours=2), [float(draw.random() < 0.05) for _ in range(400)])
    watch = Watch(log, metric="score:tone")
    watch.rule = msgspec.structs.replace(watch.rule, less_is_better=True)
    for share in [0.05] * 40 + [0.0] * 20:
        log.scores(watch.now + timedelta(seconds=1), [float(draw.random() < share) for _ in range(5)])
        assert watch.minute().broken is False
    minutes = 0
    while not watch.minute().broken:
        log.scores(watch.now + timedelta(seconds=1), [float(draw.random() < 0.5) for _ in range(5)])
        minutes += 1
    assert minutes <= 40
    read = watch.minute()
    assert 0.05 < (read.bound or 0) < (read.value or 0)


def test_a_score_that_cannot_get_worse_fires_nothing(log: Log) -> None:
    """Where the mean is at the bad end already, there is no usual state to tell worse from."""
    log.scores(NOW - timedelta(hours=2), [0.0] * 400)
    watch = Watch(log, metric="score:tone")
    for _ in range(30):
        log.scores(watch.now + timedelta(seconds=1), [0.0] * 5)
        reading = watch.minute()
        assert not reading.broken
    assert reading.value is None
    assert "cannot get worse" in (reading.why or "")


def test_drift_that_is_accepted_is_over(log: Log) -> None:
    """It is no data before anything is known; what was found and is gone is well again, though what is usual
    is learned anew."""
    known: list[tuple[int, str, tuple[str, ...]] | None] = [None]
    measures = Measures(log, drifted=lambda _deployment: known[0])
    asked = rule(kind="drift", hold="0s")
    row, seen = begun(asked, NOW), []
    for at, found in enumerate((None, (0, "", ()), (2, "longer; french", ("r1",)), None, None, (0, "", ()))):
        known[0] = found
        now = NOW + timedelta(minutes=at)
        reading = measures.read(asked, row.memory, now)
        row = decide(row, asked, reading, now=now, silence=None).row
        assert reading.records == (("r1",) if found and found[0] else ())
        seen.append((row.value, row.phase))
    assert seen[0] == (None, "ok")
    assert [phase for _, phase in seen[1:]] == ["ok", "firing", "resolved", "resolved", "resolved"]
    assert [value for value, _ in seen[1:]] == [0.0, 2.0, 0.0, 0.0, 0.0]


def test_maintenance_is_a_silence() -> None:
    """Once or weekly, over midnight too; of some deployments or all; of several the longest."""
    once = MaintenanceConfig(starts=NOW, ends=NOW + timedelta(hours=1), deployments=("assistant",))
    windows = {"move": once}
    found = in_maintenance(windows, "assistant", NOW + timedelta(minutes=59))
    assert found is not None
    assert (found.until, found.reason) == (NOW + timedelta(hours=1), "maintenance move")
    assert in_maintenance(windows, "assistant", NOW + timedelta(hours=1)) is None
    assert in_maintenance(windows, "other", NOW) is None
    longer = {"all": MaintenanceConfig(starts=NOW, ends=NOW + timedelta(hours=3))}
    for both in (windows | longer, longer | windows):
        found = in_maintenance(both, "assistant", NOW)
        assert found is not None
        assert (found.until, found.reason) == (NOW + timedelta(hours=3), "maintenance all")
    night = {"night": MaintenanceConfig(weekly="tue 23:00-02:00")}
    wednesday = NOW.replace(hour=1)
    assert in_maintenance(night, "any", wednesday) is not None
    assert in_maintenance(night, "any", wednesday - timedelta(hours=2)) is not None
    assert in_maintenance(night, "any", wednesday + timedelta(hours=1)) is None
    assert in_maintenance(night, "any", wednesday + timedelta(days=1)) is None
    day = {"day": MaintenanceConfig(weekly="wed 00:00-24:00")}
    midnight = NOW.replace(hour=0)
    for hours, quiet in ((-0.1, False), (0, True), (12, True), (23.9, True), (24, False)):
        assert (in_maintenance(day, "any", midnight + timedelta(hours=hours)) is not None) == quiet
