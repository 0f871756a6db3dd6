"""A client that leaves within a few turns of the loop of when its request is to be sent upstream."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import uvloop

from airboss.domain.errors import UpstreamTimeout
from airboss.domain.plan import Target
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.billing import bill
from airboss.gateway.dispatch import Executor
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
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
    asked = Asked(target=plan.target, body=BODY, new_answer=lambda target: WholeAnswer(target.provider))
    route = Route(
        deployment=plan,
        operation="chat",
        stream=False,
        trace=None,
        secret=lambda _: None,
        cleaned=str,
        asked=asked,
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


@pytest.mark.parametrize("how", ["left", "failed"])
def test_a_call_has_ended_when_its_connection_is_closed(how: str) -> None:
    """So that nobody is given its place under a limit, and asks the upstream, while that still serves it."""

    async def call() -> int:
        """How many connections upstream were open the moment the call had ended."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()

        class Upstream(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                del data
                heard.set()

        server = await loop.create_server(Upstream, "127.0.0.1", 0)
        plan = deployment(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        executor = Executor(Pools(Outbox()), rng=random.Random(1))
        answers: list[WholeAnswer] = []

        def answer(target: Target) -> WholeAnswer:
            answers.append(WholeAnswer(target.provider))
            return answers[-1]

        asked = Asked(target=plan.target, body=BODY, new_answer=answer)
        route = Route(
            deployment=plan,
            operation="chat",
            stream=False,
            trace=None,
            secret=lambda _: None,
            cleaned=str,
            asked=asked,
        )
        dispatched = Dispatched(started=time.perf_counter())

        async def run() -> int:
            with pytest.raises((asyncio.CancelledError, UpstreamTimeout)):
                await executor.run(dispatched, route)
            return executor.places.of(plan.target)[0].pool.in_use

        task = asyncio.create_task(run())
        await heard.wait()
        if how == "left":
            task.cancel()
        else:
            answers[0].fail(UpstreamTimeout("too slow"))
        open_then = await task
        assert [tried.sent for tried in dispatched.tries] == [True]
        server.close()
        return open_then

    assert uvloop.run(call()) == 0
