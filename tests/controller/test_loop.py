"""The controller's life."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from airboss.controller import loop
from airboss.controller.loop import Controller, gauges
from airboss.domain.status import JournalStatus
from airboss.telemetry.metrics import read_counts
from tests.support.wait import until

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DONE = JournalStatus(
    unmoved_bytes=0, oldest_unmoved_at=None, lag_s=0.0, store_up=True, moved_records=3, corrupt_frames=0
)
BEHIND = msgspec.structs.replace(DONE, unmoved_bytes=7, oldest_unmoved_at=NOW, lag_s=3.0, moved_records=2)


class Clock:
    """A clock that stands where it is put."""

    seconds = 0.0

    def now(self) -> datetime:
        """Always the same."""
        return NOW

    def monotonic(self) -> float:
        """As it was put."""
        return self.seconds


class Moves:
    """A mover that reports once, waits, and drains at the end."""

    heard_at = 0.0

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.now = BEHIND
        self.reported = threading.Event()

    def run(self, stop: threading.Event, on_status: Callable[[JournalStatus], None]) -> None:
        """Report what it knew then, then wait for the end or fail."""
        on_status(msgspec.structs.replace(DONE, moved_records=1))  # it had not looked since
        self.reported.set()
        if self.fault is not None:
            raise self.fault
        stop.wait()

    def drain(self) -> JournalStatus:
        """All is moved."""
        self.now = DONE
        return DONE

    def status(self) -> JournalStatus:
        """Behind, which the last report did not know yet; then no more."""
        return self.now


def run(moves: Moves, path: Path, *, stop_when: Callable[[Controller], bool]) -> Controller:
    """Run a controller until the condition holds."""
    controller = Controller(mover=moves, metrics=path, clock=Clock())

    async def main() -> None:
        stop = asyncio.Event()

        async def console(told: asyncio.Event) -> None:
            await asyncio.to_thread(until, lambda: stop_when(controller) or told.is_set())

        await controller.run(console, stop)

    asyncio.run(main())
    return controller


def test_status_and_metrics_follow_the_mover(tmp_path: Path) -> None:
    """The journal's status is the mover's newest, the last records are moved at the end, and gateways can
    read the gauges."""
    path = tmp_path / "controller.json"
    controller = run(Moves(), path, stop_when=lambda it: it.journal is BEHIND and path.exists())
    assert controller.journal is DONE
    assert read_counts(tmp_path, but="gateway-0")["controller"].gauges == gauges(DONE)


def test_nobody_is_answered_before_the_first_look(tmp_path: Path) -> None:
    """Who begins anew does not say that nothing waits before it has looked."""
    seen: list[bool] = []

    class Slow(Moves):
        def run(self, stop: threading.Event, on_status: Callable[[JournalStatus], None]) -> None:
            """The first look takes a while."""
            stop.wait(0.3)
            super().run(stop, on_status)

    moves = Slow()

    def asked(_controller: Controller) -> bool:
        seen.append(moves.reported.is_set())
        return True

    run(moves, tmp_path / "controller.json", stop_when=asked)
    assert seen == [True]
    assert Controller(mover=moves, metrics=tmp_path / "x", clock=Clock()).journal.store_up is False


def test_a_store_that_starts_beside_us_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come since the mover looked: who asks is told by its next looks. Of one that goes later
    it is told at once."""
    monkeypatch.setattr(loop, "FIRST_S", 60.0)
    away = msgspec.structs.replace(DONE, store_up=False, store_detail="it does not answer")
    seen: list[bool] = []

    class Looks(Moves):
        def run(self, stop: threading.Event, on_status: Callable[[JournalStatus], None]) -> None:
            """The store is there at the third look."""
            for self.now in (away, away, DONE):
                on_status(self.now)
                stop.wait(0.1)
            stop.wait()

    def asked(controller: Controller) -> bool:
        seen.append(controller.journal.store_up)
        return True

    moves = Looks()
    controller = run(moves, tmp_path / "controller.json", stop_when=asked)
    assert seen == [True]
    moves.now = away
    controller._take(away)
    began = time.monotonic()
    assert controller.journal is away
    assert time.monotonic() - began < 30


def test_a_store_that_is_silent_is_slow_and_not_down(tmp_path: Path) -> None:
    """For half a minute: it may be at work on something long. That it is away says the mover, who stops
    waiting for it, or nobody, where every move fails."""
    clock = Clock()
    controller = Controller(mover=(moves := Moves()), metrics=tmp_path / "x", clock=clock)
    controller._take(DONE)
    clock.seconds = 2.9
    assert (controller.journal.store_up, controller.journal.store_detail) == (True, None)
    clock.seconds = 20.0
    told = controller.journal
    assert (told.store_up, told.store_detail) == (True, "the record store has not answered for 20 s")
    clock.seconds = 30.0
    told = controller.journal
    assert (told.store_up, told.store_detail) == (False, "the record store has not answered for 30 s")
    moves.heard_at = 29.0  # it catches up: one long tick of many moves
    assert (controller.journal.store_up, controller.journal.store_detail) == (True, None)
    moves.heard_at = 0.0
    moves.now = msgspec.structs.replace(DONE, store_up=False, store_detail="it does not answer")
    assert controller.journal == moves.now


@pytest.mark.parametrize("whom", ["record store", "ledger"])
def test_whom_records_wait_for_is_told_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whom: Literal["record store", "ledger"]
) -> None:
    """Once as it begins, with why, and once as it is over; and who is silent meanwhile."""
    clock = Clock()
    controller = Controller(mover=(moves := Moves()), metrics=tmp_path / "x", clock=clock)
    moves.now = msgspec.structs.replace(DONE, waits_for=whom)
    away = msgspec.structs.replace(DONE, waits_for=whom, store_up=False, store_detail="it is stopped")
    for each in (away, away, DONE, away, away, DONE):  # at first it starts beside us
        controller._take(each)
    begun, over = caplog.messages
    assert begun == "records wait in the journal; trying again: it is stopped"
    assert re.fullmatch(r"records wait in the journal: over after \d+ s; missed: 2", over)
    clock.seconds = 20.0
    assert controller.journal.store_detail == f"the {whom} has not answered for 20 s"


def test_a_mover_that_fails_ends_the_controller(tmp_path: Path) -> None:
    """A mover that fails takes the console down with it: the supervisor then starts both anew."""
    with pytest.raises(RuntimeError, match="lost"):
        run(Moves(RuntimeError("lost")), tmp_path / "controller.json", stop_when=lambda _it: False)


def test_gauges_are_numbers() -> None:
    """A time is Unix time, or 0 where nothing waits."""
    assert gauges(BEHIND)["journal_oldest_unmoved_at"] == NOW.timestamp()
    assert gauges(DONE)["journal_oldest_unmoved_at"] == 0.0
    assert gauges(BEHIND)["store_up"] == 1.0
