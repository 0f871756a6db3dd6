"""What a process does beside its main work: until it is told to stop, and never broken in silence."""

from __future__ import annotations

import asyncio
import threading

import pytest

from airboss.compose import threads
from airboss.compose.threads import Work, at_work, in_a_loop
from tests.support.wait import until


def waiting(seen: list[str]) -> Work:
    """Work that notes when it has been told to stop."""

    def work(stop: threading.Event) -> None:
        stop.wait(60)
        seen.append("stopped")

    return work


async def broken() -> None:
    """Work that a defect ends."""
    raise ValueError("a defect")


async def endless() -> None:
    """Work that goes on until it is cancelled."""
    await asyncio.Event().wait()


def test_all_are_told_to_stop_and_waited_for() -> None:
    """At the end of the block each has ended, whether it waits or runs an event loop."""
    seen: list[str] = []
    works = {"one": waiting(seen), "two": waiting(seen), "loop": in_a_loop(endless)}
    with at_work(works, broke=lambda: seen.append("broke")):
        assert {"one", "two", "loop"} <= {thread.name for thread in threading.enumerate()}
    assert seen == ["stopped", "stopped"]
    assert not {"one", "two", "loop"} & {thread.name for thread in threading.enumerate()}


def test_what_hangs_is_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A process ends though one of its works waits for a database that hangs; the others have ended."""
    monkeypatch.setattr(threads, "ENDS_S", 0.2)
    answers, answered, seen = threading.Event(), threading.Event(), list[str]()

    def hangs(_stop: threading.Event) -> None:
        answers.wait(60)
        answered.set()

    with at_work({"hangs": hangs, "other": waiting(seen)}, broke=lambda: seen.append("broke")):
        pass
    until(lambda: seen == ["stopped"])
    assert not answered.is_set()
    assert "hangs has not ended" in caplog.text
    answers.set()
    assert answered.wait(60)


@pytest.mark.parametrize("work", [in_a_loop(broken), lambda _stop: 1 / 0], ids=["in a loop", "plain"])
def test_what_breaks_is_told(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """At once, by its name, while the others go on."""
    broke = threading.Event()
    seen: list[str] = []
    with at_work({"sums": work, "other": waiting(seen)}, broke=broke.set):
        assert broke.wait(60)
        assert seen == []
    assert seen == ["stopped"]
    assert "sums ended by a defect" in caplog.text
