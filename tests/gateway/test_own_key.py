"""`GET /v1/key`: what a caller's own key may, and what is left of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from airboss.domain.plan import Allowance, Budget, Limits
from airboss.domain.ports import Spent
from airboss.gateway.own_key import OwnKey, own_key
from tests.gateway.limited import House, came_in, run
from tests.support.gateway import Gateway


def told(house: House, key: str = "a") -> OwnKey:
    """What the first worker says of a key."""
    return own_key(key, ["d"], house.limiters[0], house.clock)


def test_a_key_hears_of_its_own_limits_and_money() -> None:
    """And of its team's, which others spend too; not of another key's."""
    team = Allowance(limits=Limits(tokens_per_minute=1_000), budget=Budget(usd=Decimal(5)))
    budget = Budget(usd=Decimal(1), per="day")
    house = House(key=Limits(requests_per_minute=10), budget=budget, team=team)

    async def body_() -> None:
        today = house.clock.now().date()
        house.spent += [
            Spent(key="a", day=today, usd=Decimal("0.25")),
            Spent(key="c", day=today, usd=Decimal(2)),
        ]
        await house.limiters[0].refresh()
        await came_in(house)
        found = told(house)
        assert (found.name, found.team, found.models) == ("a", "ops", ["d"])
        assert [(each.of, each.what, each.limit) for each in found.limits] == [
            ("key", "requests", 10),
            ("team", "tokens", 1_000),
        ]
        assert found.limits[0].left == 9
        own, shared = found.budgets
        assert (own.of, own.usd, own.spent_usd, own.left_usd, own.per) == (
            "key",
            1,
            Decimal("0.25"),
            Decimal("0.75"),
            "day",
        )
        assert own.ends_at == datetime(2026, 11, 25, tzinfo=UTC)
        assert (shared.of, shared.spent_usd, shared.left_usd) == ("team", Decimal("2.25"), Decimal("2.75"))
        assert told(house, "b") == OwnKey(name="b", team=None, models=["d"], limits=[], budgets=[])
        house.spent.append(Spent(key="a", day=today, usd=Decimal(3)))
        await house.limiters[0].refresh()
        assert told(house).budgets[0].left_usd == 0
        house.clock.s += 120
        assert told(house).limits[0].left == 10

    run(body_())


def test_places_that_came_free_are_left() -> None:
    """Also of a limit too small to lease from, and beside calls that are still under way."""
    house = House(key=Limits(concurrency=6))

    async def body_() -> None:
        calls = [await came_in(house) for _ in range(4)]
        assert told(house).limits[0].left == 2
        for left, call in enumerate(calls, start=3):
            call.release()
            assert told(house).limits[0].left == left
        assert await came_in(house)
        assert told(house).limits[0].left == 5

    run(body_())


def test_where_nothing_is_limited_there_is_nothing_to_tell() -> None:
    """But what it may call."""
    found = own_key("a", ["d"], None, House().clock)
    assert msgspec.to_builtins(found) == {
        "object": "key",
        "name": "a",
        "team": None,
        "models": ["d"],
        "limits": [],
        "budgets": [],
    }


def test_the_route_wants_a_key(gateway: Gateway) -> None:
    """And answers whoever has one of what it may call, with an id as any answer."""
    with gateway.client() as client:
        answer = client.get("/v1/key")
        assert answer.status_code == 200
        assert answer.json()["models"] == [m["id"] for m in client.get("/v1/models").json()["data"]]
        assert answer.headers["x-request-id"]
        assert client.post("/v1/key").status_code == 405
        assert client.get("/v1/key", headers={"authorization": "Bearer nobody"}).status_code == 401
