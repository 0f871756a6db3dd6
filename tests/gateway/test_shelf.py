"""Responses that come at once are put away in few transactions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from airboss.domain.errors import SetupError, Unavailable, WrongCall
from airboss.gateway import kept as kept_module
from airboss.gateway.kept import asked_of
from airboss.gateway.patience import SHORT_S, Patience
from airboss.gateway.shelf import TOGETHER_MAX, Shelf
from airboss.store.ledger_trouble import LedgerAway
from airboss.store.response_rows import KeptResponse, ResponseStore
from airboss.store.responses import SqlResponseStore
from tests.support.wait import until

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def kept(number: int) -> KeptResponse:
    """A response."""
    return KeptResponse(
        id=str(number),
        key="app",
        user=None,
        previous=None,
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        response="{}",
        messages="[]",
    )


class Slow:
    """A store whose transactions end when a test says so; `puts` are what each has taken."""

    def __init__(self) -> None:
        self.puts: list[tuple[KeptResponse, ...]] = []
        self.free = threading.Event()
        self.fails: Exception | None = None

    def put(self, *kept: KeptResponse) -> None:
        """As `ResponseStore.put`."""
        self.puts.append(kept)
        assert self.free.wait(60)
        if self.fails:
            raise self.fails


async def _begun(store: Slow, shelf: Shelf, count: int) -> list[asyncio.Task[None]]:
    """So many that wait, the first of them in a transaction that has begun."""
    inner = cast("ResponseStore", store)
    tasks = [asyncio.ensure_future(shelf.put(inner, kept(number))) for number in range(count)]
    await asyncio.to_thread(until, lambda: bool(store.puts))
    return tasks


def test_who_comes_at_once_shares_a_transaction() -> None:
    """Each is put away once, in order, and nobody waits for more than two transactions."""
    store = Slow()

    async def run() -> None:
        tasks = await _begun(store, Shelf(), 1)
        shelf = Shelf()
        store.puts.clear()
        tasks += await _begun(store, shelf, 3)
        tasks += [
            asyncio.ensure_future(shelf.put(cast("ResponseStore", store), kept(n))) for n in range(3, 40)
        ]
        await asyncio.sleep(0)  # until all of them wait
        store.free.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert [len(each) for each in store.puts] == [3, 37]
    assert [int(each.id) for put in store.puts for each in put] == list(range(40))


def test_a_transaction_has_a_bound() -> None:
    """Others who write to the ledger get their turn between."""
    store = Slow()
    store.free.set()

    async def run() -> None:
        shelf = Shelf()
        await asyncio.gather(
            *(shelf.put(cast("ResponseStore", store), kept(n)) for n in range(2 * TOGETHER_MAX + 1))
        )

    asyncio.run(run())
    assert [len(each) for each in store.puts] == [TOGETHER_MAX, TOGETHER_MAX, 1]


def test_each_store_has_its_own() -> None:
    """What is to be sealed goes not where it would not be."""
    one, other = Slow(), Slow()
    for each in (one, other):
        each.free.set()

    async def run() -> None:
        shelf = Shelf()
        stores: list[Any] = [one, other, one, other]
        await asyncio.gather(*(shelf.put(store, kept(n)) for n, store in enumerate(stores)))

    asyncio.run(run())
    assert [[each.id for each in put] for put in one.puts] == [["0", "2"]]
    assert [[each.id for each in put] for put in other.puts] == [["1", "3"]]


def test_one_that_cannot_be_kept_takes_no_other_with_it(tmp_path: Path) -> None:
    """Its caller alone is told: the others are other callers', and a real ledger has all of theirs."""
    store = SqlResponseStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    store.put(replace(kept(3), key="another"))

    async def run() -> list[BaseException | None]:
        shelf = Shelf()
        return await asyncio.gather(*(shelf.put(store, kept(n)) for n in range(6)), return_exceptions=True)

    told = asyncio.run(run())
    there = [store.get(str(number), key="app", now=NOW) for number in range(6)]
    store.close()
    assert [type(each) for each in told] == [WrongCall if n == 3 else type(None) for n in range(6)]
    assert [each is not None for each in there] == [n != 3 for n in range(6)]


def test_a_failure_is_told_to_all_and_ends_nothing() -> None:
    """Who comes after it is put away."""
    store = Slow()

    async def run() -> None:
        shelf = Shelf()
        tasks = await _begun(store, shelf, 2)
        store.fails = SetupError("the disk is full")
        store.free.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in told] == [SetupError, SetupError]
        store.fails = None
        await shelf.put(cast("ResponseStore", store), kept(9))

    asyncio.run(run())
    assert [each.id for each in store.puts[-1]] == ["9"]


def test_who_goes_away_takes_nobody_along() -> None:
    """A call that is cancelled while it waits is put away with the others."""
    store = Slow()

    async def run() -> None:
        shelf = Shelf()
        first, *others = await _begun(store, shelf, 3)
        first.cancel()
        await asyncio.sleep(0)
        store.free.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await asyncio.gather(*others)

    asyncio.run(run())
    assert [each.id for each in store.puts[0]] == ["0", "1", "2"]


def test_nobody_waits_for_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither who puts a response away nor who asks for one; other threads' work goes on meanwhile. One has
    waited in vain: who comes then is told at once, until there is an answer, though it comes late."""
    store = Slow()
    monkeypatch.setattr(kept_module, "SILENT_S", 0.05)
    asked: list[int] = []

    def asks(number: int) -> bool:
        asked.append(number)
        return store.free.wait(10)

    async def run() -> None:
        shelf, inner = Shelf(silent_s=0.05), cast("ResponseStore", store)
        for number in range(40):
            with pytest.raises(LedgerAway, match=r"silent for 0\.05 s"):
                await shelf.put(inner, kept(number))
            with pytest.raises(Unavailable) as told:
                await asked_of(asks, number)
            assert told.value.code == "responses_unavailable"
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 30) == "done"
        assert ([each.id for put in store.puts for each in put], asked) == (["0"], [0])
        store.free.set()
        monkeypatch.setattr(kept_module, "SILENT_S", 60.0)
        shelf._silent_s = 60.0
        each = (shelf._patience, kept_module._reading)
        await asyncio.to_thread(until, lambda: not any(patience._why for patience in each))
        assert await asked_of(lambda: "answered") == "answered"
        await shelf.put(inner, kept(40))

    asyncio.run(run())
    assert [each.id for put in store.puts for each in put] == ["0", "40"]


def test_what_was_told_as_not_kept_is_not_kept_later() -> None:
    """Who waited in vain behind a transaction that hangs has heard `"store": false`."""
    store = Slow()

    async def run() -> None:
        shelf, inner = Shelf(silent_s=0.05), cast("ResponseStore", store)
        told = await asyncio.gather(
            *(_after(store, number, shelf.put(inner, kept(number))) for number in range(3)),
            return_exceptions=True,
        )
        assert [type(each) for each in told] == [LedgerAway] * 3
        store.free.set()
        assert shelf._task is not None
        await shelf._task

    asyncio.run(run())
    assert [each.id for put in store.puts for each in put] == ["0"]


async def _after(store: Slow, number: int, put: Coroutine[Any, Any, None]) -> None:
    """The first at once, others once its transaction runs."""
    if number:
        await asyncio.to_thread(until, lambda: bool(store.puts))
    await put


def test_that_no_server_is_there_is_found_out_once() -> None:
    """Who waits behind the transaction that found it is told with it; those who come after, and those who
    read, wait for a moment, each kind one at a time."""
    store = Slow()
    store.fails = LedgerAway("connection timeout expired")
    reading = Patience()

    async def run() -> None:
        shelf = Shelf(silent_s=60.0, beside=reading)
        tasks = await _begun(store, shelf, 1)
        tasks += [
            asyncio.ensure_future(shelf.put(cast("ResponseStore", store), kept(n))) for n in range(1, 9)
        ]
        began = time.monotonic()
        await asyncio.to_thread(until, lambda: time.monotonic() > began + 2 * SHORT_S)
        store.free.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in told] == [LedgerAway] * 9
        assert shelf._patience.wait_s(60.0) == reading.wait_s(60.0) == SHORT_S

    asyncio.run(run())
    assert [len(each) for each in store.puts] == [1]


@pytest.mark.parametrize("error", [WrongCall("another key has it"), ValueError("a defect")])
def test_whoever_answers_is_waited_for(error: Exception) -> None:
    """However late, and whatever it said."""
    patience, asked = Patience(), Future[None]()
    patience.gave_up(None, 1.0)
    patience.asked(asked)
    asked.set_exception(error)
    assert patience.wait_s(60.0) == 60.0


def test_a_refusal_at_once_costs_nobody_patience() -> None:
    """A server that is not there says so itself: the next call may ask it and wait."""
    patience, asked = Patience(), Future[None]()
    patience.asked(asked)
    asked.set_exception(LedgerAway("Connection refused"))
    assert patience.wait_s(60.0) == 60.0


class Late(Future[None]):
    """One that an answer overtakes just as somebody looks whether it is done."""

    def __init__(self, other: Future[None]) -> None:
        super().__init__()
        self._other = other

    def done(self) -> bool:
        """As of any future."""
        if not self._other.done():
            self._other.set_result(None)
        return super().done()


def test_an_answer_that_comes_just_then_leaves_nobody_without_a_reason() -> None:
    """Answers come in threads of their own, between any two steps of the loop."""
    patience, first, second = Patience(), Future[None](), Future[None]()
    patience.asked(first)
    patience.asked(second)
    why = "the ledger has been silent for 1 s"
    assert str(patience.gave_up(Late(first), 1.0)) == why
    patience.gave_up(None, 1.0)
    patience._stuck = Late(second)
    with pytest.raises(LedgerAway, match=why):
        patience.wait_s(60.0)
    assert patience.wait_s(60.0) == 60.0
