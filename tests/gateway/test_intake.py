"""Requests of one turn, taken in together."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from airboss.gateway.intake import Waiting
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway

RUNS: dict[str, Callable[[Any], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_task_waits_again_and_again(run: Callable[[Any], Any]) -> None:
    """And is itself while it goes on: what is of a task (timeouts, cancelling) works there."""
    seen: list[int] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        waiting = Waiting(loop)

        async def work() -> None:
            for n in range(3):
                loop.call_soon(waiting.over)
                await waiting
                assert asyncio.current_task() is task
                async with asyncio.timeout(5):
                    await asyncio.sleep(0)
                seen.append(n)

        task = asyncio.create_task(work())
        await task

    run(asyncio.wait_for(scenario(), 5))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("also", [False, True], ids=["cancelled", "and resumed in the same turn"])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_task_that_waits_is_cancelled(run: Callable[[Any], Any], also: bool) -> None:
    """Once: whether it was to be resumed just then or not."""

    async def scenario() -> None:
        waiting = Waiting(asyncio.get_running_loop())

        async def work() -> None:
            await waiting

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if also:
            asyncio.get_running_loop().call_soon(waiting.over)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(asyncio.wait_for(scenario(), 5))


def test_many_requests_of_one_turn(gateway: Gateway, provider: FakeProvider) -> None:
    """Good and bad ones, on connections that are kept, each get their own answer, in every round."""
    head = f"host: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    raws = [socket.create_connection(("127.0.0.1", gateway.port), timeout=10) for _ in range(40)]
    try:
        for turn in range(3):
            for n, raw in enumerate(raws):
                wanted = json.dumps({"text": f"answer {turn}-{n}"})
                said = {"role": "user", "content": f"fake:{wanted}"}
                body = json.dumps({"model": "gpt-4o", "messages": [said]})
                if n % 4 == 3:
                    body = body[:-1] + ', "n": 0}' if n % 8 == 3 else body[:-1]
                line = f"POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n"
                raw.sendall((line + body).encode())
            for n, raw in enumerate(raws):
                got = b""
                while b"}" not in got or not got.endswith(b"}"):
                    got += raw.recv(65536)
                if n % 4 == 3:
                    assert got.startswith(b"HTTP/1.1 400"), got
                else:
                    assert f'answer {turn}-{n}"'.encode() in got, got
    finally:
        for raw in raws:
            raw.close()
    assert provider.stats().requests == 3 * 30
