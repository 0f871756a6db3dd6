"""Answers that are paid for once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.evaluations.datasets import Input
from airboss.evaluations.paid_once import Asking, PaidOnce, answer_key
from airboss.evaluations.ports import Answer, Call, Target
from airboss.store.evals import SqlEvalStore
from tests.evaluations.support import A, B, FakeCaller, now, said
from tests.support.wait import until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlEvalStore]:
    """An empty store."""
    made = SqlEvalStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def call(text: str = "q", target: Target = A, **given: object) -> Call:
    """A call that asks one question."""
    asked = Input(messages=({"role": "user", "content": text},))
    return Call(target=target, input=asked, subject="s", **given)  # type: ignore[arg-type]


def test_the_key_is_golden() -> None:
    """It is the same in every version, or an upgrade would pay for everything again."""
    assert (
        answer_key(call(params={"temperature": 0}, repeat=1))
        == "0d101ef88da0c050264acd500cdf1d21103010a4b2079f7db5829abb1c683401"
    )


def test_what_makes_two_calls_the_same() -> None:
    """Release, question, parameters and repeat; the way to the release does not."""
    keys = [
        answer_key(call()),
        answer_key(call("other")),
        answer_key(call(target=B)),
        answer_key(call(params={"temperature": 0})),
        answer_key(call(repeat=1)),
    ]
    assert len(set(keys)) == 5
    elsewhere = Target(deployment="elsewhere", release=A.release)
    assert answer_key(call(target=elsewhere)) == keys[0]


def test_an_answer_is_given_again(store: SqlEvalStore) -> None:
    """Whole, by another process too; it is counted as reused."""
    whole = said("x", tool_calls=[{"a": 1}], refusal="r", release="rel", record="rec", input_tokens=5)
    caller = FakeCaller(lambda _: whole)
    first, second = PaidOnce(caller, store, now), PaidOnce(caller, store, now)
    assert asyncio.run(first.call(call())) == whole
    assert asyncio.run(second.call(call())) == whole
    assert len(caller.calls) == 1
    assert (first.paid, first.reused, first.cost_usd) == (1, 0, Decimal("0.001"))
    assert (second.paid, second.reused, second.cost_usd) == (0, 1, Decimal(0))


def test_what_failed_is_asked_again(store: SqlEvalStore) -> None:
    """An error is nothing that was paid for."""
    answers = iter([Answer(error="503"), said("x")])
    once = PaidOnce(FakeCaller(lambda _: next(answers)), store, now)
    assert asyncio.run(once.call(call())).error == "503"
    assert asyncio.run(once.call(call())).text == "x"
    assert (once.paid, once.reused) == (1, 0)


def test_two_that_ask_the_same_at_once_pay_once(store: SqlEvalStore) -> None:
    """The second waits for the first."""
    caller = FakeCaller(lambda _: "x")
    once = PaidOnce(caller, store, now)

    async def many() -> list[Answer]:
        return list(await asyncio.gather(*(once.call(call()) for _ in range(10))))

    assert {answer.text for answer in asyncio.run(many())} == {"x"}
    assert (len(caller.calls), once.paid, once.reused) == (1, 1, 9)


def test_an_answer_is_on_disk_before_it_is_given(store: SqlEvalStore) -> None:
    """If it cannot be kept it is not given: nothing is scored that would be paid for again."""
    once = PaidOnce(FakeCaller(lambda _: "x"), store, now)

    class Full(Exception):
        """The disk is full."""

    def full(*_args: object, **_kwargs: object) -> None:
        raise Full

    store.put_answer = full  # type: ignore[method-assign]
    with pytest.raises(Full):
        asyncio.run(once.call(call()))


def test_runs_in_threads_of_their_own_pay_once(store: SqlEvalStore) -> None:
    """Where they share what is under way: who asks second waits in its loop, and finds the answer kept."""
    asking, go, asked = Asking(), threading.Event(), []

    class Slow:
        """Answers when it may."""

        async def call(self, call: Call) -> Answer:
            """As `Caller.call`."""
            asked.append(call)
            await asyncio.to_thread(go.wait)
            return said("x")

    runs = [PaidOnce(Slow(), store, now, asking) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        try:
            found = [threads.submit(lambda each=each: asyncio.run(each.call(call()))) for each in runs]  # type: ignore[misc]
            until(lambda: [len(each) for each in asking._waiting.values()] == [2])
        finally:
            go.set()
        assert [each.result().text for each in found] == ["x"] * 3
    assert (len(asked), sum(each.paid for each in runs), sum(each.reused for each in runs)) == (1, 1, 2)
    assert asking._waiting == {}


def test_who_stops_waiting_keeps_nobody_from_going_on() -> None:
    """Neither a task that is cancelled nor a loop that is closed; and who fails lets the next one try."""
    asking, entered = Asking(), []

    async def take(name: str) -> None:
        async with asking.alone("key"):
            entered.append(name)

    async def given_up() -> None:
        task = asyncio.create_task(take("elsewhere"))
        await asyncio.wait({task}, timeout=0)
        task.cancel()

    async def failing(tasks: list[asyncio.Task[None]]) -> None:
        async with asking.alone("key"):
            tasks += [asyncio.create_task(take(name)) for name in ("first", "second")]
            await asyncio.to_thread(asyncio.run, given_up())
            tasks[0].cancel()
            raise ZeroDivisionError

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        with pytest.raises(ZeroDivisionError):
            await failing(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert entered == ["second"]
    assert asking._waiting == {}
