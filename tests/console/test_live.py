"""Live pages: news reach every open page, from one watcher, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta

import pytest

from airboss.console import live
from airboss.console.live import CLIENTS_MAX, Live
from airboss.domain.errors import StoreUnavailable, Unavailable
from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample


class Newest:
    """Answers as told, and counts how often it is asked."""

    def __init__(self) -> None:
        self.value: str | None = "a"
        self.asked = asyncio.Semaphore(0)
        self.fails = False

    async def __call__(self) -> str | None:
        """As `Live` asks."""
        self.asked.release()
        if self.fails:
            raise StoreUnavailable("gone")
        return self.value


async def always() -> bool:
    """Whoever listens may go on."""
    return True


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine; ten seconds are more than any needs."""
    asyncio.run(asyncio.wait_for(test(), 60))


async def first(stream: AsyncIterator[bytes]) -> None:
    """Take what opens a stream."""
    assert await anext(stream) == b"retry: 3000\n\n"


async def told(stream: AsyncIterator[bytes]) -> bytes:
    """The next event, past comments."""
    async for part in stream:
        if part.startswith(b"event:"):
            return part
    raise AssertionError("the stream ended")


async def close(*streams: AsyncIterator[bytes]) -> None:
    """Close streams as a client that goes away does."""
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]


async def watched(newest: Newest, times: int) -> None:
    """Wait until the log was asked so many times more."""
    for _ in range(times):
        await newest.asked.acquire()


def test_a_new_record_is_told_to_every_page() -> None:
    """Two pages hear of a new record; where they stand at the beginning is no news."""

    async def test() -> None:
        newest = Newest()
        hub = Live(newest, every_s=0.001)
        streams = [hub.stream(always), hub.stream(always)]
        for stream in streams:
            await first(stream)
        heard = [asyncio.create_task(told(stream)) for stream in streams]
        await watched(newest, 3)
        assert not any(task.done() for task in heard)
        newest.value = "b"
        for task in heard:
            assert await task == b'event: changed\ndata: {"newest":"b","store_up":true}\n\n'
        await close(*streams)

    run(test)


def test_a_store_that_goes_away_is_told() -> None:
    """The page hears that the store is down, and when it is back."""

    async def test() -> None:
        newest = Newest()
        hub = Live(newest, every_s=0.001)
        stream = hub.stream(always)
        await first(stream)
        heard = asyncio.create_task(told(stream))
        await watched(newest, 2)
        newest.fails = True
        assert b'"store_up":false' in await heard
        newest.fails = False
        assert b'"store_up":true' in await told(stream)
        await close(stream)

    run(test)


def test_nobody_listening_asks_nothing() -> None:
    """The watcher ends with the last page."""

    async def test() -> None:
        newest = Newest()
        hub = Live(newest, every_s=0.001)
        stream = hub.stream(always)
        await first(stream)
        await watched(newest, 2)
        watcher = hub._watcher
        assert watcher is not None
        await close(stream)
        await asyncio.wait({watcher})
        assert watcher.cancelled()
        assert hub.clients == 0

    run(test)


def test_pages_are_bounded() -> None:
    """One page more than may be live is refused; a place is free again when one closes."""

    async def test() -> None:
        hub = Live(Newest(), every_s=0.001)
        streams = [hub.stream(always) for _ in range(CLIENTS_MAX)]
        for stream in streams:
            await first(stream)
        with pytest.raises(Unavailable):
            hub.stream(always)
        await close(streams.pop())
        streams.append(hub.stream(always))
        await first(streams[-1])
        await close(*streams)

    run(test)


def test_closing_ends_every_stream() -> None:
    """The server need not wait for open pages; nobody new is let in."""

    async def test() -> None:
        newest = Newest()
        hub = Live(newest, every_s=0.001)
        stream = hub.stream(always)
        await first(stream)
        rest = asyncio.create_task(told(stream))
        await watched(newest, 2)
        hub.close()
        with pytest.raises(AssertionError, match="the stream ended"):
            await rest
        assert hub.clients == 0
        with pytest.raises(Unavailable):
            hub.stream(always)

    run(test)


def test_silence_is_broken_and_streams_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment keeps the connection; after its lifetime a stream ends, and the browser comes again."""
    monkeypatch.setattr(live, "BEAT_S", 0.001)

    async def test() -> None:
        stream = Live(Newest(), every_s=0.001).stream(always)
        await first(stream)
        assert await anext(stream) == b": still here\n\n"
        await close(stream)
        monkeypatch.setattr(live, "LIFETIME_S", 0.05)
        _, *beats = [part async for part in Live(Newest(), every_s=0.001).stream(always)]
        assert set(beats) <= {b": still here\n\n"}  # there are none where the loop is held up for all of it

    run(test)


def test_what_is_ahead_of_our_clock_hides_nothing_new() -> None:
    """A span may tell of a call that is yet to come: pages hear of those that came meanwhile all the same."""
    log = MemoryRecordLog()
    ahead, new = NOW + timedelta(minutes=20), NOW - timedelta(minutes=1)
    put(log, sample(id="ahead", started_at=ahead), sample(id="new", started_at=new))
    assert asyncio.run(Site(log=log).app().state.live._newest()) == "new"
