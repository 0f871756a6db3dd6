"""What a stuck network delivers late, on a connection that its worker has given up, is not heard."""

from __future__ import annotations

import asyncio
import time

import libvalkey
import msgspec
import pytest

from airboss.domain.errors import Unavailable
from airboss.governance.counters_service import _Worker
from airboss.governance.counters_valkey import BASE, SHA
from airboss.governance.counters_wire import Ask, Given, Hello, Tell, Welcome, framed
from airboss.governance.counting import Change, Denied, Want
from airboss.governance.owner import Owner
from tests.governance.test_counters_socket import Pipe, granted, until
from tests.governance.test_counters_valkey import run, worker
from tests.support.valkey import ValkeyServer, valkey, valkey_process

__all__ = ["valkey", "valkey_process"]

PLACES = Want("key/a/concurrency", "running", 2, 1)


def test_valkey_does_not_hear_a_connection_that_was_given_up(
    valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that comes then takes nothing, which nobody would ever give back, and a greeting takes back
    nothing of what the worker holds."""
    greeting = ("hello", "a", "1", msgspec.msgpack.encode([]), "0")
    late = [bytes(libvalkey.pack_command(("EVALSHA", SHA, "1", BASE, *greeting)))]

    async def body() -> None:
        counters, other = await worker(valkey), await worker(valkey, "other")
        for _ in range(2):
            assert counters._line is not None
            monkeypatch.setattr(vars(counters._line)["_transport"], "write", late.append)
            answer = counters.ask([PLACES])
            counters._line.beat()
            counters._line.hang_up()
            with pytest.raises(Unavailable):
                await answer
            await until(lambda: counters.here and not counters._lost.is_set())
        await granted(counters.ask([PLACES]))
        for said in late:
            told = await asyncio.to_thread(valkey.sent, said)
            assert told.startswith(b"-AIRBOSS"), told
        (grant,) = await granted(other.ask([PLACES]))
        assert grant.left == 0
        assert isinstance(await other.ask([PLACES]), Denied), "the living worker's place is taken"
        for each in (counters, other):
            await each.close()

    run(body)


def test_the_owner_does_not_hear_a_connection_that_was_given_up() -> None:
    """Nor does it take what the worker holds for free when such a connection ends."""

    async def body() -> None:
        owner, among = Owner(None, now=time.time()), set[_Worker]()
        pipes = [Pipe() for _ in range(4)]
        old, new, older, other = (_Worker(owner, time.time, among) for _ in pipes)
        for each, pipe in zip((old, new, older, other), pipes, strict=True):
            each.connection_made(pipe)
        old.data_received(framed(Hello("a", {}, 2)))
        new.data_received(framed(Hello("a", {PLACES.counter: 1}, 3)))
        older.data_received(framed(Hello("a", {}, 1)))
        for each in (old, older):
            each.data_received(
                framed(Ask(1, (PLACES,))) + framed(Tell(1, (Change(PLACES.counter, freed=1),)))
            )
            each.connection_lost(None)
        assert [[type(said) for said in pipe.said] for pipe in pipes[:3]] == [[Welcome], [Welcome], []]
        other.data_received(framed(Hello("b", {}, 1)) + framed(Ask(1, (PLACES,))))
        given = pipes[3].said[1]
        assert isinstance(given, Given)
        assert given.grants[0].left == 0, "the living worker's place is taken, and no other"
        assert owner.workers == {"a", "b"}
        new.connection_lost(None)
        assert owner.workers == {"b"}

    run(body)
