"""Money for each value of a tag: every value has its own, whatever the key; a call without it has none."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from airboss.domain.errors import ApiError
from airboss.domain.plan import Allowance, Budget
from airboss.domain.ports import Spent
from airboss.gateway.limits import FORGET_S
from airboss.gateway.stock import BudgetExceeded
from airboss.governance.users import USERS_MAX, pseudonym, tag_salt
from tests.gateway.limited import START, House, body, came_in, closed, run

DAY = Budget(usd=Decimal("0.0010"), per="day")
APOLLO = {"project": "apollo"}


async def paid(house: House, cost: str, worker: int = 0, **call: object) -> ApiError | None:
    """A call that costs so much, or why it is not taken."""
    held = await came_in(house, worker, **call)
    refused = await held.reserve(body(max_tokens=10), house.branch())
    held.settle(closed(5, cost)) if refused is None else held.release()
    return refused


def test_each_value_has_its_own() -> None:
    """For all workers and keys together; a refusal says which tag, how much and until when."""
    house = House(workers=2, tags={"project": DAY})

    async def body_() -> None:
        assert await paid(house, "0.0006", tags=APOLLO) is None
        assert await paid(house, "0.0006", 1, key="b", tags=APOLLO) is None
        refused = await paid(house, "0.0001", tags=APOLLO)
        assert isinstance(refused, BudgetExceeded)
        assert refused.message == (
            "the value of tag 'project' has spent 0.0012 of 0.001 USD today: raise budget under "
            "[tags.project], or wait until 2026-11-25 (UTC)"
        )
        assert "apollo" not in refused.message
        assert await paid(house, "0.0001", tags={"project": "gemini"}) is None
        assert await house.enter(tags={"other": "apollo"}) is None
        assert await house.enter() is None
        assert await house.enter(tags={"project": ""}) is None
        assert [(scope.kind, scope.name, what) for scope, what in house.limiters[0].refusals] == [
            ("tag", "project", "usd")
        ]
        house.clock.s += 86_400
        assert await paid(house, "0.0001", tags=APOLLO) is None

    run(body_())


def test_it_binds_beside_a_key_a_user_and_another_tag() -> None:
    """All of them or none: what one refuses is reserved of no other."""
    each = Allowance(budget=Budget(usd=Decimal(5)))
    house = House(
        budget=Budget(usd=Decimal(5)),
        each_user=each,
        tags={"project": DAY, "team": Budget(usd=Decimal(5))},
    )
    tags = APOLLO | {"team": "x"}

    async def body_() -> None:
        assert await paid(house, "0.002", user="ana", tags=tags) is None
        refused = await paid(house, "0.002", user="ana", tags=tags)
        assert refused is not None
        assert "the value of tag 'project'" in refused.message
        assert await paid(house, "0.002", user="ana", tags={"team": "x"}) is None
        for limiter in house.limiters:
            house.clock.s += 2
            limiter.tick()
        held = {name: each.total for name, each in house.owner._book._holdings.items()}
        assert set(held.values()) == {0}, held

    run(body_())


def test_what_records_say_counts_where_nothing_is_known() -> None:
    """After all was forgotten, the first call of a value asks them."""
    house = House(tags={"project": DAY})
    name = pseudonym(tag_salt("project"), "apollo")
    house.spent = [Spent(key="#project", user=name, day=START.date(), usd=Decimal("0.0009"))]

    async def body_() -> None:
        assert await paid(house, "0.0002", tags=APOLLO) is None
        assert await paid(house, "0.0001", tags=APOLLO) is not None
        house.spent = [Spent(key="#project", user=name, day=START.date(), usd=Decimal("0.5"))]
        house.bind(tags={"project": Budget(usd=Decimal("0.1"))})
        house.clock.s += FORGET_S + 10
        house.limiters[0].tick()
        refused = await paid(house, "0.0001", tags=APOLLO)
        assert refused is not None
        assert "0.50 of 0.10 USD this month" in refused.message

    run(body_())


def test_a_budget_that_is_taken_away_binds_no_more() -> None:
    """Calls under way settle all the same."""
    house = House(tags={"project": DAY})

    async def body_() -> None:
        held = await came_in(house, tags=APOLLO)
        assert await held.reserve(body(), house.branch()) is None
        house.bind()
        held.settle(closed(5, "0.5"))
        assert await house.enter(tags=APOLLO) is None

    run(body_())


def test_a_price_that_nobody_knows_is_refused() -> None:
    """With the tag in the words."""
    house = House(tags={"project": DAY})

    async def body_() -> None:
        held = await came_in(house, tags=APOLLO)
        refused = await held.reserve(body(), house.branch("unpriced"))
        assert refused is not None
        assert refused.message.startswith("the value of tag 'project' has a budget in USD, and nobody knows")

    run(body_())


def test_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come after share what one may have; who is known keeps theirs."""
    assert USERS_MAX >= 10_000
    monkeypatch.setattr("airboss.governance.users.USERS_MAX", 3)
    house = House(tags={"project": DAY})

    async def body_() -> None:
        for n in range(3):
            assert await paid(house, "0.002", tags={"project": f"p{n}"}) is None
        assert await paid(house, "0.002", tags={"project": "p3"}) is None
        refused = await paid(house, "0.002", tags={"project": "p4"})
        assert refused is not None
        assert "after the first" in refused.message

    run(body_())


@pytest.mark.parametrize("seed", range(3))
def test_workers_spend_what_one_would(seed: int) -> None:
    """Nothing above the budget but what the calls under way cost; all that was paid is counted."""
    rng = random.Random(seed)
    house = House(workers=4, tags={"project": Budget(usd=Decimal("0.01"), per="day")})

    async def body_() -> None:
        spent = Decimal(0)
        for _ in range(400):
            worker = rng.randrange(4)
            if await paid(house, "0.0001", worker, tags=APOLLO) is None:
                spent += Decimal("0.0001")
            if not rng.randrange(20):
                house.clock.s += 1.5
                house.limiters[worker].tick()
        assert Decimal("0.0099") <= spent <= Decimal("0.0102"), (seed, spent)

    run(body_())
