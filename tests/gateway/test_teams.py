"""Limits and a budget that several keys share, those of a team, whichever calls through which worker."""

from __future__ import annotations

import contextlib
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, PermissionDenied, RateLimited, Unavailable
from airboss.domain.plan import Allowance, Budget, Limits, Queue
from airboss.domain.ports import Spent
from airboss.gateway.spending import RIPE_S
from airboss.gateway.stock import BudgetExceeded, LimitReached
from airboss.governance.counting import units
from airboss.governance.windows import WINDOW_S
from tests.gateway.limited import START, House, body, came_in, closed, run

CENT = Allowance(budget=Budget(usd=Decimal("0.01")))


def may(**limits: Any) -> Allowance:
    """What the team may have."""
    return Allowance(limits=Limits(**limits))


def told(house: House, counter: str = "team/ops/usd/2026-11") -> Decimal:
    """What who counts knows to be spent."""
    holding = house.owner._book.state().holdings.get(counter)
    return Decimal(holding.spent if holding is not None else 0) / units(Decimal(1))


async def paid(house: House, cost: str, *, key: str = "a", worker: int = 0) -> ApiError | None:
    """One call that costs so much; why it is refused, if it is."""
    held = await came_in(house, worker, key=key)
    refused = await held.reserve(body(max_tokens=10), house.branch())
    held.settle(closed(cost=cost if refused is None else "0"))
    house.limiters[worker].flush(now=True)
    return refused


def test_keys_of_a_team_share_its_limit() -> None:
    """Together they have it, whichever calls; others do not. A refusal names the team, and no other key."""
    house = House(workers=4, team=may(requests_per_minute=10))

    async def body_() -> None:
        for n in range(10):
            (await came_in(house, n % 4, key="ac"[n % 2])).settle(closed())
        for key in "aac":
            with pytest.raises(LimitReached) as refused:
                await house.enter(1, key)
            assert refused.value.message == (
                "team 'ops' has had 10 requests in the last minute, which is its limit: try again in "
                "1m0.25s, or raise limits.requests_per_minute under [teams.ops]"
            )
            assert refused.value.retry_after_s == WINDOW_S + 0.25
            assert b"x-ratelimit-limit-requests: 10\r\n" in refused.value.headers
        assert await house.enter(key="b") is None
        asked = house.ports[1].asked
        with pytest.raises(LimitReached):
            house.limiters[1].check("a")  # it is known for a second, for each of them
        with pytest.raises(LimitReached):
            house.limiters[1].check("c")
        house.limiters[1].check("b")
        assert house.ports[1].asked == asked
        house.clock.s += WINDOW_S + 0.25
        assert await house.enter(1, "c") is not None

    run(body_())


def test_a_key_without_a_team_asks_nobody() -> None:
    """Where teams are all that is limited, calls of other keys hold nothing."""
    house = House(team=Allowance(limits=Limits(concurrency=1), budget=Budget(usd=Decimal(1))))

    async def body_() -> None:
        assert await house.enter(key="b") is None
        assert house.ports[0].asked == 0

    run(body_())


def test_headers_tell_of_what_has_least_left() -> None:
    """Of the key's limits and the team's, each kind by itself."""
    house = House(
        key=Limits(requests_per_minute=5, tokens_per_minute=1000),
        team=may(requests_per_minute=8, tokens_per_minute=100),
    )

    async def body_() -> None:
        for _ in range(6):
            (await came_in(house, key="c")).settle(closed())
        held = await came_in(house)
        assert await held.reserve(body(max_tokens=10), house.branch()) is None
        assert b"x-ratelimit-limit-requests: 8\r\nx-ratelimit-remaining-requests: 1\r\n" in held.headers
        assert b"x-ratelimit-limit-tokens: 100\r\n" in held.headers
        house.clock.s += WINDOW_S + 1
        held = await came_in(house)
        assert b"x-ratelimit-limit-requests: 5\r\nx-ratelimit-remaining-requests: 4\r\n" in held.headers

    run(body_())


def test_the_keys_own_limits_hold_beside() -> None:
    """What one refuses takes nothing from the other; places and tokens as requests."""
    house = House(key=Limits(concurrency=2), team=may(concurrency=3, tokens_per_minute=200))

    async def body_() -> None:
        inside = [await came_in(house), await came_in(house)]
        with pytest.raises(LimitReached, match="key 'a' has 2 calls under way"):
            await house.enter()
        inside.append(await came_in(house, key="c"))
        with pytest.raises(LimitReached, match="team 'ops' has 3 calls under way"):
            await house.enter(key="c")
        for held in inside:
            held.settle(closed())
        long = await (await came_in(house, key="c")).reserve(body(max_tokens=500), house.branch())
        assert long is None  # it gets the minute's tokens, and no more
        refused = await (await came_in(house)).reserve(body(), house.branch())
        assert isinstance(refused, LimitReached)
        assert "team 'ops' has 0 of its 200 tokens a minute left" in refused.message

    run(body_())


def test_a_team_has_a_room_to_wait_in() -> None:
    """Its `queue` is as a key's."""
    house = House(team=may(concurrency=1, queue=Queue(size=1, wait_s=0.1)))

    async def body_() -> None:
        inside = await came_in(house)
        with pytest.raises(Unavailable, match="no place came free at team 'ops'"):
            await house.enter(key="c")
        inside.settle(closed())
        (await came_in(house, key="c")).settle(closed())

    run(body_())


def test_keys_of_a_team_spend_one_budget() -> None:
    """Until it is spent; the refusal tells what the team has spent, and when there is more."""
    house = House(workers=4, team=CENT)

    async def body_() -> None:
        for worker, key in enumerate("acac"):
            assert await paid(house, "0.0026", key=key, worker=worker) is None
        for key in "ac":
            refused = await paid(house, "1", key=key)
            assert isinstance(refused, BudgetExceeded)
            assert refused.message == (
                "team 'ops' has spent 0.0104 of 0.01 USD this month: raise budget under [teams.ops], or wait "
                "until 2026-12-01 (UTC)"
            )
            assert refused.retry_after_s == 6.5 * 86_400
        assert told(house) == Decimal("0.0104")
        house.clock.s += 6.5 * 86_400
        assert await paid(house, "0", key="c") is None

    run(body_())


def test_the_budget_that_ends_later_is_told() -> None:
    """A key's day and its team's month are two budgets; who has spent both waits for the longer."""
    house = House(budget=Budget(usd=Decimal("0.001"), per="day"), team=CENT)

    async def body_() -> None:
        assert await paid(house, "0.001") is None
        refused = await paid(house, "0")
        assert refused is not None
        assert refused.message.startswith("key 'a' has spent 0.001 of 0.001 USD today")
        assert await paid(house, "0.01", key="c") is None
        refused = await paid(house, "0")
        assert refused is not None
        assert refused.retry_after_s == 6.5 * 86_400  # of the month, and not of the day
        house.clock.s += 12.5 * 3600  # the next day
        refused = await paid(house, "0")
        assert refused is not None
        assert refused.message.startswith("team 'ops' has spent 0.011 of 0.01 USD this month")

    run(body_())


def test_a_budget_of_a_team_wants_a_price() -> None:
    """A key without a budget is refused what nobody knows the cost of where its team has one."""
    house = House(team=CENT)

    async def body_() -> None:
        refused = await (await came_in(house, key="c")).reserve(body(), house.branch("unpriced"))
        assert isinstance(refused, PermissionDenied)
        assert (refused.code, refused.message.split(",")[0]) == (
            "price_unknown",
            "team 'ops' has a budget in USD",
        )

    run(body_())


def spent(key: str, usd: str) -> Spent:
    """What records say of a key."""
    return Spent(key=key, day=START.date(), usd=Decimal(usd))


def test_a_teams_spend_is_the_sum_of_its_keys() -> None:
    """By the records: also what no worker told of, and what a revoked key spent; not what others did."""
    house = House(team=CENT)
    house.bind(team=CENT, revoked=["c"])
    house.spent = [spent("a", "0.004"), spent("b", "9"), spent("c", "0.005")]

    async def body_() -> None:
        await house.limiters[0].refresh()
        assert told(house) == Decimal("0.009")
        assert await paid(house, "0.001") is None
        refused = await paid(house, "1")
        assert isinstance(refused, BudgetExceeded)

    run(body_())


def test_what_a_key_has_spent_goes_with_it() -> None:
    """One that joins brings it along, one that leaves takes it away: neither is refused or served for what is
    not the team's any more."""
    house = House(workers=2, team=CENT)
    house.bind(team=CENT, members=["a"])

    async def refreshed() -> None:
        house.clock.s += RIPE_S
        for _ in range(2):
            for limiter in house.limiters:
                await limiter.refresh()
            house.clock.s += RIPE_S

    async def body_() -> None:
        house.spent = [spent("a", "0.002"), spent("c", "0.02")]
        await refreshed()
        assert await paid(house, "0.001") is None
        assert told(house) == Decimal("0.003")
        house.spent[0] = spent("a", "0.003")
        house.bind(team=CENT)
        await refreshed()
        assert told(house) == Decimal("0.023")
        assert isinstance(await paid(house, "1"), BudgetExceeded)
        house.bind(team=CENT, members=["a"], left=["c"])
        for limiter in house.limiters:
            await limiter.refresh()  # at once
        assert told(house, "team/ops/usd/2026-11/1") == Decimal("0.003")
        assert await paid(house, "0.007", worker=1) is None
        assert isinstance(await paid(house, "1"), BudgetExceeded)

    run(body_())


def test_what_is_held_of_a_teams_money_is_told_after_a_rest() -> None:
    """A counter that nobody used for a while is forgotten here for every key of the team, not for one."""
    house = House(team=CENT)

    async def body_() -> None:
        for key in "ac":
            assert await paid(house, "0", key=key) is None
        house.clock.s += 2.0
        house.limiters[0].tick()
        assert house.limiters[0].held() == {}
        for key in "ac":
            held = await came_in(house, key=key)
            assert await held.reserve(body(max_tokens=10), house.branch()) is None
            assert house.limiters[0].held().get("team/ops/usd/2026-11", 0) > 0
            held.settle(closed(cost="0"))
            house.clock.s += 2.0
            house.limiters[0].tick()

    run(body_())


def test_a_budget_that_is_gone_while_it_was_asked_refuses_in_words() -> None:
    """What who counts says of it can still be told."""
    house = House(team=CENT)

    async def body_() -> None:
        assert await paid(house, "0.01") is None
        held = await came_in(house, key="c")
        ask = house.ports[0].ask

        def gone(wants: Any) -> Any:
            house.bind(team=may(concurrency=1))
            return ask(wants)

        house.ports[0].ask = gone  # type: ignore[method-assign]
        refused = await held.reserve(body(), house.branch())
        assert isinstance(refused, BudgetExceeded)
        assert "0.01 of 0.01 USD" in refused.message

    run(body_())


@settings(max_examples=15, deadline=None)
@given(
    limit=st.integers(min_value=1, max_value=400),
    seed=st.integers(min_value=0, max_value=10**6),
)
def test_four_workers_let_in_what_one_would(limit: int, seed: int) -> None:
    """Keys of a team, flooding for two minutes through workers by chance, within one percent or one call."""
    counts = []
    for workers in (1, 4):
        house = House(workers=workers, team=may(requests_per_minute=limit))
        rng, found = random.Random(seed), [0]

        async def body_(house: House = house, rng: random.Random = rng, found: list[int] = found) -> None:
            while house.clock.s < 122.0:
                house.clock.s += rng.expovariate(limit / 20)
                with contextlib.suppress(RateLimited):
                    worker = rng.randrange(len(house.limiters))
                    (await came_in(house, worker, key=rng.choice("ac"))).settle(closed())
                    found[0] += 1
                if rng.random() < 0.1:
                    house.limiters[rng.randrange(len(house.limiters))].tick()

        run(body_())
        counts.append(found[0])
    assert abs(counts[0] - counts[1]) <= max(2, 0.01 * counts[0])
    assert counts[1] <= 3 * limit * 1.01 + 1


@settings(max_examples=15, deadline=None)
@given(
    budget=st.integers(min_value=1, max_value=2000),
    costs=st.lists(st.integers(min_value=0, max_value=600), min_size=1, max_size=60),
    workers=st.integers(min_value=1, max_value=4),
    at_once=st.integers(min_value=1, max_value=6),
    seed=st.integers(min_value=0, max_value=10**6),
)
def test_spend_is_at_most_the_budget_and_the_calls_under_way(
    budget: int, costs: list[int], workers: int, at_once: int, seed: int
) -> None:
    """Whichever key calls, whatever it costs, however it ends; nothing is held when all have ended."""
    house = House(workers=workers, team=Allowance(budget=Budget(usd=Decimal(budget) / 1_000_000)))
    rng = random.Random(seed)

    async def body_() -> None:
        spent, inside = 0, []
        for cost in costs:
            held = await came_in(house, rng.randrange(workers), key=rng.choice("ac"))
            if await held.reserve(body(max_tokens=rng.randrange(200)), house.branch()) is None:
                assert spent < budget
                inside.append((held, cost))
            while len(inside) >= at_once or (inside and rng.random() < 0.3):
                ended, paid = inside.pop(rng.randrange(len(inside)))
                ended.settle(closed(cost=str(Decimal(paid) / 1_000_000)))
                spent += paid
            house.clock.s += rng.random()
            house.limiters[rng.randrange(workers)].tick()
        for ended, paid in inside:
            ended.settle(closed(cost=str(Decimal(paid) / 1_000_000)))
            spent += paid
        assert spent < budget + sum(sorted(costs)[-at_once:]) or spent == 0
        for limiter in house.limiters:
            house.clock.s += 2
            limiter.tick()
            assert limiter.held() == {}
        assert told(house) == Decimal(spent) / 1_000_000

    run(body_())
