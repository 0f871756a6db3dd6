"""What goes wrong again and again is two lines in the log, however often it does."""

from __future__ import annotations

import logging
import time

import pytest

from airboss.store.ledger_trouble import LedgerAway, LedgerTrouble
from airboss.telemetry import outage as outage_module
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


def test_that_the_ledger_is_away_is_told_once_for_all(
    now: list[float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a process needs it for; what has another cause is told apart."""
    monkeypatch.setattr(outage_module, "LEDGER", Outage(log, "what needs the ledger waits"))
    jobs, mails, chores = Outage(log, "jobs wait"), Outage(log, "mails not sent"), Outage(log, "chores wait")
    for _ in range(5):
        jobs.failed(LedgerAway("Connection refused"))
        mails.failed(LedgerTrouble("it is full"))
        chores.failed(OSError("no room"))
        now[0] += 1.0
    for each in (jobs, mails, chores):
        each.over()
    assert caplog.messages == [
        "what needs the ledger waits; trying again: Connection refused",
        "chores wait; trying again: no room",
        "what needs the ledger waits: over after 5 s; missed: 10",
        "chores wait: over after 5 s; missed: 5",
    ]
