"""Limiters of several workers on one owner, with a clock that the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from airboss.domain.errors import Unavailable
from airboss.domain.plan import Allowance, Budget, DeploymentPlan, Limits, Price, ServingPlan, Target
from airboss.domain.ports import ApiKey, Snapshot, Spent
from airboss.domain.record import ClosedCall
from airboss.domain.release import ModelVersion, Release
from airboss.domain.request import InferenceRequest, Principal
from airboss.gateway import wire
from airboss.gateway.held import Held
from airboss.gateway.limits import Limiter
from airboss.gateway.serving import Branch, branch_of
from airboss.governance.counting import Answer, Change, Want
from airboss.governance.counting import Held as WhatIsHeld
from airboss.governance.owner import Owner

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
PRICE = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))
"""A token costs a millionth of a dollar."""


class HeldClock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> datetime:
        """Wall-clock time."""
        return START + timedelta(seconds=self.s)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.s

    def epoch(self) -> float:
        """As the owner reads it."""
        return self.now().timestamp()


class Shared:
    """One worker's side of an owner that several share; `away` cuts it off."""

    shared: ClassVar = True

    def __init__(self, owner: Owner, clock: HeldClock, worker: str) -> None:
        self.owner = owner
        self.clock = clock
        self.worker = worker
        self.away = False
        self.asked = 0
        self._seq = 0
        self._unheard: list[Sequence[Change]] = []

    @property
    def here(self) -> bool:
        """Whether it can be asked."""
        return not self.away

    async def start(self, held: WhatIsHeld) -> None:
        """Say hello."""
        self.owner.hello(self.worker, held(), now=self.clock.epoch())

    def ask(self, wants: Sequence[Want]) -> Answer | asyncio.Future[Answer]:
        """At once."""
        if self.away:
            raise Unavailable("away", code="counters_away", retry_after_s=1)
        self.asked += 1
        return self.owner.ask(self.worker, wants, now=self.clock.epoch())

    def tell(self, changes: Sequence[Change]) -> None:
        """At once, or when it is back."""
        self._unheard.append(changes)
        if self.away:
            return
        for each in self._unheard:
            self._seq += 1
            self.owner.tell(self.worker, self._seq, each, now=self.clock.epoch())
        self._unheard.clear()

    def tick(self) -> None:
        """Nothing is due."""

    async def close(self) -> None:
        """Die."""
        self.owner.gone(self.worker, now=self.clock.epoch())


class House:
    """Workers, their owner and a clock; deployment `d` at a price that is known, `unpriced` at none."""

    def __init__(
        self,
        *,
        workers: int = 1,
        key: Limits | None = None,
        deployment: Limits | None = None,
        everybody: Limits | None = None,
        budget: Budget | None = None,
        each_user: Allowance | None = None,
        team: Allowance | None = None,
        tags: Mapping[str, Budget] | None = None,
    ) -> None:
        self.clock = HeldClock()
        self.owner = Owner(None, now=self.clock.epoch())
        self.spent: list[Spent] = []
        self.ports = [Shared(self.owner, self.clock, f"w{n}") for n in range(workers)]
        self.limiters = [
            Limiter(p, clock=self.clock, spending=self.spending, of_users=self.of_users) for p in self.ports
        ]
        self.made = 0
        version = ModelVersion(provider="p", kind="openai-compatible", model="m")
        self.release = Release(digest="r", name="r", model=version)
        self.deployments = {
            name: DeploymentPlan(
                name=name,
                aliases=(),
                stable=self.release,
                target=Target(
                    provider="p",
                    kind="openai-compatible",
                    base_urls=("http://u",),
                    upstream_model="m",
                    price=price,
                ),
                limits=deployment if name == "d" else None,
            )
            for name, price in (("d", PRICE), ("unpriced", None))
        }
        self.bind(key=key, everybody=everybody, budget=budget, each_user=each_user, team=team, tags=tags)
        for port, limiter in zip(self.ports, self.limiters, strict=True):
            self.owner.hello(port.worker, limiter.held(), now=self.clock.epoch())

    def bind(
        self,
        *,
        key: Limits | None = None,
        everybody: Limits | None = None,
        budget: Budget | None = None,
        each_user: Allowance | None = None,
        team: Allowance | None = None,
        tags: Mapping[str, Budget] | None = None,
        members: Collection[str] = ("a", "c"),
        left: Collection[str] = (),
        revoked: Collection[str] = (),
    ) -> None:
        """Another plan and keys: `a` with these limits, `b` and `c` without; `members` are in team `ops`,
        `left` have been."""
        keys = [
            ApiKey(
                name=name,
                sha256=f"{ord(name):064x}",
                created_at=START,
                team="ops" if team is not None and name in members else None,
                left={"ops": 1} if name in left else {},
                revoked_at=START if name in revoked else None,
            )
            for name in "abc"
        ]
        keys[0] = msgspec.structs.replace(keys[0], limits=key, budget=budget, each_user=each_user)
        plan = ServingPlan(
            number=1,
            created_at=START,
            deployments=tuple(self.deployments.values()),
            limits=everybody,
            teams={} if team is None else {"ops": team},
            tags=dict(tags or {}),
        )
        for limiter in self.limiters:
            limiter.bind(Snapshot(revision=1, plan=plan, keys=tuple(keys)))

    def spending(self, since: date) -> Iterable[Spent]:
        """What records say."""
        return [each for each in self.spent if each.day >= since]

    def of_users(self, key: str, users: Sequence[str], since: date) -> dict[str, Decimal]:
        """What records say of users, by their names for counters."""
        found: dict[str, Decimal] = {}
        for each in self.spent:
            user = each.user or ""
            if each.key == key and user in users and each.day >= since:
                found[user] = found.get(user, Decimal(0)) + each.usd
        return found

    def branch(self, deployment: str = "d") -> Branch:
        """The stable branch of a deployment."""
        plan = ServingPlan(number=1, created_at=START, deployments=())
        return branch_of(plan, "stable", self.release, self.deployments[deployment].target)

    async def enter(
        self,
        worker: int = 0,
        key: str = "a",
        *,
        size: int = 40,
        user: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Held | None:
        """A call on its way in. Raises ApiError."""
        self.made += 1
        request = InferenceRequest(
            id=f"call-{self.made}",
            started_at=self.clock.now(),
            principal=Principal(key=key),
            operation="chat",
            deployment="d",
            requested_model="d",
            stream=False,
            wants_usage=False,
            body=b" " * size,
            user=user,
            tags=dict(tags or {}),
        )
        return await self.limiters[worker].enter(request, self.deployments["d"])


def body(**members: Any) -> wire.ChatBody:
    """A chat request."""
    return wire.ChatBody(model="d", messages=[wire.Message(role="user", content="hi")], **members)


def closed(tokens: int = 0, cost: str | None = None) -> ClosedCall:
    """How a call ended that used so much."""
    return ClosedCall(
        id="call",
        status="ok",
        latency_ms=1.0,
        overhead_ms=0.1,
        input_tokens=tokens,
        output_tokens=0,
        cost_usd=Decimal(cost) if cost is not None else None,
    )


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine."""
    asyncio.run(body)


async def came_in(house: House, worker: int = 0, **options: Any) -> Held:
    """A call that is limited, and let in."""
    held = await house.enter(worker, **options)
    assert held is not None
    return held
