"""What a stop may cut off: nothing that a client has yet to take."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import uvloop

from airboss.gateway.server import unsent
from tests.support.wait import until

SAID = 60_000


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
