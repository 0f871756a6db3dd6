"""A budget for each user of a key: reserved, settled, and what records say counts."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, PermissionDenied, SetupError
from airboss.domain.plan import Allowance, Budget
from airboss.domain.ports import ApiKey, Spent
from airboss.gateway import limits, spending
from airboss.gateway.limits import FORGET_S, Limiter
from airboss.gateway.spending import READ_AGAIN_S, RIPE_S
from airboss.gateway.stock import BudgetExceeded, LimitReached
from airboss.governance.counting import FORGET_USER_S, units
from airboss.governance.users import NOBODY, pseudonym, salt_of
from tests.gateway.limited import START, House, body, came_in, closed, run

KEY = ApiKey(name="a", sha256="0" * 64, created_at=START)
ANA = pseudonym(salt_of(KEY), "ana")


def each(usd: str, **terms: Any) -> Allowance:
    """So much for each user."""
    return Allowance(budget=Budget(usd=Decimal(usd), **terms))


async def pays(house: House, usd: str, worker: int = 0, *, user: str | None = "ana") -> ApiError | None:
    """A call that costs so much; returns why it cannot be."""
    held = await came_in(house, worker, user=user)
    refused = await held.reserve(body(max_tokens=10), house.branch())
    if refused is None:
        held.settle(closed(cost=usd))
    else:
        held.release()
    house.limiters[worker].flush(now=True)
    return refused


def spent(house: House, user: str = ANA, period: str = "2026-11") -> Decimal:
    """What is counted of a user's money."""
    holding = house.owner._book.state().holdings.get(f"user/a/{user}/usd/{period}")
    return Decimal(holding.spent if holding is not None else 0) / units(Decimal(1))


def test_who_has_spent_theirs_takes_nothing_from_others() -> None:
    """The refusal says whose budget it is and what was spent of it; the key's own holds beside."""
    house = House(workers=4, each_user=each("0.5", per="day"), budget=Budget(usd=Decimal("2.1")))

    async def body_() -> None:
        for worker in range(3):
            assert await pays(house, "0.2", worker) is None
        refused = await pays(house, "0.2", 3)
        assert isinstance(refused, BudgetExceeded)
        assert refused.code == "budget_exceeded"
        assert refused.message == (
            "this user of key 'a' has spent 0.60 of 0.50 USD today: raise each_user.budget under [keys.a] "
            "or with `airboss keys set a`, or wait until 2026-11-25 (UTC)"
        )
        assert refused.retry_after_s == 12 * 3600
        for user in (None, "bea"):
            assert await pays(house, "0.7", 1, user=user) is None
        refused = await pays(house, "1", user=None)
        assert refused is not None
        assert "whoever calls with key 'a' and names no user has spent 0.70 " in refused.message
        assert house.limiters[1].said_no() == {}
        assert house.limiters[3].said_no() == {"user\na\nusd": 1}
        assert await pays(house, "0.2", user="cec") is None
        refused = await pays(house, "0.2", user="cec")
        assert refused is not None
        assert "key 'a' has spent 2.20 of 2.10 USD this month" in refused.message
        house.clock.s += 12 * 3600
        house.bind(each_user=each("0.5", per="day"))
        assert await pays(house, "0.2", 3) is None

    run(body_())


def test_calls_under_way_count_against_a_users_budget() -> None:
    """What they may cost is reserved: a flood of one user overspends no further than one call does."""
    house = House(workers=4, each_user=each("0.001"))

    async def body_() -> None:
        inside: list[Any] = []
        refused: ApiError | None = None
        while refused is None:
            held = await came_in(house, len(inside) % 4, user="ana")
            refused = await held.reserve(body(max_tokens=90), house.branch())
            inside.append(held)
        assert len(inside) == 11  # of a hundred millionths each
        assert "calls under way may cost the rest" in refused.message
        assert isinstance(refused, LimitReached)
        assert await pays(house, "0", user="bea") is None

    run(body_())


@settings(max_examples=20, deadline=None)
@given(
    budget=st.integers(min_value=1, max_value=2000),
    calls=st.lists(
        st.tuples(st.integers(0, 3), st.integers(min_value=0, max_value=600)), min_size=1, max_size=60
    ),
    workers=st.integers(min_value=1, max_value=4),
    at_once=st.integers(min_value=1, max_value=6),
    seed=st.integers(min_value=0, max_value=10**6),
)
def test_each_spends_at_most_the_budget_and_their_calls_under_way(
    budget: int, calls: list[tuple[int, int]], workers: int, at_once: int, seed: int
) -> None:
    """Whoever serves them, whatever they cost, and whenever users are forgotten by workers and read again."""
    house = House(workers=workers, each_user=each(str(Decimal(budget) / 1_000_000)))
    rng = random.Random(seed)

    async def body_() -> None:
        paid = Counter[int]()
        inside: list[tuple[Any, int, int]] = []
        most = max(cost for _, cost in calls)

        def ends(held: Any, user: int, cost: int) -> None:
            held.settle(closed(cost=str(Decimal(cost) / 1_000_000)))
            paid[user] += cost
            told = Decimal(paid[user]) / 1_000_000
            name = pseudonym(salt_of(KEY), f"u{user}")
            house.spent = [each for each in house.spent if each.user != name]
            house.spent.append(Spent(key="a", day=START.date(), usd=told, user=name))

        for user, cost in calls:
            held = await came_in(house, rng.randrange(workers), user=f"u{user}")
            if await held.reserve(body(max_tokens=rng.randrange(200)), house.branch()) is None:
                assert paid[user] < budget
                inside.append((held, user, cost))
            while len(inside) >= at_once or (inside and rng.random() < 0.3):
                ends(*inside.pop(rng.randrange(len(inside))))
            house.clock.s += rng.random() * 2
            limiter = house.limiters[rng.randrange(workers)]
            limiter.flush(now=True)
            limiter.tick()
            if rng.random() < 0.5:
                await limiter.refresh()
        for held, user, cost in inside:
            ends(held, user, cost)
        for limiter in house.limiters:
            house.clock.s += FORGET_S + 1
            limiter.tick()
            assert limiter.held() == {}
            assert not limiter.users_spent._purses
        for user, total in paid.items():
            assert total < budget + at_once * most or total == 0
            assert spent(house, pseudonym(salt_of(KEY), f"u{user}")) == Decimal(total) / 1_000_000

    run(body_())


def test_a_user_of_whom_nothing_is_known_is_looked_up_first() -> None:
    """Where the budget is new, or who counts has forgotten: the first call is refused already. Who has
    something left is told it; records that cannot be read keep nobody waiting."""
    house = House(workers=2, each_user=each("0.5"))
    house.spent = [
        Spent(key="a", day=START.date(), usd=Decimal("0.4"), user=ANA),
        Spent(key="a", day=START.date().replace(day=1), usd=Decimal("0.3"), user=ANA),
        Spent(key="a", day=START.date(), usd=Decimal("0.4"), user=NOBODY),
    ]

    async def body_() -> None:
        refused = await pays(house, "0.2")
        assert isinstance(refused, BudgetExceeded)
        assert "has spent 0.70 of 0.50 USD" in refused.message
        assert await pays(house, "0.2", 1, user=None) is None
        refused = await pays(house, "0.2", user=None)
        assert refused is not None
        assert "has spent 0.60 of 0.50" in refused.message

        def fails(*_: Any) -> dict[str, Decimal]:
            raise SetupError("no ledger")

        house.limiters[0].users_spent._spending = spending.Asked(fails)
        assert await pays(house, "0.2", user="bea") is None

    run(body_())


def test_a_user_who_has_not_called_for_an_hour_costs_nothing_and_gets_nothing() -> None:
    """Who counts forgets them; what they have spent is known from records when they come back."""
    house = House(each_user=each("0.5"))

    async def body_() -> None:
        assert await pays(house, "0.6") is None
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.6"), user=ANA)]
        for _ in range(3):  # at first the lease goes back
            house.clock.s += FORGET_USER_S / 2 + 1
            house.limiters[0].tick()
            house.owner._book.sweep(house.clock.epoch())
        assert not house.owner._book.state().holdings
        assert not house.limiters[0]._stocks
        assert isinstance(await pays(house, "0.2"), BudgetExceeded)

    run(body_())


def test_what_a_killed_worker_did_not_tell_is_known_from_records() -> None:
    """Once, however often it is read; what is told by the worker as well is not counted twice."""
    house = House(workers=3, each_user=each("0.5"))
    slow, other = house.limiters[0], house.limiters[1]

    async def body_() -> None:
        held = await came_in(house, user="ana")
        assert await held.reserve(body(), house.branch()) is None
        held.settle(closed(cost="0.1"))  # not told yet
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.1"), user=ANA)]
        assert await pays(house, "0.1", 1) is None
        await other.refresh()
        slow.flush(now=True)
        other.flush(now=True)
        assert spent(house) == Decimal("0.2")
        house.spent = [
            Spent(key="a", day=START.date(), usd=Decimal("0.6"), user=ANA)
        ]  # of a worker that died
        for _ in range(8):
            house.clock.s += READ_AGAIN_S / 4
            assert await pays(house, "0", 2) is None or spent(house) >= Decimal("0.5")
            for limiter in house.limiters:
                limiter.tick()
                await limiter.refresh()
        assert spent(house) == Decimal("0.6")
        assert isinstance(await pays(house, "0.1", 1), BudgetExceeded)

    run(body_())


def test_who_counts_is_told_again_when_it_comes_back() -> None:
    """One that has forgotten all knows what users who call have spent, before it was read anew for good."""
    house = House(each_user=each("0.5"))

    async def body_() -> None:
        assert await pays(house, "0.4") is None
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.4"), user=ANA)]
        house.owner._book._holdings.clear()
        house.limiters[0].held()
        house.clock.s += RIPE_S
        await house.limiters[0].refresh()
        assert spent(house) == Decimal("0.4")

    run(body_())


def test_a_ledger_that_hangs_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls go on as where it is away, it is not asked again before it answers, and who counts hears of the
    worker all the while; then what it says counts."""
    monkeypatch.setattr(spending, "SILENT_S", 0.1)
    monkeypatch.setattr(limits, "TICK_S", 0.001)
    answers, asked = threading.Event(), Counter[str]()
    house = House(each_user=each("0.5"), budget=Budget(usd=Decimal(1)))
    limiter, port = house.limiters[0], house.ports[0]

    def hangs(whose: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asks(*args: Any) -> Any:
            asked[whose] += 1
            answers.wait(20)
            return ask(*args)

        return asks

    house.limiters[0] = limiter = Limiter(
        port,
        clock=house.clock,
        spending=hangs("keys", house.spending),
        of_users=hangs("users", house.of_users),
    )
    house.bind(each_user=each("0.5"), budget=Budget(usd=Decimal(1)))
    beat = asyncio.Event()
    monkeypatch.setattr(port, "tick", beat.set)

    async def body_() -> None:
        chores = asyncio.create_task(limiter.run())
        async with asyncio.timeout(10):  # a call each would wait for 20 s
            assert [await pays(house, "0", user=f"u{n}") for n in range(50)] == [None] * 50
        assert asked == {"keys": 1, "users": 1}
        for _ in range(10):
            beat.clear()
            await asyncio.wait_for(beat.wait(), 10)
        house.spent = [Spent(key="a", day=START.date(), usd=Decimal("0.6"), user=ANA)]
        answers.set()
        async with asyncio.timeout(10):
            while not isinstance(await pays(house, "0"), BudgetExceeded):
                beat.clear()
                await beat.wait()
        chores.cancel()

    try:
        run(body_())
    finally:
        answers.set()


def test_a_users_budget_wants_a_price() -> None:
    """As a key's does."""
    house = House(each_user=each("0.5"))

    async def body_() -> None:
        refused = await (await came_in(house, user="ana")).reserve(body(), house.branch("unpriced"))
        assert isinstance(refused, PermissionDenied)
        assert refused.code == "price_unknown"

    run(body_())


@pytest.mark.parametrize("gone", ["the key's users", "their budget"])
def test_a_budget_may_go_while_it_is_asked_for(gone: str) -> None:
    """A plan that comes in the midst of a call ends nothing."""
    house = House(each_user=each("0.5"))

    async def body_() -> None:
        held = await came_in(house, user="ana")
        house.bind(each_user=None if gone == "the key's users" else Allowance())
        assert await held.reserve(body(), house.branch()) is None
        held.settle(closed(cost="0.1"))
        house.clock.s += FORGET_S + 1
        house.limiters[0].tick()
        assert house.limiters[0].held() == {}

    run(body_())
