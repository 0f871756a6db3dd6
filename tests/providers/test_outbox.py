"""Writes are held to the end of a turn of the loop, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from airboss.domain.errors import ApiError, Unavailable
from airboss.providers.outbox import HELD_MAX, LONG_BYTES, Outbox, Pieces, behind


class Sink(asyncio.Transport):
    """A transport that keeps what is written; `log` is shared by several, so that their order shows."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name = name
        self.log = log
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.log.append(f"{self.name}:{bytes(data).decode()}")

    def is_closing(self) -> bool:
        """Whether it was closed or aborted."""
        return self.closing

    def close(self) -> None:
        """Say so."""
        self.closing = True
        self.log.append(f"{self.name} closes")

    def abort(self) -> None:
        """Without a word."""
        self.closing = True


def run(scene: Callable[[Outbox, list[str]], Awaitable[None]]) -> list[str]:
    """What was written in a scene that has a loop of its own."""
    log: list[str] = []

    async def played() -> None:
        await scene(Outbox(), log)

    asyncio.run(played())
    return log


def test_writes_wait_for_the_end_of_the_turn_and_keep_their_order() -> None:
    """Nothing is written within the turn; then all of it is, in the order it came in."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        a, b = Sink("a", log), Sink("b", log)
        outbox.write(a, b"1")
        outbox.write(b, b"2")
        outbox.write(a, b"3")
        assert log == []
        await asyncio.sleep(0)
        assert log == ["a:1", "b:2", "a:3"]
        outbox.write(a, b"4")
        await asyncio.sleep(0)

    assert run(scene) == ["a:1", "b:2", "a:3", "a:4"]


def test_pieces_are_written_as_one() -> None:
    """In their order among others; a long body is not joined to its head, a short one is."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        sink = Sink("a", log)
        outbox.write(sink, b"1")
        long = behind(b"2", b"3" * LONG_BYTES)
        assert isinstance(long, Pieces)
        assert (len(long), bytes(long)) == (LONG_BYTES + 1, b"2" + b"3" * LONG_BYTES)
        assert behind(b"2", b"3") == b"23"
        outbox.write(sink, behind(b"2", Pieces((b"3", memoryview(b"4")))))
        outbox.write(sink, b"5")
        await asyncio.sleep(0)

    assert run(scene) == ["a:1", "a:234", "a:5"]


def test_no_more_than_so_many_are_held() -> None:
    """A turn that writes much does not hold all of it."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        sink = Sink("a", log)
        for _ in range(HELD_MAX + 1):
            outbox.write(sink, b"x")
        assert len(log) == HELD_MAX
        await asyncio.sleep(0)

    assert len(run(scene)) == HELD_MAX + 1


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_closing_writes_first_and_aborting_does_not(ending: str) -> None:
    """What is held for a transport goes out before it is closed, and is dropped when it is aborted."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        gone, other = Sink("a", log), Sink("b", log)
        outbox.write(gone, b"1")
        outbox.write(other, b"2")
        if ending == "close":
            outbox.close(gone)
        else:
            gone.abort()
        await asyncio.sleep(0)

    expected = {"close": ["a:1", "b:2", "a closes"], "abort": ["b:2"]}
    assert run(scene) == expected[ending]


def test_what_comes_first_is_asked_before_anything_is_written() -> None:
    """Where it says why not, who wrote is told and closes the transport, or it is aborted; what is written
    later is asked about anew."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        answers = [Unavailable("the disk is full"), None]

        def before() -> ApiError | None:
            log.append("asked")
            return answers.pop(0)

        outbox.before = before
        cut, told, kept = Sink("a", log), Sink("t", log), Sink("b", log)
        outbox.write(cut, b"1")
        outbox.write(told, b"1", lambda error: log.append(error.message))
        await asyncio.sleep(0)
        assert (cut.closing, told.closing) == (True, False)
        outbox.write(kept, b"2")
        await asyncio.sleep(0)
        assert not kept.closing

    assert run(scene) == ["asked", "the disk is full", "asked", "b:2"]


def test_a_turn_may_be_ended_without_a_write() -> None:
    """Whoever has something to be done before the turn's end says so, and it is done once."""

    async def scene(outbox: Outbox, log: list[str]) -> None:
        def before() -> None:
            log.append("asked")

        outbox.before = before
        outbox.soon()
        outbox.soon()
        await asyncio.sleep(0)

    assert run(scene) == ["asked"]
