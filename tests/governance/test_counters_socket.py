"""The counters' owner on its socket: asked, told, killed and back, and slow to say no."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airboss.domain.errors import Unavailable
from airboss.governance import counters_client, counters_service
from airboss.governance.counters_client import SocketCounters, merged
from airboss.governance.counters_service import _Worker, serve
from airboss.governance.counters_wire import (
    Ask,
    Given,
    Hello,
    Messages,
    Refused,
    Tell,
    framed,
    from_owners,
)
from airboss.governance.counting import Answer, Change, Denied, Grant, Want
from airboss.governance.owner import Owner
from airboss.store.state_log import StateLog

pytestmark = pytest.mark.usefixtures("patient")

ONE_CALL = Want("key/a/concurrency", "running", 1, 1)
A_REQUEST = Want("key/a/requests", "minute", 10, 1)
BUDGET = "key/a/usd/2026-11"


async def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Let the loop turn until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Owner]:
    """An owner with a state of its own, and its socket in the folder; at the end it is gone as if killed."""
    kept = StateLog(folder / "state")
    owner, stop, path = Owner(kept, now=time.time()), asyncio.Event(), folder / "sock"
    serving = asyncio.create_task(serve(owner, path, stop=stop, now=time.time))
    await until(path.exists)
    try:
        yield owner
    finally:
        stop.set()
        await serving
        kept.close()


async def worker(folder: Path, name: str = "a", held: dict[str, int] | None = None) -> SocketCounters:
    """A worker that has been welcomed."""
    counters = SocketCounters(folder / "sock", worker=name)
    await counters.start(lambda: dict(held or {}))
    assert counters.here
    return counters


async def granted(answer: Awaitable[Answer]) -> tuple[Grant, ...]:
    """What is granted; it must be."""
    found = await answer
    assert not isinstance(found, Denied), found
    return found


def run(body: Callable[[Path], Awaitable[None]], folder: Path) -> None:
    """Run the test's own coroutine, for a bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await body(folder)

    asyncio.run(bounded())


def hang_up(owner_side: SocketCounters) -> None:
    """Break the connection, as a kill of the owner does."""
    assert owner_side._line is not None
    owner_side._line.hang_up()


def test_several_workers_share_one_limit(tmp_path: Path) -> None:
    """What one has been given the others have not."""

    async def body(folder: Path) -> None:
        async with served(folder):
            workers = [await worker(folder, name) for name in "abc"]
            lefts = [(await granted(each.ask([A_REQUEST])))[0].left for each in workers]
            assert sorted(lefts) == [7, 8, 9]
            await granted(workers[0].ask([ONE_CALL]))
            assert isinstance(await workers[1].ask([A_REQUEST, ONE_CALL]), Denied)
            await workers[0].close()
            answer: Answer = Denied(0, None, 0)
            while isinstance(answer, Denied):
                answer = await workers[1].ask([ONE_CALL])
            for each in workers[1:]:
                await each.close()

    run(body, tmp_path)


def test_what_a_worker_holds_that_hangs_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says that it is there keeps it, and one that goes on says what it holds."""
    monkeypatch.setattr(counters_service, "TICK_S", 0.01)

    async def body(folder: Path) -> None:
        async with served(folder) as owner:
            hangs, lives = await worker(folder, "hangs", {"b": 1}), await worker(folder, "lives", {"a": 1})
            connections = hangs._lines
            await granted(hangs.ask([ONE_CALL]))

            def hung_up() -> bool:
                lives.tick()
                return hangs._lines > connections

            assert owner._book.holders() == {"hangs", "lives"}
            await until(hung_up)
            assert lives._lines == connections
            await until(lambda: hangs.here)
            assert await granted(lives.ask([ONE_CALL]))
            assert owner._book.holders() == {"hangs", "lives"}
            for each in (hangs, lives):
                await each.close()

    run(body, tmp_path)


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = Messages()
        self.said: list[object] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the messages."""
        self.said += [from_owners.decode(each) for each in self.messages.feed(bytes(data))]

    def is_closing(self) -> bool:
        """Never."""
        return False

    def abort(self) -> None:
        """Whoever holds the other end hears of it."""


def test_what_was_freed_first_is_heard_before_a_no(tmp_path: Path) -> None:
    """One worker's caller is answered and calls the next one at once, whose question is read first: its place
    is free all the same. Where none is freed the answer is no."""

    async def body(_: Path) -> None:
        owner, pipes = Owner(None, now=time.time()), (Pipe(), Pipe())
        first, second = (_Worker(owner, time.time, set()) for _ in pipes)
        for name, worker, pipe in zip("ab", (first, second), pipes, strict=True):
            worker.connection_made(pipe)
            worker.data_received(framed(Hello(name, {})))
        first.data_received(framed(Ask(1, (ONE_CALL,))))
        second.data_received(framed(Ask(1, (ONE_CALL,))))
        # As the loop does with what it finds when it looks at its sockets the next time.
        telling = framed(Tell(1, (Change(ONE_CALL.counter, freed=1),)))
        asyncio.get_running_loop().call_soon(first.data_received, telling)
        await until(lambda: len(pipes[1].said) == 2)
        assert isinstance(pipes[1].said[1], Given)
        first.data_received(framed(Ask(2, (ONE_CALL,))))
        await until(lambda: len(pipes[0].said) == 4)
        assert isinstance(pipes[0].said[3], Refused)

    run(body, tmp_path)


def test_without_an_owner_asking_fails_at_once_and_telling_waits(tmp_path: Path) -> None:
    """Nobody answers: 503 with a time; what is told meanwhile counts when somebody comes, each once."""

    async def body(folder: Path) -> None:
        async with served(folder):
            counters = await worker(folder)
            await granted(counters.ask([Want(BUDGET, "money", 1000, 100)]))
        await until(lambda: not counters.here)
        with pytest.raises(Unavailable) as caught:
            counters.ask([A_REQUEST])
        assert (caught.value.http_status, caught.value.code, caught.value.retry_after_s) == (
            503,
            "counters_away",
            1,
        )
        for gone_s, told_s in ((4.0, 4.0), (3600.0, 10.0)):  # who is away for long is likely to stay so
            counters._gone_at = asyncio.get_running_loop().time() - gone_s
            with pytest.raises(Unavailable) as caught:
                counters.ask([A_REQUEST])
            assert caught.value.retry_after_s == pytest.approx(told_s, abs=0.5)
        for _ in range(3):
            counters.tell([Change(BUDGET, spent=7)])
        async with served(folder):
            await until(lambda: counters.here)
            await until(lambda: not counters._unheard)
            assert (await granted(counters.ask([Want(BUDGET, "money", 1000, 0)])))[0].left == 979
            await counters.close()

    run(body, tmp_path)


def test_a_broken_line_makes_nothing_count_twice(tmp_path: Path) -> None:
    """The line breaks under a stream of tellings, again and again; the sum is right in the end."""

    async def body(folder: Path) -> None:
        async with served(folder):
            counters = await worker(folder)
            for number in range(200):
                counters.tell([Change(BUDGET, spent=1)])
                if number % 20 == 7:
                    hang_up(counters)
                if number % 20 == 13:
                    await until(lambda: counters.here)
            await until(lambda: counters.here and not counters._unheard)
            assert (await granted(counters.ask([Want(BUDGET, "money", 1000, 0)])))[0].left == 800
            await counters.close()

    run(body, tmp_path)


def test_what_is_held_is_what_the_worker_says(tmp_path: Path) -> None:
    """After a break a grant that never arrived holds nothing, and what was freed meanwhile is free."""

    async def body(folder: Path) -> None:
        held = {ONE_CALL.counter: 1}
        async with served(folder):
            counters = await worker(folder, held=held)
            other = await worker(folder, "b")
            assert isinstance(await other.ask([ONE_CALL]), Denied)
            hang_up(counters)
            held.clear()
            counters.tell([Change(ONE_CALL.counter, freed=1)])
            await until(lambda: not counters.here)
            await until(lambda: counters.here and not counters._unheard)
            await granted(other.ask([ONE_CALL]))
            assert isinstance(await counters.ask([ONE_CALL]), Denied)
            for each in (counters, other):
                await each.close()

    run(body, tmp_path)


def test_a_silent_owner_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is not answered in time fails, the next one at once; what comes late goes back."""
    monkeypatch.setattr(counters_client, "ANSWER_S", 0.2)

    async def body(folder: Path) -> None:
        async with served(folder):
            counters = await worker(folder)
            line = counters._line
            assert isinstance(line, counters_client._Line)
            line._transport.pause_reading()
            answer = counters.ask([ONE_CALL])
            while not answer.done():
                counters.tick()
                await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="did not answer within"):
                await answer
            with pytest.raises(Unavailable, match="has not answered"):
                counters.ask([ONE_CALL])
            line._transport.resume_reading()
            await until(lambda: not counters._asked and not counters._unheard)
            await granted(counters.ask([ONE_CALL]))
            await counters.close()

    run(body, tmp_path)


def test_a_stranger_is_cut_off(tmp_path: Path) -> None:
    """Bytes that are no message, and a message from who did not say hello, end that connection alone."""

    async def body(folder: Path) -> None:
        async with served(folder):
            counters = await worker(folder)
            for said in (
                b"\xff\xff\xff\xff",
                framed(Hello("x", {}))[:4] + b"\x00" * 20,
                b"\x01\x00\x00\x00\xc1",
            ):
                reader, writer = await asyncio.open_unix_connection(folder / "sock")
                writer.write(said)
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await reader.readexactly(1)
                writer.close()
            await granted(counters.ask([A_REQUEST]))
            await counters.close()

    run(body, tmp_path)


def test_messages_are_cut_where_they_end() -> None:
    """However the bytes come."""
    hello = framed(Hello("a", {"x": 1}))
    whole = list(Messages().feed(hello * 3))
    messages = Messages()
    assert [each for byte in hello * 3 for each in messages.feed(bytes([byte]))] == whole
    assert len(whole) == 3


def test_tellings_that_wait_are_made_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that is away for long costs no memory, and hears the sum."""
    monkeypatch.setattr(counters_client, "UNHEARD_MAX", 10)

    async def body(folder: Path) -> None:
        async with served(folder):
            counters = await worker(folder)
        await until(lambda: not counters.here)
        for _ in range(1000):
            counters.tell([Change(BUDGET, spent=1), Change("key/a/tokens", back=-1, slot=5)])
        assert len(counters._unheard) <= 10
        async with served(folder):
            await until(lambda: counters.here and not counters._unheard)
            assert (await granted(counters.ask([Want(BUDGET, "money", 5000, 0)])))[0].left == 4000
            await counters.close()

    run(body, tmp_path)


def test_merging_keeps_the_sums() -> None:
    """By counter and slot; of what records say, the most."""
    assert merged(
        [
            Change("a", back=1, slot=3),
            Change("a", back=2, slot=4),
            Change("a", back=-5, slot=3),
            Change("b", freed=1, spent=2, at_least=9),
            Change("b", freed=1, spent=2, at_least=4),
            Change("b", at_first=8),
            Change("c", at_first=7),
            Change("c", spent=1),
        ]
    ) == (
        Change("a", back=-4, slot=3),
        Change("a", back=2, slot=4),
        Change("b", freed=2, spent=4, at_least=9),
        Change("c", spent=1, at_first=7),
    )
