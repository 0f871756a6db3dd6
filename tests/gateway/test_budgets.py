"""Budgets: reserved, settled, and what records say counts; of one worker and of several."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, PermissionDenied
from airboss.domain.plan import Budget, ServingPlan
from airboss.domain.ports import ApiKey, Snapshot, Spent
from airboss.gateway import spending
from airboss.gateway.heads import error_response
from airboss.gateway.spending import RIPE_S
from airboss.gateway.stock import BudgetExceeded, LimitReached
from airboss.governance.budgets import period_of
from airboss.governance.counting import units
from tests.gateway.limited import START, House, body, came_in, closed, run

MONTH = Budget(usd=Decimal(1))


def test_a_budget_ends_with_the_call_that_spends_it() -> None:
    """Calls go until it is spent; the refusal tells what was spent, and when there is more."""
    house = House(workers=4, budget=Budget(usd=Decimal("0.001")))

    async def body_() -> None:
        for worker in (0, 1, 2, 3, 0):
            held = await came_in(house, worker)
            assert await held.reserve(body(max_tokens=50), house.branch()) is None
            held.settle(closed(cost="0.00024"))
        refused = await (await came_in(house, 3)).reserve(body(), house.branch())
        assert isinstance(refused, BudgetExceeded)
        assert refused.code == "budget_exceeded"
        assert refused.message == (
            "key 'a' has spent 0.0012 of 0.001 USD this month: raise budget under [keys.a] or with "
            "`airboss keys set a`, or wait until 2026-12-01 (UTC)"
        )
        assert refused.retry_after_s == 6.5 * 86_400
        assert error_response(refused, b"")[0].count(b"x-should-retry: false") == 1
        house.clock.s += 6.5 * 86_400
        assert await (await came_in(house)).reserve(body(), house.branch()) is None

    run(body_())


def test_calls_under_way_count_against_a_budget() -> None:
    """What they may cost is reserved, so that a flood overspends no further than one call does."""
    house = House(workers=4, budget=Budget(usd=Decimal("0.001"), per="day"))

    async def body_() -> None:
        inside: list[Any] = []
        refused: ApiError | None = None
        while refused is None:
            held = await came_in(house, len(inside) % 4)
            refused = await held.reserve(body(max_tokens=90), house.branch())
            inside.append(held)
        assert len(inside) == 11  # of a hundred millionths each
        assert "calls under way may cost the rest" in refused.message
        assert (refused.code, refused.retry_after_s) == ("budget_reserved", 1.0)
        assert isinstance(refused, LimitReached)  # which clients may try again, other than BudgetExceeded
        for held in inside:
            held.settle(closed(cost="0.00005"))
        assert await (await came_in(house)).reserve(body(max_tokens=90), house.branch()) is None

    run(body_())


@settings(max_examples=25, deadline=None)
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
    """Whatever calls cost beyond what was reserved for them, whoever serves them and however they end."""
    house = House(workers=workers, budget=Budget(usd=Decimal(budget) / 1_000_000))
    rng = random.Random(seed)

    async def body_() -> None:
        spent, inside = 0, []
        for cost in costs:
            held = await came_in(house, rng.randrange(workers))
            if await held.reserve(body(max_tokens=rng.randrange(200)), house.branch()) is None:
                assert spent < budget
                inside.append((held, cost))
            while len(inside) >= at_once or (inside and rng.random() < 0.3):
                ended, paid = inside.pop(rng.randrange(len(inside)))
                ended.settle(closed(cost=str(Decimal(paid) / 1_000_000)))
                spent += paid
                if rng.random() < 0.2:
                    ended.settle(closed(cost="1"))  # settled once is settled
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
        state = house.owner._book.state().holdings
        told = state["key/a/usd/2026-11"].spent if "key/a/usd/2026-11" in state else 0
        assert told == units(Decimal(spent) / 1_000_000)

    run(body_())


def test_what_records_say_counts() -> None:
    """Spend that no worker told of, because it died, is known from the records; others are not asked."""
    house = House(budget=MONTH)
    today = START.date()
    house.spent = [
        Spent(key="a", day=today.replace(day=1), usd=Decimal("0.6")),
        Spent(key="a", day=today, usd=Decimal("0.5")),
        Spent(key="a", day=today - timedelta(days=30), usd=Decimal(9)),
        Spent(key="b", day=today, usd=Decimal(9)),
    ]

    async def body_() -> None:
        assert await (await came_in(house)).reserve(body(), house.branch()) is None
        house.clock.s += 2
        house.limiters[0].tick()
        await house.limiters[0].refresh()
        refused = await (await came_in(house)).reserve(body(max_tokens=10_000), house.branch())
        assert isinstance(refused, BudgetExceeded)
        assert "1.10 of 1.00 USD" in refused.message

    run(body_())


def test_a_week_is_paid_by_its_own_days() -> None:
    """Its refusal says so and when it is over; with Monday there is money again."""
    house = House(budget=Budget(usd=Decimal(1), per="week"))
    monday = START.date() - timedelta(days=START.weekday())
    house.spent = [
        Spent(key="a", day=monday, usd=Decimal("0.6")),
        Spent(key="a", day=START.date(), usd=Decimal("0.5")),
        Spent(key="a", day=monday - timedelta(days=1), usd=Decimal(9)),
    ]

    async def body_() -> None:
        assert await (await came_in(house)).reserve(body(), house.branch()) is None
        house.clock.s += 2
        house.limiters[0].tick()
        await house.limiters[0].refresh()
        refused = await (await came_in(house)).reserve(body(max_tokens=10_000), house.branch())
        assert isinstance(refused, BudgetExceeded)
        assert "1.10 of 1.00 USD this week" in refused.message
        assert f"wait until {monday + timedelta(days=7)}" in refused.message
        house.clock.s += 7 * 86_400
        assert await (await came_in(house)).reserve(body(), house.branch()) is None

    run(body_())


def test_what_records_say_is_shown_of_every_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A period is told once for all, as there may be thousands, each second."""
    house = House()
    told: list[str] = []

    def counted(budget: Budget, at: datetime) -> str:
        told.append(budget.per)
        return period_of(budget, at)

    budgets = [Budget(usd=Decimal(n + 1), per="month" if n % 2 else "day") for n in range(20)]
    keys = tuple(
        ApiKey(name=f"k{n}", sha256=f"{n:064x}", created_at=START, budget=budget)
        for n, budget in enumerate(budgets)
    )
    house.spent = [Spent(key=each.name, day=START.date(), usd=Decimal("0.5")) for each in keys]
    plan = ServingPlan(number=1, created_at=START, deployments=())
    (limiter,) = house.limiters
    limiter.bind(Snapshot(revision=1, plan=plan, keys=keys))
    run(limiter.refresh())
    monkeypatch.setattr(spending, "period_of", counted)
    found = limiter.uses()
    assert [(each.name, each.limit, each.used) for each in found] == [
        (f"k{n}", float(n + 1), 0.5) for n in range(20)
    ]
    assert sorted(told) == ["day", "month"]


def test_what_records_say_first_counts_once() -> None:
    """A call that records tell of before its worker does is not spent twice: where the worker was slow,
    where the owner was away, and where a worker begins."""
    house = House(workers=3, budget=MONTH)
    slow, other, begun = house.limiters

    def spent() -> int:
        return house.owner._book.state().holdings["key/a/usd/2026-11"].spent

    async def body_() -> None:
        await other.refresh()
        held = await came_in(house)
        assert await held.reserve(body(), house.branch()) is None
        held.settle(closed(cost="0.4"))
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.4"))]
        await other.refresh()
        slow.flush(now=True)
        await other.refresh()
        assert spent() == units(Decimal("0.4"))
        held = await came_in(house)
        assert await held.reserve(body(), house.branch()) is None
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.5"))]
        await other.refresh()
        house.clock.s += RIPE_S
        other.held()  # the owner has just come back
        await other.refresh()
        held.settle(closed(cost="0.1"))
        slow.flush(now=True)
        assert spent() == units(Decimal("0.5"))
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.7"))]  # of a worker that died
        await other.refresh()
        house.clock.s += RIPE_S
        await other.refresh()
        assert spent() == units(Decimal("0.7"))
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.9"))]
        await begun.refresh()
        assert spent() == units(Decimal("0.7"))

    run(body_())


def test_a_budget_may_go_while_records_are_read() -> None:
    """A plan that comes in the midst of it ends nothing."""
    house = House(budget=MONTH)
    house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.4"))]
    read = house.spending

    def goes(since: date) -> Iterable[Spent]:
        house.bind()
        return read(since)

    house.limiters[0].keys_spent._spending = spending.Asked(goes)
    run(house.limiters[0].refresh())
    assert house.owner._book.state().holdings["key/a/usd/2026-11"].spent == units(Decimal("0.4"))


def test_a_budget_wants_a_price() -> None:
    """Where nobody knows what a call costs, a key with a budget is refused with the reason; others not."""
    house = House(budget=MONTH)

    async def body_() -> None:
        refused = await (await came_in(house)).reserve(body(), house.branch("unpriced"))
        assert isinstance(refused, PermissionDenied)
        assert refused.code == "price_unknown"
        assert "'m' of provider 'p'" in refused.message
        assert await house.enter(key="b") is None

    run(body_())
