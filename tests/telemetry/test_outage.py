"""What goes wrong again and again is two lines in the log, however often it does."""

from __future__ import annotations

import logging
import time

import pytest

from airboss.telemetry.outage import AGAIN_S, Outage

log = logging.getLogger("airboss.test")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands until a test sets it."""
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_it_is_told_as_it_begins_and_as_it_is_over(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """With its cause, and at the end with how long it was and how often something was missed."""
    outage = Outage(log, "mails not sent")
    outage.over()
    for _ in range(500):
        outage.failed(OSError("silent"))
        now[0] += 1.0
    outage.over()
    outage.over()
    assert caplog.messages == [
        "mails not sent; trying again: silent",
        "mails not sent: over after 500 s; missed: 500",
    ]


def test_one_that_comes_and_goes_is_told_once_a_minute(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """What was not told counts in the next that is."""
    outage = Outage(log, "mails not sent")
    for _ in range(int(AGAIN_S)):
        outage.failed("silent")
        outage.over()
        now[0] += 1.0
    assert len(caplog.messages) == 2
    outage.failed("silent")
    outage.over()
    assert caplog.messages[2:] == [
        "mails not sent; trying again: silent",
        f"mails not sent: over after 0 s; missed: {AGAIN_S:.0f}",
    ]


def test_another_cause_is_told_in_its_time(now: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Of causes that change with each try one a minute is told, and the end with all that was missed."""
    outage = Outage(log, "mails not sent")
    for number in range(int(2 * AGAIN_S)):
        outage.failed(f"cause {number}")
        now[0] += 1.0
    outage.over()
    told = [each.rpartition(": ")[2] for each in caplog.messages]
    assert told == ["cause 0", f"cause {AGAIN_S:.0f}", f"{2 * AGAIN_S:.0f}"]
