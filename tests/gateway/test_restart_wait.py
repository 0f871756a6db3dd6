"""How long a call waits for a local replica that is being restarted."""

from __future__ import annotations

import asyncio
import random
import signal
import time
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
from airboss.providers.connection import ConnectFailed, Pools
from airboss.providers.outbox import Outbox
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

    async def start(self, *, breaks_after_s: float | None = None) -> None:
        """Listen; each call is answered, or broken off after so long, and nothing listens from then on."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            self.calls += 1
            if breaks_after_s is None:
                writer.write(WHOLE)
                await writer.drain()
            else:
                await pause(breaks_after_s)
                self.stop()
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", self.port)

    def stop(self) -> None:
        """Refuse connections."""
        self.gone.set()
        if self._server is not None:
            self._server.close()


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
                asked=Asked(target=plan.target, body=b"{}", new_answer=lambda _: WholeAnswer("p")),
            ),
        )
    finally:
        executor.close()
    assert isinstance(found, WholeAnswer)
    return found


def test_the_wait_begins_when_the_replica_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was long under way when its replica died waits as long for the next one as any other."""
    monkeypatch.setattr(attempts, "RESTART_WAIT_S", 2.0)

    async def scenario() -> None:
        replica = Replica()
        await replica.start(breaks_after_s=2.1)
        asked = asyncio.create_task(call(replica))
        await replica.gone.wait()
        await pause(0.1)
        assert not asked.done()
        await replica.start()
        assert (await asked).content == ANSWER
        assert replica.calls == 2
        replica.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "least_s", "most_s"), [("local", 1.0, 10.0), ("openai-compatible", 0.0, 0.9)]
)
def test_the_wait_ends(monkeypatch: pytest.MonkeyPatch, kind: str, least_s: float, most_s: float) -> None:
    """A replica that does not come back is told of after the wait; a hosted provider is not waited for."""
    monkeypatch.setattr(attempts, "RESTART_WAIT_S", 1.0)
    began = time.perf_counter()
    with pytest.raises(ConnectFailed):
        asyncio.run(call(Replica(), kind=kind))
    assert least_s < time.perf_counter() - began < most_s


def test_waiting_uses_up_no_attempt() -> None:
    """Only what reached an engine is an attempt: after a long wait a call still has all of its two."""

    async def scenario() -> None:
        replica = Replica()
        asked = asyncio.create_task(call(replica))
        await pause(0.5)
        await replica.start(breaks_after_s=0.0)
        await replica.gone.wait()
        await pause(0.2)
        assert replica.calls == 1
        await replica.start()
        assert (await asked).content == ANSWER
        replica.stop()

    asyncio.run(scenario())


def test_a_gateway_that_stops_waits_for_no_replica(tmp_path: Path) -> None:
    """Whoever would start one again is stopping too, or gone, and the next Airboss waits for our end."""
    plan = deployment(f"http://127.0.0.1:{Replica().port}/v1", kind="local")
    with Gateway(tmp_path / "gateway", plan) as gateway, ThreadPoolExecutor() as clients:
        asked = clients.submit(gateway.chat)
        until(lambda: len(gateway.frames()[0]) == 1)
        gateway.process.send_signal(signal.SIGTERM)
        began = time.perf_counter()
        assert asked.result().status_code == 502
        assert gateway.process.wait(20) == 0
        assert time.perf_counter() - began < attempts.RESTART_WAIT_S / 3
