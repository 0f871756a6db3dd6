"""What a stop may cut off: nothing that a client has yet to take."""

from __future__ import annotations

import asyncio
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx2
import uvloop

from airboss.gateway.server import unsent
from airboss.testing import FakeProvider
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.wait import until

SAID = 60_000
LONG = 'fake:{"words": 2000, "tokens_per_s": 50}'
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": LONG}]}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "event: error": ("/v1/messages", CHAT | {"stream": True, "max_tokens": 4000}),
    "response.failed": ("/v1/responses", {"model": "gpt-4o", "input": LONG, "stream": True}),
    'data: {"error"': ("/v1/chat/completions", CHAT | {"stream": True}),
    '{"error"': ("/v1/chat/completions", CHAT),
}
"""Each with how its error begins."""


def test_what_a_client_has_not_taken_is_unsent() -> None:
    """Also where the transport has given all of it to the kernel, which holds it for a client that does not
    read; then nothing, once it has."""

    async def test() -> None:
        written: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

        class Answers(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                told = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's
                told.write(b"x" * SAID)
                written.set_result(told)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answers, "127.0.0.1", 0)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            transport = await written
            assert transport.get_write_buffer_size() == 0, "the kernel has it"
            assert unsent(transport)
            left = SAID
            while left:
                left -= len(await loop.sock_recv(client, SAID))
            await loop.run_in_executor(None, until, lambda: not unsent(transport))
            transport.abort()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


def test_what_takes_longer_than_a_stop_waits_ends_with_an_error(
    provider: FakeProvider, own_root: Path
) -> None:
    """In its client's dialect, though others might go on with it, and its record says the same; also where
    it takes long to get ready to count what was used."""
    other = deployment(provider.url, continuation="on").target
    plan = deployment(provider.url, continuation="on", fallbacks=(other,), price=PRICE)
    with (
        Gateway(own_root, plan, options=("--set=gateway.serve:DRAIN_S=0.5", "--slow-count")) as gateway,
        ThreadPoolExecutor() as clients,
    ):

        def call(path: str, body: dict[str, Any]) -> httpx2.Response:
            with gateway.client() as client:
                return client.post(path, json=body)

        asked = {begins: clients.submit(call, *each) for begins, each in CALLS.items()}
        until(lambda: provider.stats().in_flight == len(CALLS))
        gateway.process.send_signal(signal.SIGTERM)
        for begins, each in asked.items():
            answer = each.result()
            assert begins in answer.text
            assert "this gateway stops" in answer.text
            assert "[DONE]" not in answer.text
            assert answer.status_code == (503 if begins.startswith("{") else 200)
        assert gateway.process.wait(60) == 0
        assert provider.stats().requests == len(CALLS)
        opened, closed = gateway.frames()
        assert len(opened) == len(CALLS)
        assert {(each["status"], each["error_type"]) for each in closed.values()} == {("error", "stopping")}
