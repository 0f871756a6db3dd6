"""Streams that end by the hundred keep nobody else waiting while what they used is counted."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import msgspec

from airboss.gateway.turns import SHARE_S, Share, Spaced, apart
from airboss.telemetry.metrics import Counts
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.wait import until

STREAMS = 150
LONG = 12


def test_heaped_work_has_a_share_of_each_turn() -> None:
    """It goes on in the next one, in its order; where there is little none waits."""
    now = 0.0
    done: list[int] = []

    async def work(share: Share, number: int) -> None:
        nonlocal now
        await share.mine()
        now += 0.4 * SHARE_S
        done.append(number)

    async def body() -> None:
        share = Share(lambda: now)
        tasks = [asyncio.create_task(work(share, number)) for number in range(10)]
        for turn in (3, 6, 9, 10):
            await asyncio.sleep(0)
            assert done == list(range(turn))
        await asyncio.gather(*tasks)
        await work(share, 10)
        assert done == list(range(11))

    asyncio.run(body())


def leave(gateway: Gateway, streams: int) -> None:
    """A client begins so many streams, with long prompts, and is gone."""
    messages = [
        {"role": "system", "content": "some words of a prompt " * 700},
        {"role": "user", "content": 'fake:{"words": 500, "tokens_per_s": 5}'},
    ]
    body = json.dumps({"model": "assistant", "stream": True, "messages": messages}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n"
    with ExitStack() as opened:
        lines = [
            opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            for _ in range(streams)
        ]
        for line in lines:
            line.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        for line in lines:
            assert line.recv(65_536).startswith(b"HTTP/1.1 200")


def ends(gateway: Gateway) -> list[str]:
    """How the calls ended that are recorded."""
    return [each["status"] for each in gateway.frames()[1].values()]


def test_a_client_that_leaves_with_all_its_streams_holds_up_nobody(
    own_root: Path, provider: FakeProvider
) -> None:
    """Somebody else is answered while their ends are recorded; a stop waits until each is."""
    with Gateway(own_root, deployment(provider.url)) as mine, mine.client() as other:
        leave(mine, 1)
        until(lambda: ends(mine))  # by now it has read how words are counted
        left, counted = 1, STREAMS
        for _ in range(3):  # this process may stand still while the gateway goes on counting
            if counted >= STREAMS / 2:
                until(lambda left=left: len(ends(mine)) == left)  # type: ignore[misc]
                leave(mine, STREAMS)
                assert other.get(f"{mine.url}/healthz").status_code == 200
                counted, left = len(ends(mine)) - left, left + STREAMS
        assert counted < STREAMS / 2, f"{counted} calls were counted before anybody else was heard"
        leave(mine, STREAMS)
        assert mine.stop() == 0
        assert ends(mine) == ["cancelled"] * (left + STREAMS)
    counts = msgspec.json.decode((own_root / "metrics" / "gateway-0.json").read_bytes(), type=Counts)
    assert sum(sum(each.duration.counts) for each in counts.series) == left + STREAMS


SCENE = """
import select, threading, time
from airboss.gateway.serve import settle

def steps():
    # As a loop's: each asks the system for something, and waits for its turn after that.
    done, until = 0, time.monotonic() + 0.3
    while time.monotonic() < until:
        select.select([], [], [], 0.0001)
        done += 1
    return done

def read():
    while not over:
        sum(range(1000))

over = False
reading = threading.Thread(target=read)
reading.start()
before = sorted(steps() for _ in range(5))
settle()
after = sorted(steps() for _ in range(5))
print(before[2], after[2])  # of which the machine may have stopped one or another
over = True
reading.join()
"""


def test_who_reads_in_a_thread_lets_calls_go_on() -> None:
    """A loop takes several times as many steps beside a busy thread as Python would let it."""
    for _ in range(4):  # others that want the machine's cores may keep it from that in one of them
        done = subprocess.run(
            [sys.executable, "-c", SCENE], capture_output=True, text=True, check=True, timeout=60
        )
        before, after = map(int, done.stdout.split())
        if after > 2 * before:
            break
    assert after > 2 * before


def test_after_long_work_the_loop_is_the_others() -> None:
    """One after another, in their order, and for as long as each took none begins."""
    now = 0.0
    done: list[int] = []

    async def work(spaced: Spaced, number: int) -> None:
        nonlocal now
        await spaced.mine()
        now += 3 * SHARE_S
        done.append(number)

    async def body() -> None:
        spaced, loop = Spaced(lambda: now), asyncio.get_running_loop()
        began = loop.time()
        tasks = [asyncio.create_task(work(spaced, number)) for number in range(3)]
        for _ in range(9):
            await asyncio.sleep(0)
        assert done == [0]
        await asyncio.gather(*tasks)
        assert done == [0, 1, 2]
        assert loop.time() - began >= 5 * SHARE_S

    asyncio.run(body())


def test_what_was_begun_in_a_thread_is_waited_for() -> None:
    """Whoever asked for it has left: until it is over nobody else begins, and who left waiting never does."""
    done: list[str] = []
    over = threading.Event()

    async def body() -> None:
        gate, begun = asyncio.Semaphore(1), threading.Event()

        def long() -> None:
            begun.set()
            over.wait(30.0)
            done.append("long")

        first = asyncio.create_task(apart(gate, long))
        left = asyncio.create_task(apart(gate, lambda: done.append("left")))
        stayed = asyncio.create_task(apart(gate, lambda: done.append("next")))
        await asyncio.to_thread(begun.wait, 30.0)
        first.cancel()
        left.cancel()
        await asyncio.wait([left])
        assert done == []
        assert not first.done()
        over.set()
        await stayed
        assert first.cancelled()

    asyncio.run(body())
    assert done == ["long", "next"]


def test_long_bodies_that_come_together_hold_up_nobody(own_root: Path, provider: FakeProvider) -> None:
    """Each takes a while to read; between them somebody else is served, several times over."""
    many = [{"role": "user", "content": "x"}] * 100_000
    body = json.dumps({"model": "assistant", "messages": many}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n"
    with Gateway(own_root, deployment(provider.url)) as mine, mine.client() as other, ExitStack() as opened:
        lines = [
            opened.enter_context(socket.create_connection(("127.0.0.1", mine.port))) for _ in range(LONG)
        ]
        for line in lines:
            line.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body[:-1])
        small = {"model": "assistant", "messages": many[:1]}
        assert other.post("/v1/chat/completions", json=small).status_code == 200
        for line in lines:
            line.sendall(body[-1:])
        served = 0
        while len(select.select(lines, [], [], 0)[0]) < LONG:
            assert other.post("/v1/chat/completions", json=small).status_code == 200
            served += 1
        assert served >= LONG, served
