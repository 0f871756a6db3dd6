"""A client that leaves within a few turns of the loop of when its request is to be sent upstream."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import uvloop

from airboss.domain.plan import Target
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.billing import bill
from airboss.gateway.dispatch import Asked, Executor, Route
from airboss.providers.connection import Pools
from airboss.providers.outbox import Outbox
from tests.support.gateway import PRICE, deployment

BODY = b'{"model":"up","messages":[{"role":"user","content":"What does it cost to leave at once?"}]}'


async def left(turns: int, *, kept: bool) -> tuple[int, Dispatched, Target]:
    """How many bytes the upstream had of a call that was cancelled after so many turns, on a connection that
    was `kept` or a new one; and the call."""
    heard = bytearray()
    lost = asyncio.Event()

    class Upstream(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            heard.extend(data)

        def connection_lost(self, exc: Exception | None) -> None:
            del exc
            lost.set()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = deployment(f"http://127.0.0.1:{port}/v1", price=PRICE)
    executor = Executor(Pools(Outbox()), rng=random.Random(1))
    if kept:
        pool = executor.places.of(plan.target)[0].pool
        pool.give_back(await pool.connect(5.0))
    asked = Asked(target=plan.target, body=BODY, new_answer=lambda target: WholeAnswer(target.provider, loop))
    route = Route(
        deployment=plan, operation="chat", stream=False, trace=None, secret=lambda _: None, asked=asked
    )
    dispatched = Dispatched(started=time.perf_counter())

    async def call() -> None:
        await executor.run(dispatched, route)

    task = asyncio.create_task(call())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if dispatched.tries[0].sent:
        await lost.wait()
    else:
        for _ in range(100):
            await asyncio.sleep(0)
    server.close()
    return len(heard), dispatched, plan.target


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
def test_a_prompt_is_charged_where_it_was_sent(kept: bool) -> None:
    """And only there: what was to be sent and was not has cost nothing."""
    sent = set()
    for turns in (*range(1, 12), 40):
        heard, dispatched, target = uvloop.run(left(turns, kept=kept))
        _, used, cost = bill(dispatched, target)
        assert [tried.sent for tried in dispatched.tries] == [heard > 0], turns
        assert (used.input_tokens > 0) == (heard > 0)
        assert cost is not None
        assert (cost > 0) == (heard > 0)
        sent.add(heard > 0)
    assert sent == ({True} if kept else {True, False})
