"""How long a call waits for a local replica that is being restarted."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Retry
from airboss.gateway import attempts
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.dispatch import Executor
from airboss.providers.connection import ConnectFailed
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from tests.support.gateway import Gateway, deployment
from tests.support.ports import unused_port
from tests.support.wait import until

ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(ANSWER),
    ANSWER,
)


class Replica:
    """What listens at one address, now and then."""

    def __init__(self) -> None:
        self.port = unused_port()
        self.calls = 0
        self.gone = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, *, breaks: Callable[[], object] | None = None) -> None:
        """Listen; each call is answered, or `breaks` called and the call broken off, and nothing listens from
        then on."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            self.calls += 1
            if breaks is None:
                writer.write(WHOLE)
                await writer.drain()
            else:
                breaks()
                self.stop()
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", self.port)

    def stop(self) -> None:
        """Refuse connections."""
        self.gone.set()
        if self._server is not None:
            self._server.close()


@pytest.fixture
def replica() -> Replica:
    """One that does not listen yet."""
    return Replica()


class Ahead:
    """The module `time` for who measures waits, so far ahead as the test says."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def perf_counter(self) -> float:
        """As `time.perf_counter`."""
        return time.perf_counter() + self.by_s


async def pause(seconds: float) -> None:
    """Let this much time pass: what is tested is a wait."""
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, ended.set_result, None)
    await ended


async def call(replica: Replica, *, kind: str = "local") -> WholeAnswer:
    """One call, sent to the replica."""
    plan = deployment(f"http://127.0.0.1:{replica.port}", kind=kind, retry=Retry(attempts=2))
    executor = Executor(Pools(Outbox()), rng=random.Random(1))
    try:
        found: Any = await executor.run(
            Dispatched(started=time.perf_counter()),
            Route(
                deployment=plan,
                operation="chat",
                stream=False,
                trace=None,
                secret=lambda _ref: None,
                cleaned=str,
                asked=Asked(target=plan.target, body=b"{}", new_answer=lambda _: WholeAnswer("p")),
            ),
        )
    finally:
        executor.close()
    assert isinstance(found, WholeAnswer)
    return found


def test_the_wait_begins_when_the_replica_goes(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was long under way when its replica died waits as long for the next one as any other."""
    clock = Ahead()
    monkeypatch.setattr(attempts, "time", clock)

    def long_after() -> None:
        clock.by_s = 2 * attempts.RESTART_WAIT_S

    async def scenario() -> None:
        await replica.start(breaks=long_after)
        asked = asyncio.create_task(call(replica))
        await replica.gone.wait()
        await pause(0.1)
        assert not asked.done()
        await replica.start()
        assert (await asked).content == ANSWER
        assert replica.calls == 2
        replica.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(("kind", "wait_s"), [("local", 1.0), ("openai-compatible", 30.0)])
def test_the_wait_ends(replica: Replica, monkeypatch: pytest.MonkeyPatch, kind: str, wait_s: float) -> None:
    """A replica that does not come back is told of after the wait; a hosted provider is not waited for."""
    monkeypatch.setattr(attempts, "RESTART_WAIT_S", wait_s)
    began = time.perf_counter()
    with pytest.raises(ConnectFailed):
        asyncio.run(call(replica, kind=kind))
    assert (time.perf_counter() - began >= wait_s) == (kind == "local")


def test_waiting_uses_up_no_attempt(replica: Replica) -> None:
    """Only what reached an engine is an attempt: after a long wait a call still has all of its two."""

    async def scenario() -> None:
        asked = asyncio.create_task(call(replica))
        await pause(0.5)
        await replica.start(breaks=lambda: None)
        await replica.gone.wait()
        await pause(0.2)
        assert replica.calls == 1
        await replica.start()
        assert (await asked).content == ANSWER
        replica.stop()

    asyncio.run(scenario())


def test_a_gateway_that_stops_waits_for_no_replica(replica: Replica, tmp_path: Path) -> None:
    """Whoever would start one again is stopping too, or gone, and the next Airboss waits for our end."""
    plan = deployment(f"http://127.0.0.1:{replica.port}/v1", kind="local")
    with Gateway(tmp_path / "gateway", plan, forked=False) as gateway, ThreadPoolExecutor() as clients:
        asked = clients.submit(gateway.chat)
        until(lambda: len(gateway.frames()[0]) == 1)
        gateway.process.send_signal(signal.SIGTERM)
        began = time.perf_counter()
        assert asked.result().status_code == 502
        assert gateway.process.wait(60) == 0
        assert time.perf_counter() - began < attempts.RESTART_WAIT_S * 2 / 3
