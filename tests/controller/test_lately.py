"""How everything stands, told while the ledger is away or hangs."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from airboss.controller import lately
from airboss.controller.lately import EVERY_S, Lately
from airboss.domain.errors import SetupError
from airboss.domain.status import JournalStatus, SystemStatus

AT = datetime(2026, 12, 1, 12, tzinfo=UTC)
OWN = SystemStatus(
    version="1",
    running=True,
    started_at=AT,
    data_dir="/data",
    base_url=None,
    console_url=None,
    plan_number=None,
    plan_created_at=None,
    deployments=(),
    replicas=(),
    processes=(),
    journal=JournalStatus(
        unmoved_bytes=0, oldest_unmoved_at=None, lag_s=0.0, store_up=True, moved_records=0, corrupt_frames=0
    ),
)


class Clock:
    """Set by hand."""

    at = 0.0

    def now(self) -> datetime:
        """As many seconds after AT."""
        return AT + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        """Seconds."""
        return self.at


class Ledger:
    """What is asked: it answers, refuses, or hangs until it is `let_go`."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = ""
        self.let_go = threading.Event()
        self.let_go.set()

    def whole(self) -> SystemStatus:
        """How everything stands."""
        self.asked += 1
        self.let_go.wait(60)
        if self.refuses:
            raise SetupError(self.refuses)
        return msgspec.structs.replace(OWN, plan_number=7)


@pytest.fixture
def ledger() -> Ledger:
    """One that answers."""
    return Ledger()


def test_what_does_not_read_the_ledger_is_of_now_and_the_rest_as_it_was(ledger: Ledger) -> None:
    """And it says of when that is; as soon as the ledger answers again, nothing is said of it."""
    clock, own = Clock(), OWN
    status = Lately(ledger.whole, lambda: own, clock)
    assert status().ledger_trouble is None
    ledger.refuses, clock.at, own = "away", 60.0, msgspec.structs.replace(OWN, counters_away=1)
    found = status()
    assert (found.plan_number, found.counters_away) == (7, 1)
    assert found.ledger_trouble == "away; plans, replicas and alarms are told as they were at 12:00:00 UTC"
    ledger.refuses = ""
    assert status().ledger_trouble is None


def test_where_nothing_was_told_before_it_is_what_needs_no_ledger(ledger: Ledger) -> None:
    """With why."""
    ledger.refuses = "away"
    found = Lately(ledger.whole, lambda: OWN, Clock())()
    assert found == msgspec.structs.replace(OWN, ledger_trouble="away")


def test_one_that_hangs_is_waited_for_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks meanwhile is told at once, and takes no thread; when it has answered it is asked again."""
    monkeypatch.setattr(lately, "SILENT_S", 0.05)
    status = Lately(ledger.whole, lambda: OWN, Clock())
    ledger.let_go.clear()
    assert status().ledger_trouble == "the ledger has been silent for 0.05 s"
    for _ in range(20):
        assert status().ledger_trouble == "the ledger does not answer"
    assert ledger.asked == 1
    monkeypatch.setattr(lately, "SILENT_S", 60.0)
    ledger.let_go.set()
    stuck = status._stuck
    assert stuck is not None
    stuck.result(60)
    assert status().plan_number == 7


def test_it_is_looked_at_now_and_then_whether_anybody_asks_or_not(ledger: Ledger) -> None:
    """So that there is something to tell of the ledger when it is away."""
    clock = Clock()
    status = Lately(ledger.whole, lambda: OWN, clock)
    status.tick()
    status.tick()
    assert ledger.asked == 1
    clock.at = EVERY_S
    status.tick()
    assert ledger.asked == 2
    ledger.refuses = "away"
    assert status().plan_number == 7
