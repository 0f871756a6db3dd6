"""Limits counted in a real Valkey: as the book counts them, and through whatever happens to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.errors import SetupError, Unavailable
from airboss.governance import counters_client
from airboss.governance.counters_valkey import ValkeyCounters
from airboss.governance.counting import Answer, Book, Change, Denied, Grant, Want
from airboss.governance.windows import SLOT_S
from tests.governance.test_counters_socket import A_REQUEST, BUDGET, ONE_CALL, granted, until
from tests.support.valkey import ValkeyServer, valkey, valkey_process

pytestmark = pytest.mark.usefixtures("patient")

__all__ = ["valkey", "valkey_process"]


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run the test's own coroutine, for a bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await body()

    asyncio.run(bounded())


async def worker(server: ValkeyServer, name: str = "a", held: dict[str, int] | None = None) -> ValkeyCounters:
    """A worker that has been welcomed."""
    counters = ValkeyCounters(server.url, worker=name)
    await counters.start(lambda: dict(held or {}))
    assert counters.here
    return counters


async def settled(*workers: ValkeyCounters) -> None:
    """Wait until all that they told has been heard."""
    await until(lambda: not any(each._unheard for each in workers))


REQUESTS, CALLS, TOKENS = "key/a/requests", "key/a/concurrency", "all/tokens"


def want(which: int, need: int, *, lease: bool) -> Want:
    """One of four counters' wants."""
    if which == 0:
        return Want(REQUESTS, "minute", 300, need, lease)
    if which == 1:
        return Want(CALLS, "running", 4, 1 + need % 3, lease)
    if which == 2:
        return Want(BUDGET, "money", 10**10, need * 10**7, lease)
    return Want(TOKENS, "minute", 2_000, need, lease)


asks = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900), st.booleans()), min_size=1, max_size=3).map(
    lambda picks: [want(which, need, lease=lease) for which, need, lease in {p[0]: p for p in picks}.values()]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("ab"), asks),
        # What is told of a grant: how much of it is given back, and what was spent.
        st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(-2, 2), st.integers(0, 2)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_the_script_counts_as_the_book(valkey: ValkeyServer, steps: list[Any]) -> None:
    """Whatever two workers ask and tell, Valkey answers what the book does; only slots may differ by how long
    the answer took."""
    valkey.command("FLUSHALL")

    async def body() -> None:
        book = Book()
        workers = {name: await worker(valkey, name) for name in "ab"}
        taken: list[tuple[str, Want, Grant, Grant]] = []
        for step in steps:
            name, now = step[0], time.time()
            if len(step) == 2:
                expected = book.ask(name, step[1], now=now, workers=2)
                found = await workers[name].ask(step[1])
                if isinstance(expected, Denied) or isinstance(found, Denied):
                    same_denial(expected, found)
                    continue
                for asked, theirs, ours in zip(step[1], expected, found, strict=True):
                    assert msgspec.structs.replace(ours, slot=theirs.slot) == theirs
                    assert abs(ours.slot - theirs.slot) <= 8 + (time.time() - now) / SLOT_S
                    taken.append((name, asked, theirs, ours))
            elif taken:
                which, tenths, spent = step[1] % len(taken), step[2], step[3]
                told_by, asked, theirs, ours = taken.pop(which)
                changes = [told(asked, grant, tenths, spent) for grant in (theirs, ours)]
                book.change(told_by, changes[:1], now=now)
                workers[told_by].tell(changes[1:])
                await settled(*workers.values())
        for each in workers.values():
            await each.close()

    run(body)


def same_denial(expected: Answer, found: Answer) -> None:
    """Both said no, for the same reason; of two that are waited for as long, on two clocks, for either."""
    assert isinstance(expected, Denied), found
    assert isinstance(found, Denied), expected
    if expected.retry_after_s is None or found.retry_after_s is None:
        assert found == expected
    elif found.index == expected.index:
        assert (found.left, found.spent) == (expected.left, expected.spent)
        assert found.retry_after_s == pytest.approx(expected.retry_after_s, abs=2.0)
    else:
        assert found.retry_after_s == pytest.approx(expected.retry_after_s, abs=2 * SLOT_S)


def told(asked: Want, grant: Grant, tenths: int, spent: int) -> Change:
    """How a grant ends: with something given back, or more used than was reserved; with money, spent too."""
    if asked.kind == "minute":
        return Change(asked.counter, back=grant.amount * tenths // 2, slot=grant.slot)
    if asked.kind == "running":
        return Change(asked.counter, freed=grant.amount)
    records = 5 * 10**9 if tenths > 0 else 0
    return Change(
        asked.counter, freed=grant.amount, spent=grant.amount * spent // 2, at_least=records, at_first=tenths
    )


def stands(server: ValkeyServer, grant: Grant, of: str = TOKENS) -> bytes:
    """How much stands in the slot of a grant."""
    return server.command("HGET", f"{{airboss}}:minute:{of}", str(grant.slot)).split()[-1]


def test_a_server_that_forgets_is_told_again(valkey: ValkeyServer) -> None:
    """Started anew and empty, it hears from every worker what that holds, and nothing counts twice."""

    async def body() -> None:
        counters = await worker(valkey, "a", {CALLS: 1, BUDGET: 70})
        await granted(counters.ask([A_REQUEST]))
        await asyncio.to_thread(valkey.restart)
        await until(lambda: counters.here and not counters._lost.is_set())
        await asyncio.to_thread(valkey.command, "DEL", "{airboss}:back")
        answer = await counters.ask([ONE_CALL])
        assert isinstance(answer, Denied)
        (grant,) = await granted(counters.ask([Want(BUDGET, "money", 100, 10)]))
        assert grant.left == 20
        await counters.close()

    run(body)


def test_a_minute_is_not_given_twice_by_a_server_that_forgets(valkey: ValkeyServer) -> None:
    """What was taken before stands where it stood; nobody is given anything before others can have told."""

    async def body() -> None:
        workers = [await worker(valkey, name) for name in "ab"]
        for each in workers:
            for _ in range(4):
                (grant,) = await granted(each.ask([A_REQUEST]))
        workers[0].tell([Change(A_REQUEST.counter, back=1, slot=grant.slot)])
        await settled(*workers)
        before = stands(valkey, grant, A_REQUEST.counter)
        await asyncio.to_thread(valkey.restart)
        await until(lambda: all(each.here and not each._lost.is_set() for each in workers))
        assert stands(valkey, grant, A_REQUEST.counter) == before
        # It was marked as one that has forgotten for a second, which on a busy machine may be over.
        marked = valkey.command("EXISTS", "{airboss}:back") == b":1\r\n"
        assert marked or b"expired_keys:0\r" not in valkey.command("INFO", "stats")
        await asyncio.to_thread(valkey.command, "SET", "{airboss}:back", "1")
        with pytest.raises(Unavailable, match="has forgotten"):
            await workers[0].ask([A_REQUEST])
        await asyncio.to_thread(valkey.command, "DEL", "{airboss}:back")
        left = [(await granted(each.ask([A_REQUEST])))[0].left for each in (*workers, workers[0])]
        assert left == [2, 1, 0]
        assert isinstance(await workers[1].ask([A_REQUEST]), Denied)
        for each in workers:
            await each.close()

    run(body)


def test_money_is_not_given_twice_by_a_server_that_forgets(valkey: ValkeyServer) -> None:
    """What was spent is told by each worker as it knows it, and by the newest of them it stands; what had not
    counted counts once, besides."""

    async def body() -> None:
        workers = [await worker(valkey, name) for name in "abc"]
        money = Want(BUDGET, "money", 100, 1)
        for each in workers:
            (grant,) = await granted(each.ask([money]))
            each.tell([Change(BUDGET, freed=grant.amount, spent=20)])
            await settled(*workers)
        valkey.hang()
        workers[0].tell([Change(BUDGET, spent=5)])
        await asyncio.to_thread(valkey.restart)
        await until(lambda: all(each.here and not each._lost.is_set() for each in workers))
        await settled(*workers)
        await asyncio.to_thread(valkey.command, "DEL", "{airboss}:back")
        (grant,) = await granted(workers[1].ask([money]))
        assert grant.spent == 65
        assert isinstance(await workers[1].ask([Want(BUDGET, "money", 65, 1)]), Denied)
        for each in workers:
            await each.close()

    run(body)


def test_what_calls_gave_back_while_it_was_away_is_given_back_once(valkey: ValkeyServer) -> None:
    """Calls that end while the server is started anew use what they used, now and after the next time too."""

    async def body() -> None:
        counters = await worker(valkey)
        grants = [
            (await granted(counters.ask([Want(TOKENS, "minute", 50_000, 4_000)])))[0] for _ in range(10)
        ]
        await asyncio.to_thread(valkey.kill)
        await until(lambda: not counters.here)
        for each in grants:
            counters.tell([Change(TOKENS, back=3_900, slot=each.slot)])
        for _ in range(2):
            await asyncio.to_thread(valkey.restart)
            await until(lambda: counters.here and not counters._lost.is_set())
            await settled(counters)
            assert (
                sum(int(stands(valkey, each)) for each in {each.slot: each for each in grants}.values())
                == 1_000
            )
        await counters.close()

    run(body)


async def greeted_again(counters: ValkeyCounters, born: int) -> None:
    """As if the answer to the last greeting had been lost, and with it which life of the server that was."""
    counters.born = born
    assert counters._line is not None
    counters._line.hang_up()
    await until(lambda: counters.here and not counters._lost.is_set())


def test_what_was_taken_is_told_once_however_often_it_is_greeted(valkey: ValkeyServer) -> None:
    """Answers to greetings that are lost on their way count nothing twice, for each of the workers."""

    async def body() -> None:
        workers = [await worker(valkey, name) for name in "ab"]
        for each in workers:
            (grant,) = await granted(each.ask([Want(TOKENS, "minute", 50_000, 40)]))
        before = workers[0].born
        await asyncio.to_thread(valkey.restart)
        await until(lambda: all(each.here and not each._lost.is_set() for each in workers))
        for each in (*workers, *workers):
            await greeted_again(each, before)
        await asyncio.to_thread(valkey.command, "DEL", "{airboss}:back")
        (grant,) = await granted(workers[0].ask([Want(TOKENS, "minute", 50_000, 1)]))
        assert grant.left == 50_000 - 80 - 1
        for each in workers:
            await each.close()

    run(body)


def test_a_thousand_busy_keys_are_told_exactly(valkey: ValkeyServer) -> None:
    """A minute of a thousand keys is told in parts, on however many connections, and none counts twice."""
    keys = [f"key/{number}/tokens" for number in range(1_000)]

    async def body() -> None:
        counters = await worker(valkey)
        (grant,) = await granted(counters.ask([Want(TOKENS, "minute", 100, 1)]))
        for counter in keys:
            for slot in range(grant.slot - 150, grant.slot):
                counters.recent.given([Want(counter, "minute", 10**6, 7)], [Grant(7, slot, 0, 0)])
        await asyncio.to_thread(valkey.restart)
        await until(lambda: counters.here and not counters._lost.is_set())
        await asyncio.to_thread(valkey.command, "DEL", "{airboss}:back")
        for counter in keys[::100]:
            (grant,) = await granted(counters.ask([Want(counter, "minute", 10**6, 1)]))
            assert grant.left == 10**6 - 150 * 7 - 1
        await counters.close()

    run(body)


def test_what_counted_though_the_answer_was_lost_is_given_back_once(valkey: ValkeyServer) -> None:
    """The greeting says that it counted; a server that then forgets is told what is left."""

    async def body() -> None:
        counters = await worker(valkey)
        (grant,) = await granted(counters.ask([Want(TOKENS, "minute", 50_000, 4_000)]))
        valkey.hang()
        counters.tell([Change(TOKENS, back=3_900, slot=grant.slot)])
        assert counters._line is not None
        counters._line.hang_up()
        valkey.go_on()
        for _ in range(2):
            await until(lambda: counters.here and not counters._lost.is_set())
            await settled(counters)
            assert stands(valkey, grant) == b"100"
            await asyncio.to_thread(valkey.restart)
        await counters.close()

    run(body)


def test_a_script_that_is_gone_is_loaded_again(valkey: ValkeyServer) -> None:
    """`SCRIPT FLUSH` costs one question, and tellings are told again, each once."""

    async def body() -> None:
        counters = await worker(valkey)
        await asyncio.to_thread(valkey.command, "SCRIPT", "FLUSH")
        counters.tell([Change(BUDGET, spent=7)])
        with pytest.raises(Unavailable):
            await counters.ask([A_REQUEST])
        await until(lambda: not counters.here)
        await until(lambda: counters.here)
        await settled(counters)
        (grant,) = await granted(counters.ask([Want(BUDGET, "money", 100, 1)]))
        assert grant.left == 92
        await counters.close()

    run(body)


def test_a_silent_server_is_given_up_on(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question waits no longer than it may, the next one not at all; when there are answers, they count."""
    monkeypatch.setattr(counters_client, "ANSWER_S", 0.2)

    async def body() -> None:
        counters = await worker(valkey)
        valkey.hang()
        try:
            answer = counters.ask([ONE_CALL])
            while not answer.done():
                counters.tick()
                await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="did not answer within"):
                await answer
            with pytest.raises(Unavailable, match="has not answered"):
                counters.ask([ONE_CALL])
            assert not counters.here, "what is refused for want of an answer is not to be called well"
        finally:
            valkey.go_on()
        await until(lambda: not counters._asked)
        assert counters.here
        await settled(counters)
        await granted(counters.ask([ONE_CALL]))
        await counters.close()

    run(body)


def test_who_leaves_while_it_is_greeted_hangs_up(valkey: ValkeyServer) -> None:
    """No connection is left behind by a worker that ends before it was welcome."""

    async def body() -> None:
        counters = ValkeyCounters(valkey.url, worker="a")
        valkey.hang()
        starting = asyncio.create_task(counters.start(dict))
        await until(lambda: counters._lines)
        starting.cancel()
        await counters.close()
        valkey.go_on()
        await until(lambda: valkey.command("CLIENT", "LIST").count(b"id=") == 1, timeout_s=10.0)

    run(body)


def test_what_a_dead_worker_held_is_free_after_a_while(valkey: ValkeyServer) -> None:
    """A worker that is not heard of any more holds nothing; one that comes back says what it holds."""

    async def body() -> None:
        dead, other = await worker(valkey, "dead", {}), await worker(valkey, "other")
        await granted(dead.ask([ONE_CALL]))
        assert isinstance(await other.ask([ONE_CALL]), Denied)
        # As if it had been silent for long: the script goes by the server's own clock.
        await asyncio.to_thread(valkey.command, "ZADD", "{airboss}", "1", "dead")
        other.tick()
        await granted(other.ask([ONE_CALL]))
        with pytest.raises(Unavailable, match="said hello"):
            await dead.ask([A_REQUEST])
        await until(lambda: dead.here and not dead._asked)
        await granted(dead.ask([A_REQUEST]))
        for each in (dead, other):
            await each.close()
        await until(lambda: b":0" in valkey.command("ZCARD", "{airboss}"))

    run(body)


def test_a_minute_is_swept_by_the_servers_clock(valkey: ValkeyServer) -> None:
    """What is older than a minute counts no more; a slot never has less than nothing."""
    key, began = "{airboss}:minute:key/a/requests", time.time()
    now = int(began / SLOT_S)
    old, young = str(now - 260), str(now - 200)
    said = ("total", "9", "from", old, "newest", young, old, "3", young, "6")

    async def body() -> None:
        counters = await worker(valkey)
        await asyncio.to_thread(valkey.command, "HSET", key, *said)
        (grant,) = await granted(counters.ask([A_REQUEST]))
        assert grant.left == 3
        answer = await counters.ask([Want(A_REQUEST.counter, "minute", 10, 6)])
        assert isinstance(answer, Denied)
        assert answer.retry_after_s == pytest.approx(10.25 - (time.time() - began), abs=2.0)
        counters.tell([Change(A_REQUEST.counter, back=100, slot=int(young))])
        counters.tell([Change(A_REQUEST.counter, back=1, slot=int(young))])
        counters.tell([Change(A_REQUEST.counter, back=-2, slot=int(old))])
        (grant,) = await granted(counters.ask([A_REQUEST]))
        assert grant.left == 6
        assert old.encode() not in await asyncio.to_thread(valkey.command, "HKEYS", key)
        await asyncio.to_thread(valkey.command, "HSET", key, "newest", old)
        (grant,) = await granted(counters.ask([A_REQUEST]))
        assert grant.left == 9
        await counters.close()

    run(body)


def test_nothing_stays_behind(valkey: ValkeyServer) -> None:
    """Counters that say nothing any more go by themselves: each key has a time to live, or is empty soon."""

    async def body() -> None:
        counters = await worker(valkey)
        await granted(counters.ask([A_REQUEST, ONE_CALL]))
        counters.tell([Change(ONE_CALL.counter, freed=1)])
        await settled(counters)
        await counters.close()
        await until(lambda: b":0" in valkey.command("EXISTS", "{airboss}"))
        keys = valkey.command("KEYS", "*")
        assert keys.count(b"{airboss}") == 3, keys  # the minute, the last telling's number, and since when
        assert valkey.command("PTTL", "{airboss}:minute:key/a/requests") > b":50000"
        assert valkey.command("TTL", "{airboss}:seq:a") > b":80000"

    run(body)


def test_a_password_is_needed_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the right one it counts; a wrong one is said in the log, without it."""
    server = ValkeyServer(tmp_path, "--requirepass", "s3cret")
    at = f"127.0.0.1:{server.port}/2"

    async def body() -> None:
        counters = ValkeyCounters(f"valkey://:s3cret@{at}", worker="a")
        await counters.start(dict)
        await granted(counters.ask([A_REQUEST]))
        await counters.close()
        monkeypatch.setattr(counters_client, "ANSWER_S", 0.5)
        wrong = ValkeyCounters(f"valkey://:wr0ng@{at}", worker="a")
        await wrong.start(dict)
        assert not wrong.here
        with pytest.raises(Unavailable, match="is not there"):
            wrong.ask([A_REQUEST])
        await until(lambda: "WRONGPASS" in caplog.text)
        await wrong.close()

    try:
        run(body)
    finally:
        server.kill()
    assert "WRONGPASS" in caplog.text
    assert "wr0ng" not in caplog.text


@pytest.mark.parametrize("url", ["valkey://", "valkey://host:none", "valkey://host/zero"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    """With what it should be; the URL, which may hold a password, is not repeated."""
    with pytest.raises(SetupError, match=r"valkey://HOST:PORT/DATABASE") as refused:
        ValkeyCounters(url, worker="a")
    assert "none" not in str(refused.value).replace("is none of", "").replace("names no", "")
