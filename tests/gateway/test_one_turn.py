"""What goes wrong with one call of a turn of the loop is nothing to the others of that turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from airboss.compose.parts import SystemClock
from airboss.domain.errors import Unavailable
from airboss.domain.plan import Limits
from airboss.gateway import at_once
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.client_bounds import BODY_GRACE_S
from airboss.gateway.http1 import Connection
from airboss.gateway.intake import Intake
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.server import Server
from airboss.providers.outbox import Outbox
from airboss.testing import FakeProvider
from tests.gateway.test_conclude import HEAD, Heard, Wire
from tests.support.gateway import Gateway, deployment


class Closed(Wire):
    """A transport as uvloop's is when it is closed."""

    def is_closing(self) -> bool:
        """It is."""
        return True

    def can_write_eof(self) -> bool:
        """As any socket's."""
        return True

    def write_eof(self) -> None:
        """As uvloop does."""
        raise RuntimeError("unable to perform operation; the handler is closed")


Handler = Callable[[Connection, HttpRequest], None]


def connected(handler: Handler, wire: Wire) -> Connection:
    """A connection of a client, whose requests `handler` answers."""
    loop = asyncio.get_running_loop()
    server = Server(
        handler=handler,
        error_response=lambda *_: (b"", b"refused"),
        may_send=lambda *_: None,
        body_bytes_max=1_000,
        loop=loop,
        outbox=Outbox(),
        intake=Intake(loop, SystemClock()),
    )
    connection = Connection(server)
    connection.connection_made(wire)
    return connection


def test_who_has_read_before_they_are_waited_for_is_answered() -> None:
    """A client that had fallen behind catches up between its request and the wait for that."""

    async def scenario() -> None:
        asked: list[HttpRequest] = []
        connection = connected(lambda _, request: asked.append(request), Wire())
        connection.pause_writing()
        connection.data_received(b"GET / " + HEAD + b"\r\n")
        connection.intake._begin()
        connection.resume_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(asked) == 1

    uvloop.run(scenario())


def test_who_has_gone_is_told_nothing_more() -> None:
    """Who sent a call with what is no HTTP behind it, and left as the answer came."""

    async def scenario() -> None:
        wire = Wire()
        connection = connected(lambda *_: None, wire)
        connection.data_received(b"GET / " + HEAD + b"\r\n")
        connection.data_received(b"\x00\r\n\r\n")
        connection.transport = Closed()
        connection.respond(200, b"", b"{}")
        connection.over()

    uvloop.run(scenario())


def test_who_waits_to_be_told_to_go_on_has_their_time_from_then() -> None:
    """The answer before may have taken longer than a body may."""

    async def scenario() -> None:
        wire = Wire()
        connection = connected(lambda *_: None, wire)
        connection.data_received(b"GET / " + HEAD + b"\r\n")
        connection.data_received(b"POST / " + HEAD + b"content-length: 9\r\nexpect: 100-continue\r\n\r\n")
        await asyncio.sleep(0)
        connection._deadline = time.monotonic() - 1.0
        connection.respond(200, b"", b"{}")
        connection.over()
        connection.check_deadline(time.monotonic() + BODY_GRACE_S / 2)
        await asyncio.sleep(0)
        assert wire.written.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")

    uvloop.run(scenario())


def test_a_request_that_cannot_be_answered_holds_up_no_other() -> None:
    """A defect in one that is begun; the others of its turn are."""

    async def scenario() -> None:
        begun: list[str] = []

        class Client(Heard):
            def begin(self) -> None:
                if self is clients[0]:
                    raise ValueError("a defect of ours")
                begun.append("other")

        clients = [Client(), Client()]
        intake = Intake(asyncio.get_running_loop(), SystemClock())
        for each in clients:
            intake.add(cast("Any", SimpleNamespace(path="/", body=b"")), cast("Any", each))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (clients[0].got, begun) == (["cut"], ["other"])

    uvloop.run(scenario())


def test_a_connection_that_cannot_go_on_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect behind an answer; the others of the turn get theirs."""

    class Client(Heard):
        def over(self) -> None:
            super().over()
            if self is heard[0]:
                raise ValueError("a defect of ours")

    heard = [Client(), Client()]
    monkeypatch.setattr(at_once, "_closed", lambda _: Unavailable("as it may be"))
    monkeypatch.setattr(at_once, "attribution", lambda *_: b"")
    monkeypatch.setattr(at_once, "respond_error", lambda client, *_: client.got.append("answer"))
    worker: Any = SimpleNamespace(recording=SimpleNamespace(lost=None))
    these: list[Any] = []
    for each in heard:
        known: Any = {"client": each, "call": None, "opened": SimpleNamespace(id="1"), "serving": None}
        dispatched = Dispatched(time.perf_counter(), answer=WholeAnswer("p"))
        these.append(at_once.Going(worker=worker, dispatched=dispatched, **known))
    at_once.conclude(these)
    assert [each.got for each in heard] == [["answer", "over", "cut"], ["answer", "over"]]
    assert worker.recording.lost is None


def test_what_cannot_be_told_of_an_answer_is_left_to_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect there is raised to the connection upstream else, and the client waits for ever."""

    def told_all(_: object) -> None:
        raise ValueError("a defect of ours")

    monkeypatch.setattr(at_once, "told_all", told_all)
    monkeypatch.setattr(at_once.Going, "rest", lambda _: "the rest")
    ran: list[object] = []
    client: Any = SimpleNamespace(run=ran.append)
    dispatched: Any = Dispatched(time.perf_counter())
    dispatched.begun = SimpleNamespace(answer=WholeAnswer("p"), told=None)
    known: Any = {"worker": None, "serving": None, "call": None, "opened": None}
    at_once.Going(client=client, dispatched=dispatched, **known).heard()
    assert ran == ["the rest"]


def test_a_call_of_a_release_that_is_not_to_be_had_counts(provider: FakeProvider, own_root: Path) -> None:
    """Under the limit of its requests, as any that is refused behind it."""
    plan = deployment(provider.url, limits=Limits(requests_per_minute=2))
    with Gateway(own_root, plan) as gateway, gateway.client() as client:
        said: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        head = {"x-airboss-release": "another"}
        got = [client.post("/v1/chat/completions", json=said, headers=head).status_code for _ in range(3)]
        assert got[0] == got[1]
        assert (400 <= got[0] < 429, got[2]) == (True, 429)
