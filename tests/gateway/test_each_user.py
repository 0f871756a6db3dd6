"""Limits of each user of a key: each has their own, and one who calls too much harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import RateLimited, Unavailable
from airboss.domain.plan import Allowance, Limits, Queue
from airboss.gateway.limits import FORGET_S
from airboss.gateway.stock import LimitReached
from airboss.governance.windows import WINDOW_S
from tests.gateway.limited import House, body, came_in, closed, run


def each(**limits: Any) -> Allowance:
    """What each user may have."""
    return Allowance(limits=Limits(**limits))


async def let_in(house: House, calls: int, **call: Any) -> int:
    """How many of so many calls are let in; they end at once."""
    count = 0
    for n in range(calls):
        with contextlib.suppress(RateLimited):
            (await came_in(house, n % len(house.limiters), **call)).settle(closed())
            count += 1
    return count


def test_one_who_floods_takes_nothing_from_others() -> None:
    """Each user of the key has the limit, another key none; a refusal says whose it is, and no name."""
    house = House(workers=4, each_user=each(requests_per_minute=10))

    async def body_() -> None:
        assert await let_in(house, 50, user="ana@example.com") == 10
        assert await let_in(house, 50, user="bea@example.com") == 10
        assert await house.enter(key="b", user="ana@example.com") is None
        for _ in range(2):  # of the owner, and of the worker that knows it
            with pytest.raises(LimitReached) as refused:
                await house.enter(user="ana@example.com")
            assert refused.value.message == (
                "this user of key 'a' has had 10 requests in the last minute, which is its limit: try again "
                "in 1m0.25s, or raise each_user.limits.requests_per_minute under [keys.a] or with "
                "`airboss keys set a`"
            )
            assert refused.value.retry_after_s == WINDOW_S + 0.25
            assert b"x-ratelimit-limit-requests: 10\r\n" in refused.value.headers
        asked = [port.asked for port in house.ports]
        assert await let_in(house, 50, user="ana@example.com") == 0
        assert [port.asked for port in house.ports] == asked  # it is known for a second
        house.clock.s += WINDOW_S + 0.25
        assert await let_in(house, 50, user="ana@example.com") == 10

    run(body_())


def test_who_names_no_user_escapes_nothing() -> None:
    """Such calls are one user's, together, and are told so."""
    house = House(workers=2, each_user=each(requests_per_minute=5))

    async def body_() -> None:
        assert await let_in(house, 8, user=None) + await let_in(house, 8, user="") == 5
        with pytest.raises(
            LimitReached, match="whoever calls with key 'a' and names no user has had 5 requests"
        ):
            await house.enter()
        assert await let_in(house, 8, user="ana") == 5

    run(body_())


@settings(max_examples=15, deadline=None)
@given(
    limit=st.integers(min_value=1, max_value=400),
    users=st.integers(min_value=1, max_value=5),
    seed=st.integers(min_value=0, max_value=10**6),
)
def test_four_workers_let_in_what_one_would(limit: int, users: int, seed: int) -> None:
    """Each user, flooding for two minutes through workers by chance, within one percent or one call."""
    counts: list[Counter[int]] = []
    for workers in (1, 4):
        house = House(workers=workers, each_user=each(requests_per_minute=limit))
        rng, found = random.Random(seed), Counter[int]()

        async def body_(house: House = house, rng: random.Random = rng, found: Counter[int] = found) -> None:
            while house.clock.s < 122.0:
                house.clock.s += rng.expovariate(users * limit / 30)
                user = rng.randrange(users)
                with contextlib.suppress(RateLimited):
                    (await came_in(house, rng.randrange(len(house.limiters)), user=f"u{user}")).settle(
                        closed()
                    )
                    found[user] += 1
                if rng.random() < 0.1:
                    house.limiters[rng.randrange(len(house.limiters))].tick()

        run(body_())
        counts.append(found)
    for user in range(users):
        one, four = counts[0][user], counts[1][user]
        assert abs(one - four) <= max(2, 0.01 * one)
        assert four <= 3 * limit * 1.01 + 1


def test_the_keys_own_limit_holds_beside() -> None:
    """What the key refuses takes nothing from the user, and the other way round; places and tokens too."""
    house = House(
        key=Limits(requests_per_minute=12, concurrency=3),
        each_user=each(requests_per_minute=10, tokens_per_minute=100, concurrency=2),
    )

    async def body_() -> None:
        ana = [await came_in(house, user="ana"), await came_in(house, user="ana")]
        with pytest.raises(LimitReached, match=r"this user .* has 2 calls under way"):
            await house.enter(user="ana")
        bea = await came_in(house, user="bea")
        with pytest.raises(LimitReached, match="key 'a' has 3 calls under way"):
            await house.enter(user="bea")
        assert await ana[0].reserve(body(max_tokens=80), house.branch()) is None
        refused = await ana[1].reserve(body(max_tokens=80), house.branch())
        assert isinstance(refused, LimitReached)
        assert "this user of key 'a' has 10 of its 100 tokens a minute left" in refused.message
        assert await bea.reserve(body(max_tokens=80), house.branch()) is None
        assert b"x-ratelimit-remaining-tokens: 10\r\n" in bea.headers
        assert b"x-ratelimit-limit-requests: 10\r\n" in bea.headers
        for held in (*ana, bea):
            held.settle(closed(5))
        assert await let_in(house, 20, user="cec") == 9  # of twelve three are gone; nobody has had ten

    run(body_())


def test_a_user_does_not_fill_the_room_where_others_wait() -> None:
    """What waits is one of their calls under way: beyond that they are refused, and others wait."""
    queue = Queue(size=10, wait_s=5.0)
    house = House(
        key=Limits(concurrency=1, queue=queue), each_user=each(concurrency=2, requests_per_minute=99)
    )

    async def body_() -> None:
        async with asyncio.timeout(20):
            inside = await came_in(house, user="ana")
            waiting = [asyncio.create_task(house.enter(user=user)) for user in ("ana", "bea")]
            for _ in range(5):
                await asyncio.sleep(0)
            for _ in range(5):
                with pytest.raises(LimitReached, match=r"this user .* has 2 calls under way"):
                    await house.enter(user="ana")
            waiting.append(asyncio.create_task(house.enter(user="cec")))
            inside.settle(closed())
            for task in waiting:
                held = await task
                assert held is not None
                held.settle(closed())
            leaving = await came_in(house, user="ana")
            gone = asyncio.create_task(house.enter(user="bea"))
            for _ in range(5):
                await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            leaving.settle(closed())
            assert house.limiters[0].held() == {}  # who left while waiting holds nothing

    run(body_())


def test_who_is_sent_away_from_the_room_has_not_called() -> None:
    """As with a key's requests: what is answered 503 takes nothing of a user's minute."""
    queue = Queue(size=1, wait_s=0.5)
    house = House(key=Limits(concurrency=1, queue=queue), each_user=each(requests_per_minute=3))

    async def body_() -> None:
        inside = await came_in(house, user="bea")
        for _ in range(4):
            with pytest.raises(Unavailable, match="no place came free"):
                await house.enter(user="ana")
        inside.settle(closed())
        assert await let_in(house, 5, user="ana") == 3

    run(body_())


def test_no_name_reaches_who_counts_or_any_metric() -> None:
    """Counters have a hash, metrics not even that; and users who call no more are forgotten."""
    limits = each(requests_per_minute=1, tokens_per_minute=500, concurrency=300)
    house = House(workers=2, each_user=limits)

    async def body_() -> None:
        for n in range(200):
            user = f"person-{n}@example.com"
            for worker in (0, 1):
                with contextlib.suppress(RateLimited):
                    held = await came_in(house, worker, user=user)
                    await held.reserve(body(max_tokens=10), house.branch())
                    held.settle(closed(5))
        state = msgspec.json.encode(house.owner._book.state())
        assert b"user/a/" in state
        assert b"person" not in state
        limiter = house.limiters[1]
        assert limiter.said_no() == {"user\na\nrequests": 200}
        assert not [use for use in limiter.uses() if use.scope == "user"]
        assert len(limiter._stocks) == 600
        house.clock.s += FORGET_S + 1
        limiter.tick()
        assert not limiter._stocks
        assert not limiter._of_users
        assert not limiter._shut
        assert limiter.held() == {}
        house.clock.s += WINDOW_S + 1
        house.owner.tick(house.clock.epoch())
        house.limiters[0].tick()
        house.owner._book.sweep(house.clock.epoch())
        found = house.owner._book.state()
        assert not found.windows
        assert not found.holdings

    run(body_())


def test_a_new_plan_binds_each_user_at_once() -> None:
    """More, less and none; who has called has still called."""
    house = House(each_user=each(requests_per_minute=5))

    async def body_() -> None:
        assert await let_in(house, 9, user="ana") == 5
        house.bind(each_user=each(requests_per_minute=8))
        assert await let_in(house, 9, user="ana") == 3
        house.bind()
        assert await house.enter(user="ana") is None
        house.bind(each_user=each(requests_per_minute=9))
        assert await let_in(house, 9, user="ana") == 1

    run(body_())
