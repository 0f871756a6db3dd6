"""When a sequential alarm says that an outage is over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from airboss.evaluations import sequential
from tests.controller.test_alarm_kinds import Log, Watch


@pytest.fixture
def log() -> Iterator[Log]:
    """An empty log."""
    made = Log()
    yield made
    made.close()


@pytest.mark.parametrize(("ill", "within"), [(5, 7), (15, 17)])
def test_an_outage_is_over_long_before_it_is_out_of_the_window(log: Log, ill: int, within: int) -> None:
    """It must be well for as long as it was not, at least five minutes; and then a second one fires again."""
    watch = Watch(log, metric="error_rate")
    watch.minute()
    assert watch.until(True, within=4, status="error") <= 2
    for _ in range(ill - 3):
        log.calls(watch.now + timedelta(seconds=1), 10, status="error")
        assert watch.minute().broken
    ended = watch.until(False, within=within)
    assert ended >= max(5, ill - 1)
    assert watch.last.value == 0
    assert re.search(f"^since 12:.. UTC 0 of {10 * ended} failed; ", watch.last.detail or "")
    assert watch.until(True, within=4, status="error") <= 2


def test_what_has_lasted_is_not_hidden_by_a_good_hour_before(log: Log) -> None:
    """Half of the calls are refused after fifty minutes without one: five minutes of that are enough, though
    it is half an hour until they are too many of an hour's. What is told is what came since."""
    watch = Watch(log, metric="refused_rate")
    for _ in range(50):
        log.calls(watch.now + timedelta(seconds=1), 40)
        assert not watch.minute().broken
    began = watch.now
    minutes = 0
    while not watch.last.broken:
        log.calls(watch.now + timedelta(seconds=1), 20)
        log.calls(watch.now + timedelta(seconds=1), 20, status="refused")
        watch.minute()
        minutes += 1
    assert 5 <= minutes <= 6
    assert watch.last.value == 0.5
    taken = minutes - 1  # the last is not over yet
    told = watch.last.detail or ""
    assert told.startswith(f"since {began:%H:%M} UTC {20 * taken} of {40 * taken} were refused; "), told


def test_a_minute_of_failures_that_are_few_of_the_hour_is_nobodys_alarm(log: Log) -> None:
    """Sure as it is that they are more than usual: it is over before anybody could look."""
    watch = Watch(log, metric="error_rate")
    for minute in range(60):
        log.calls(watch.now + timedelta(seconds=1), 40, status="error" if minute == 40 else "ok")
        assert not watch.minute().broken


def test_an_outage_that_comes_and_goes_is_no_row_of_fires(log: Log) -> None:
    """Three minutes in eight fail, for two hours: that is one outage, which has not ended in between."""
    watch = Watch(log, metric="error_rate")
    seen = []
    for minute in range(120):
        log.calls(watch.now + timedelta(seconds=1), 10, status="error" if minute % 8 < 3 else "ok")
        seen.append(watch.minute().broken)
    assert sum(bool(b and not a) for a, b in pairwise(seen)) <= 2
    assert all(seen[30:])


def test_few_calls_end_no_outage(log: Log) -> None:
    """One good call in a minute says little where every tenth failed: more are needed to be sure."""
    watch = Watch(log, metric="error_rate")
    for minute in range(60):
        log.calls(watch.now + timedelta(seconds=1), 9 + minute % 2)
        log.calls(watch.now + timedelta(seconds=1), 1 + minute % 2, status="error")
        fires = watch.minute().broken
    assert fires
    for _ in range(30):
        log.calls(watch.now + timedelta(seconds=1), 1)
        assert watch.minute().broken


def test_what_is_well_after_the_worst_stretch() -> None:
    """The stretch is found wherever it lies; what follows must be within the limit, and surely so."""
    good, ill = (10, 0), (10, 8)
    assert sequential.calm([good, ill, ill, good, good], 0.05) == (1, 3)
    assert sequential.calm([good, ill, ill, (5, 0)], 0.05) is None  # too few to be sure
    assert sequential.calm([good, ill, ill], 0.05) is None
    assert sequential.calm([good, good], 0.05) is None  # nothing was ill
    assert sequential.calm([good, ill, (10, 1)] + [good] * 4, 0.05) == (1, 2)
    assert sequential.calm([good, ill, (10, 1), (5, 0)], 0.05) is None  # more than the limit
    assert sequential.calm([], 0.05) is None
    assert sequential.stretch([good, ill, ill, (5, 0)], 0.05) == (1, 3)
    assert sequential.stretch([good, good], 0.05) is None
    assert sequential.calm([(10, 10), *[good] * 3], 0.05) == (0, 1)
