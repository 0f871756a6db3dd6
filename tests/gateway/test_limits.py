"""Entering, reserving and settling, of one worker and of several that share an owner."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import RateLimited, Unavailable
from airboss.domain.plan import Budget, Limits, Queue
from airboss.gateway.stock import LimitReached
from airboss.governance.counting import Answer, Want
from airboss.governance.windows import WINDOW_S
from tests.gateway.limited import House, body, came_in, closed, run

MONTH = Budget(usd=Decimal(1))


async def flood(house: House, seconds: float, *, rate: float, rng: random.Random) -> list[float]:
    """When calls were let in that come at a rate, each to a worker by chance; every worker does its chores
    twice a second."""
    let_in: list[float] = []
    chores_at = 0.0
    for _ in range(int(seconds * rate)):
        house.clock.s += rng.expovariate(rate)
        if house.clock.s >= chores_at:
            chores_at = house.clock.s + 0.5
            for limiter in house.limiters:
                limiter.tick()
        try:
            held = await came_in(house, rng.randrange(len(house.limiters)))
        except RateLimited:
            continue
        let_in.append(house.clock.s)
        held.settle(closed())
    return let_in


def most_in_a_minute(times: list[float]) -> int:
    """The most of these in any minute, wherever it is cut."""
    most, first = 0, 0
    for last, end in enumerate(times):
        while times[first] <= end - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=15, deadline=None)
@given(
    limit=st.sampled_from([1, 7, 60, 399, 400, 1500]),
    workers=st.integers(min_value=1, max_value=4),
    load=st.floats(min_value=0.5, max_value=4.0),
    seed=st.integers(min_value=0, max_value=10**6),
)
def test_no_minute_has_more_than_the_limit_and_one_percent(
    limit: int, workers: int, load: float, seed: int
) -> None:
    """However many workers, and however they are flooded: at most the limit, one percent and one call."""
    house = House(workers=workers, key=Limits(requests_per_minute=limit))
    times: list[float] = []

    async def body() -> None:
        nonlocal times
        times = await flood(house, 150.0, rate=load * limit / 60, rng=random.Random(seed))

    run(body())
    assert most_in_a_minute(times) <= limit * 1.01 + 1


@pytest.mark.parametrize("limit", [3, 60, 600, 6000])
def test_four_workers_let_in_what_one_would(limit: int) -> None:
    """Flooded for three minutes, within one percent or one call; and that is the limit, each minute."""
    counts = []
    for workers in (1, 4):
        house = House(workers=workers, key=Limits(requests_per_minute=limit))

        async def body(house: House = house) -> None:
            times = await flood(house, 182.0, rate=limit / 60 * 3, rng=random.Random(1))
            counts.append(len(times))

        run(body())
    assert abs(counts[0] - counts[1]) <= max(1, 0.01 * counts[0])
    assert counts[0] >= 3 * limit * 0.99 - 1


def test_a_loose_limit_is_seldom_asked_for() -> None:
    """Of a limit of 60,000 a minute a worker of four has a stock of 150 calls."""
    house = House(workers=4, key=Limits(requests_per_minute=60_000))

    async def body() -> None:
        for _ in range(1500):
            (await came_in(house)).settle(closed())

    run(body())
    assert house.ports[0].asked == 10


def test_places_are_exact() -> None:
    """Of three places among four workers three are taken and no fourth, until one is given back."""
    house = House(workers=4, key=Limits(concurrency=3))

    async def body() -> None:
        inside = [await came_in(house, worker) for worker in range(3)]
        for worker in range(4):
            with pytest.raises(LimitReached, match="has 3 calls under way"):
                await house.enter(worker)
        inside[1].settle(closed())
        inside[1].release()
        inside.append(await came_in(house, 3))
        with pytest.raises(LimitReached):
            await house.enter(0)

    run(body())


def test_a_released_call_keeps_its_request_and_gives_back_the_rest() -> None:
    """It was made, so it counts; it went nowhere, so it used nothing."""
    house = House(key=Limits(requests_per_minute=2, tokens_per_minute=100, concurrency=1), budget=MONTH)

    async def body_() -> None:
        for _ in range(2):
            held = await came_in(house)
            assert await held.reserve(body(max_tokens=90), house.branch()) is None
            held.release()
        with pytest.raises(LimitReached, match="2 requests"):
            await house.enter()
        house.clock.s += 2
        house.limiters[0].tick()
        assert house.limiters[0].held() == {}

    run(body_())


def test_tokens_are_reserved_on_a_guess_and_settled() -> None:
    """Ten of the prompt and what bounds the answer; then what was used."""
    house = House(key=Limits(tokens_per_minute=100))

    async def body_() -> None:
        held = await came_in(house)
        assert await held.reserve(body(max_tokens=50), house.branch()) is None
        refused = await (await came_in(house)).reserve(body(max_tokens=50), house.branch())
        assert isinstance(refused, LimitReached)
        assert "40 of its 100 tokens a minute left" in refused.message
        held.settle(closed(tokens=20))
        held = await came_in(house)
        assert await held.reserve(body(max_tokens=50), house.branch()) is None
        held.settle(closed(tokens=80))  # more than the sixty that were reserved
        assert isinstance(
            await (await came_in(house)).reserve(body(max_tokens=1), house.branch()), LimitReached
        )
        house.clock.s += WINDOW_S + 0.25
        assert await (await came_in(house)).reserve(body(max_tokens=90), house.branch()) is None

    run(body_())


def test_no_call_is_too_large_but_for_its_prompt() -> None:
    """An answer without a bound, or with one beyond the limit, goes alone; a prompt beyond it never does."""
    house = House(key=Limits(tokens_per_minute=100))

    async def body_() -> None:
        held = await came_in(house)
        assert await held.reserve(body(max_tokens=100_000), house.branch()) is None
        held.release()
        several = [await came_in(house) for _ in range(4)]
        answers = [await each.reserve(body(), house.branch()) for each in several]
        assert [answer is None for answer in answers] == [True, True, False, False]
        refused = await (await came_in(house, size=404)).reserve(body(), house.branch())
        assert isinstance(refused, LimitReached)
        assert "about 101 tokens" in refused.message
        assert b"x-should-retry: false" in refused.headers

    run(body_())


def test_every_scope_limits() -> None:
    """A deployment and all calls together have limits of their own; the message says whose it is."""

    async def body_() -> None:
        house = House(deployment=Limits(requests_per_minute=1))
        await came_in(house, key="b")
        with pytest.raises(LimitReached, match=r"deployment 'd' has had 1 request in.*\[deployments.d\]"):
            await house.enter(key="a")
        house = House(everybody=Limits(concurrency=1))
        await came_in(house, key="b")
        with pytest.raises(LimitReached, match=r"this Airboss has 1 call under way.*\[gateway\]"):
            await house.enter(key="a")

    run(body_())


def test_the_limit_that_takes_longest_is_told() -> None:
    """Who waits as long as it says is not refused by another limit then."""
    house = House(key=Limits(concurrency=1), deployment=Limits(requests_per_minute=1))

    async def body_() -> None:
        held = await came_in(house)
        with pytest.raises(LimitReached, match="deployment 'd' has had 1 request in") as caught:
            await house.enter()
        held.settle(closed())
        house.clock.s += caught.value.retry_after_s or 0
        await came_in(house)

    run(body_())


def test_a_refused_scope_takes_nothing_of_the_others() -> None:
    """A deployment that is full does not use up its callers' requests."""
    house = House(key=Limits(requests_per_minute=2), deployment=Limits(concurrency=1))

    async def body_() -> None:
        held = await came_in(house)
        for _ in range(5):
            with pytest.raises(LimitReached, match="deployment"):
                await house.enter()
        held.settle(closed())
        await came_in(house)

    run(body_())


def test_a_key_that_is_used_up_is_turned_away_unread() -> None:
    """For a second, or until there is room, without asking anybody; others come in."""
    house = House(key=Limits(requests_per_minute=1))
    limiter = house.limiters[0]

    async def body_() -> None:
        limiter.check("a")
        await came_in(house)
        limiter.check("a")
        with pytest.raises(LimitReached):
            await house.enter()
        asked = house.ports[0].asked
        with pytest.raises(LimitReached, match=r"try again in 1m0\.\d+s"):
            limiter.check("a")
        limiter.check("b")
        assert house.ports[0].asked == asked
        house.clock.s += 1.0
        limiter.check("a")

    run(body_())


def test_leases_are_spent_while_the_owner_is_away() -> None:
    """A worker goes on with what it has, and then says 503; nobody has lost count when the owner is back."""
    house = House(workers=2, key=Limits(requests_per_minute=2000, concurrency=400))

    async def body_() -> None:
        (await came_in(house)).settle(closed())
        house.ports[0].away = True
        house.clock.s += 5
        house.limiters[0].tick()
        let_in = []

        async def as_many_as_come() -> None:
            while True:
                let_in.append(await came_in(house))

        with pytest.raises(Unavailable) as caught:
            await as_many_as_come()
        assert caught.value.retry_after_s == 1
        assert len(let_in) == 2  # places; there are nine requests more
        let_in[0].settle(closed())
        let_in[1].settle(closed())
        house.ports[0].away = False
        house.clock.s += 5
        house.limiters[0].tick()
        assert house.limiters[0].held() == {}
        assert await house.enter() is not None

    run(body_())


def test_idle_leases_go_back() -> None:
    """A second after the last call another worker has all that is left."""
    house = House(workers=2, key=Limits(requests_per_minute=1000, concurrency=1000), budget=MONTH)

    async def body_() -> None:
        held = await came_in(house)
        assert await held.reserve(body(), house.branch()) is None
        held.settle(closed(cost="0.1"))
        house.clock.s += 1.1
        house.limiters[0].tick()
        state = house.owner._book.state()
        assert sum(state.windows["key/a/requests"].values()) == 1
        assert [each.total for each in state.holdings.values()] == [0, 0]

    run(body_())


def test_a_caller_who_goes_while_waiting_holds_nothing() -> None:
    """What is given to it goes back."""
    house = House(key=Limits(requests_per_minute=10, concurrency=1))
    port = house.ports[0]
    answer: asyncio.Future[Any]

    async def body_() -> None:
        nonlocal answer
        answer = asyncio.get_running_loop().create_future()
        ask = port.ask
        port.ask = lambda _: answer  # type: ignore[method-assign,assignment]  # an owner that thinks
        waiting = asyncio.create_task(house.enter())
        await asyncio.sleep(0)
        wants = [(stock, 1) for stock in house.limiters[0]._of("a", "d")]
        port.ask = ask  # type: ignore[method-assign]  # it has thought
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        answer.set_result(port.ask([Want(s.counter, s.kind, s.limit, n) for s, n in wants]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await came_in(house)

    run(body_())


def test_a_new_plan_binds_at_once() -> None:
    """A limit that is raised, lowered or gone holds from the next call on; what is held stays counted."""
    house = House(key=Limits(concurrency=1))

    async def body_() -> None:
        first = await came_in(house)
        house.bind(key=Limits(concurrency=2))
        await came_in(house)
        with pytest.raises(LimitReached):
            await house.enter()
        house.bind()
        assert await house.enter() is None
        first.settle(closed())
        house.bind(key=Limits(concurrency=2))
        await came_in(house)

    run(body_())


@pytest.mark.parametrize("after", [None, Limits(requests_per_minute=10)])
def test_a_limit_that_is_lifted_holds_up_nobody_who_waits(after: Limits | None) -> None:
    """They are let in, and not refused by what is no limit any more."""
    house = House(key=Limits(concurrency=1, queue=Queue(size=5, wait_s=10)))

    async def body_() -> None:
        await came_in(house)
        waiting = [asyncio.create_task(house.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        house.bind(key=after)
        await asyncio.gather(*waiting)

    run(body_())


def test_who_waits_is_refused_when_nobody_may_wait_any_more() -> None:
    """The limit stands, its queue does not."""
    house = House(key=Limits(concurrency=1, queue=Queue(size=5, wait_s=10)))

    async def body_() -> None:
        await came_in(house)
        waiting = asyncio.create_task(house.enter())
        await asyncio.sleep(0)
        house.bind(key=Limits(concurrency=1))
        with pytest.raises(LimitReached):
            await waiting

    run(body_())


@pytest.mark.parametrize("lowered", [Limits(requests_per_minute=10), Limits(concurrency=10)])
def test_a_lowered_limit_leaves_nothing_of_what_was_leased_before(lowered: Limits) -> None:
    """A hundredth of what may be had was in stock, and was a hundred times the new limit."""
    house = House(workers=2, key=Limits(requests_per_minute=200_000, concurrency=200_000))

    async def body_() -> None:
        for worker in (0, 1):
            for held in [await came_in(house, worker) for _ in range(3)]:
                held.settle(closed())
        house.bind(key=lowered)
        let_in = []
        for n in range(100):
            with contextlib.suppress(LimitReached):
                let_in.append(await came_in(house, n % 2))
        most = 10 - (6 if lowered.concurrency is None else 0)
        assert len(let_in) == most
        for held in let_in:
            held.settle(closed())
        if lowered.concurrency is not None:  # nor does a worker keep more places for itself than it may
            assert [len([await came_in(house, worker) for _ in range(5)]) for worker in (0, 1)] == [5, 5]

    run(body_())


def test_a_lease_that_comes_after_a_plan_is_of_its_limit() -> None:
    """What was asked for under the limit before goes back, but for the call's own need."""
    house = House(key=Limits(requests_per_minute=200_000))
    port = house.ports[0]

    async def body_() -> None:
        ask = port.ask
        answer = asyncio.get_running_loop().create_future()

        def later(wants: Sequence[Want]) -> asyncio.Future[Answer]:
            answer.set_result(ask(wants))
            return answer

        port.ask = later  # type: ignore[method-assign]  # as over a socket
        first = asyncio.create_task(house.enter())
        await asyncio.sleep(0)
        port.ask = ask  # type: ignore[method-assign]
        house.bind(key=Limits(requests_per_minute=10))
        assert await first is not None
        let_in = 0
        for _ in range(100):
            with contextlib.suppress(LimitReached):
                await came_in(house)
                let_in += 1
        assert let_in == 9

    run(body_())


def test_what_is_gone_is_forgotten() -> None:
    """Keys and limits that go away, and budgets of periods that are over, leave nothing behind in a worker;
    a budget that lies idle keeps no money from others."""
    house = House(workers=2, key=Limits(requests_per_minute=6000, concurrency=500), budget=MONTH)
    limiter = house.limiters[0]

    async def body_() -> None:
        held = await came_in(house)
        await held.reserve(body(max_tokens=10), house.branch())
        held.settle(closed(20, "0.00002"))
        house.clock.s += 2
        limiter.tick()
        assert not house.owner._book.holders()
        again = await came_in(house)
        await again.reserve(body(max_tokens=10), house.branch())
        assert any(stock.what == "usd" and stock.in_use for stock in limiter._stocks.values())
        again.release()
        house.bind()
        house.clock.s += 2
        limiter.tick()
        assert not limiter._stocks
        assert not house.owner._book.holders()

    run(body_())


def test_what_is_left_is_told_exactly_where_nobody_else_calls() -> None:
    """Also in the midst of a lease, and when another one takes its place."""
    house = House(key=Limits(tokens_per_minute=100_000))
    said = []

    async def body_() -> None:
        for _ in range(12):
            held = await came_in(house)
            assert await held.reserve(body(), house.branch()) is None
            held.settle(closed(tokens=20))
            said.append(held.headers.split(b"remaining-tokens: ")[1].split(b"\r\n")[0])
        assert said == [b"%d" % (100_000 - 20 * n) for n in range(1, 13)]

    run(body_())


def test_headers_tell_by_openai_s_names() -> None:
    """What is left and when all of it is free again, of the key's limits, else of the deployment's."""
    house = House(key=Limits(requests_per_minute=3), deployment=Limits(tokens_per_minute=200))

    async def body_() -> None:
        held = await came_in(house)
        assert await held.reserve(body(max_tokens=40), house.branch()) is None
        assert held.headers.decode().split("\r\n")[:-1] == [
            "x-ratelimit-limit-requests: 3",
            "x-ratelimit-remaining-requests: 2",
            "x-ratelimit-reset-requests: 1m0s",
            "x-ratelimit-limit-tokens: 200",
            "x-ratelimit-remaining-tokens: 150",
            "x-ratelimit-reset-tokens: 1m0s",
        ]

    run(body_())
