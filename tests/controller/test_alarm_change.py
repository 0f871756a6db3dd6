"""Changes against a week ago, where clocks were put forward or back in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.controller.test_alarm_kinds import NOW, Log, read, rule

THEN = NOW - timedelta(days=7)
HOUR = timedelta(hours=1)


@pytest.fixture
def log() -> Iterator[Log]:
    """An empty log."""
    made = Log()
    yield made
    made.close()


def week_ago(log: Log, before: int, at: int, after: int) -> None:
    """So many calls in the same hour a week ago, in the one before, and in the one after."""
    for end, count in ((THEN - HOUR, before), (THEN, at), (THEN + HOUR, after)):
        for _ in range(count // 50):
            log.calls(end - timedelta(minutes=30), 50)


@pytest.mark.parametrize(
    ("week", "now", "value"),
    [
        ((500, 400, 200), 10, -0.95),
        ((200, 400, 500), 10, -0.95),
        ((500, 400, 500), 10, -0.975),
        ((500, 400, 50), 0, None),
        ((0, 400, 400), 0, None),
    ],
)
def test_a_standstill_is_one_beside_each_of_three_hours(
    log: Log, week: tuple[int, int, int], now: int, value: float | None
) -> None:
    """Of three the one with the fewest; where that had next to none, nothing can be told."""
    week_ago(log, *week)
    for _ in range(now):
        log.calls(NOW - timedelta(minutes=30))
    found = read(log, rule(kind="change", metric="requests", below=-0.95, window="1h"))
    assert found.value == (None if value is None else pytest.approx(value))
    if value is None:
        assert found.why is not None
        assert f"there were {min(week)} of the 100 to compare with" in found.why


@pytest.mark.parametrize("metric", ["requests", "input_tokens", "cost_usd"])
def test_a_rush_is_one_beside_each_of_three_hours(log: Log, metric: str) -> None:
    """Of a sum that rises the one with the most."""
    week_ago(log, 100, 100, 400)
    log.calls(NOW - timedelta(minutes=30), 800)
    found = read(log, rule(kind="change", metric=metric, above=2, window="1h"))
    assert found.value == pytest.approx(1.0)


def test_a_rate_is_that_of_the_same_hour(log: Log) -> None:
    """It does not come and go with people's clocks."""
    week_ago(log, 100, 100, 100)
    log.calls(THEN - timedelta(minutes=90), 100, status="error")
    log.calls(NOW - timedelta(minutes=30), 50)
    log.calls(NOW - timedelta(minutes=30), 50, status="error")
    found = read(log, rule(kind="change", metric="error_rate", above=0.2, window="1h"))
    assert found.value == pytest.approx(0.5)
