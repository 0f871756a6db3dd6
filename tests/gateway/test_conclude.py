"""The end of calls that were answered in one turn of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from airboss.compose.parts import SystemClock
from airboss.domain.record import ClosedCall
from airboss.gateway import at_once
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.http1 import Connection
from airboss.gateway.intake import Intake
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.server import Server
from airboss.providers.outbox import Outbox


class Heard:
    """A connection that notes what becomes of it."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def abort(self) -> None:
        """Note it."""
        self.got.append("cut")

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Note it."""
        del headers, body
        self.got.append(str(status))

    def over(self) -> None:
        """Note it."""
        self.got.append("over")


TROUBLES = {"not given": "cut", "not recorded after all": "503", "no account of it": "500"}


@pytest.mark.parametrize(("trouble", "said"), TROUBLES.items(), ids=TROUBLES)
def test_one_that_cannot_be_given_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, trouble: str, said: str
) -> None:
    """Its client is told, or cut off, which it notices; the others of the turn get their answers. What any
    held under limits is free again."""
    heard = [Heard(), Heard(), Heard()]

    def deliver(client: Any, *_: object) -> None:
        if client is heard[1] and trouble == "not given":
            raise ValueError("a defect of ours")
        client.got.append("answer")

    recording = SimpleNamespace(lost=None)
    trying = SimpleNamespace(over=lambda *_: None)
    metrics = SimpleNamespace(in_flight=3)
    worker: Any = SimpleNamespace(
        recording=recording, executor=SimpleNamespace(trying=trying), metrics=metrics
    )

    def close_record(_worker: object, _serving: object, call: Any, *_: object, **_how: object) -> ClosedCall:
        if trouble == "no account of it" and call.number == 1:
            raise ValueError("a defect of ours")
        if trouble == "not recorded after all":
            recording.lost |= {"1"}  # as `Recording` does where its frames cannot be written
        return ClosedCall("id", "ok", 1.0, 0.1)

    monkeypatch.setattr(at_once, "deliver", deliver)
    monkeypatch.setattr(at_once, "close_record", close_record)
    monkeypatch.setattr(at_once, "attribution", lambda *_: b"")
    these: list[Any] = []
    freed: list[int] = []
    for n, each in enumerate(heard):
        dispatched: Any = Dispatched(time.perf_counter(), answer=WholeAnswer("p"))
        dispatched.begun = SimpleNamespace()
        held = SimpleNamespace(release=partial(freed.append, n))
        call, opened = SimpleNamespace(held=held, number=n), SimpleNamespace(id=str(n))
        known: Any = {"client": each, "call": call, "opened": opened, "dispatched": dispatched}
        these.append(at_once.Going(worker=worker, serving=cast("Any", None), **known))
    at_once.conclude(these)
    assert [each.got for each in heard] == [["answer", "over"], [said, "over"], ["answer", "over"]]
    assert recording.lost is None
    assert (metrics.in_flight, freed) == (0, [0, 1, 2])


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += bytes(data)

    def is_closing(self) -> bool:
        """Never."""
        return False

    def can_write_eof(self) -> bool:
        """No."""
        return False

    def get_write_buffer_size(self) -> int:
        """All is out at once."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Without."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Nothing."""
        del name
        return default


HEAD = b"HTTP/1.1\r\nhost: a\r\n"
NEXT = {
    "no HTTP": b"\x00\r\n\r\n",
    "too large": b"POST / " + HEAD + b"content-length: 9999\r\n\r\n",
    "to go on with": b"POST / " + HEAD + b"content-length: 9\r\nexpect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("bad", NEXT.values(), ids=NEXT)
def test_what_was_asked_first_is_answered_first(run: Callable[[Any], None], bad: bytes) -> None:
    """A request that comes in the turn in which the one before it is answered is told of after that."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        outbox = Outbox()

        def give(these: Any) -> None:
            for each in these:
                each.respond(200, b"", b"the first")
                each.over()

        def handler(connection: Connection, request: HttpRequest) -> None:
            del request
            outbox.later(give, connection)

        server = Server(
            handler=handler,
            error_response=lambda *_: (b"", b"the second"),
            may_send=lambda *_: None,
            body_bytes_max=1_000,
            loop=loop,
            outbox=outbox,
            intake=Intake(loop, SystemClock()),
        )
        connection, wire = Connection(server), Wire()
        connection.connection_made(wire)
        connection.data_received(b"GET / " + HEAD + b"\r\n")
        assert wire.written == b""
        connection.data_received(bad)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.written.startswith(b"HTTP/1.1 200 OK")
        assert b"the first" in wire.written
        if b"expect" in bad:
            assert wire.written.endswith(b"the firstHTTP/1.1 100 Continue\r\n\r\n")
        else:
            assert wire.written.count(b"HTTP/1.1") == wire.written.count(b"connection: close") == 1
        connection.connection_lost(None)

    run(scenario())
