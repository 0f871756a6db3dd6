"""Thresholds where few calls come: of fewer than they ask for there is no data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airboss.controller.alarms import Reading
from tests.controller.test_alarm_kinds import NOW, Log, read, rule

AT = NOW - timedelta(minutes=1)


@pytest.fixture
def log() -> Iterator[Log]:
    """An empty log."""
    made = Log()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("metric", "counted"),
    [
        ("error_rate", {"status": "error"}),
        ("refused_rate", {"status": "refused"}),
        ("fallback_rate", {"error_type": "answered_by_fallback"}),
        ("latency_p95", {"latency_ms": 9_000.0}),
        ("ttft_p50", {"ttft_ms": 900.0}),
        ("tokens_per_s", {}),
    ],
)
def test_a_threshold_waits_for_calls_to_judge_by(log: Log, metric: str, counted: dict[str, Any]) -> None:
    """Those that its metric is of, and no others; by default one is enough."""
    asked = rule(metric=metric, above=0.1, min_requests=3)
    log.calls(AT, 2, **counted)
    log.calls(AT, 9, status="cancelled")
    assert read(log, asked) == Reading(why="2 of the 3 calls to judge by in the last 5m")
    assert read(log, rule(metric=metric, above=0.1)).value is not None
    log.calls(AT, 1, **counted)
    assert read(log, asked).value is not None
    assert read(log, rule(metric=metric, above=0.1, min_requests=4)).value is None


def test_what_no_call_is_judged_by_says_so(log: Log) -> None:
    """However many are asked for: there is no call, or no answer."""
    asked = rule(metric="latency_p95", above=1, min_requests=3)
    assert read(log, asked).why == "no calls in the last 5m"
    log.calls(AT, 5, status="error")
    assert read(log, asked).why == "no answers in the last 5m"


def test_of_scores_scores_count(log: Log) -> None:
    """As many as were given in the window."""
    asked = rule(metric="score:tone", below=0.5, min_requests=3)
    log.scores(AT, [0.1, 0.2])
    assert read(log, asked).why == "2 of the 3 scores to judge by in the last 5m"
    log.scores(AT, [0.3])
    assert read(log, asked).value == pytest.approx(0.2)
