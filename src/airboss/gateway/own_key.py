"""What `GET /v1/key` tells a caller of the key that was sent: what it may call, and what is left of its
limits and its money, its own and its team's. No other key's."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from airboss.gateway.stock import Scope
from airboss.governance.budgets import period_end
from airboss.governance.counting import usd_of

if TYPE_CHECKING:
    from airboss.domain.ports import Clock
    from airboss.gateway.limits import Limiter
    from airboss.gateway.spending import Payer


encode = msgspec.json.Encoder(decimal_format="number").encode
"""Of an answer: money as everywhere, as numbers."""


class LimitLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A limit; `left` of it as far as this worker knows, as `x-ratelimit-remaining-…` has it."""

    of: str
    what: str
    limit: int
    left: int


class BudgetLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, what records of some seconds ago say of this period, and when the next begins."""

    of: str
    usd: Decimal
    per: Literal["month", "week", "day"]
    spent_usd: Decimal
    left_usd: Decimal
    ends_at: datetime


class OwnKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key to whoever has it. `models` are the names that it may send."""

    object: str = "key"
    name: str
    team: str | None
    models: list[str]
    limits: list[LimitLeft]
    budgets: list[BudgetLeft]


def own_key(name: str, models: list[str], limiter: Limiter | None, clock: Clock) -> OwnKey:
    """What is known of it here."""
    if limiter is None:  # nobody's calls are limited
        return OwnKey(name=name, team=None, models=models, limits=[], budgets=[])
    team, at = limiter.teams.get(name), clock.now()
    scopes = [Scope("key", name), *([Scope("team", team)] if team is not None else [])]
    return OwnKey(
        name=name,
        team=team,
        models=models,
        limits=[
            LimitLeft(
                of=scope.kind,
                what=stock.what,
                limit=stock.limit,
                left=stock.left_at(clock.monotonic()),
            )
            for scope in scopes
            for stock in limiter.scopes.get(scope, ())
        ],
        budgets=[
            _budget(limiter, limiter.budgets[scope], at) for scope in scopes if scope in limiter.budgets
        ],
    )


def _budget(limiter: Limiter, payer: Payer, at: datetime) -> BudgetLeft:
    spent, usd = usd_of(limiter.keys_spent.of(payer.stock(at).counter)), payer.budget.usd
    return BudgetLeft(
        of=payer.scope.kind,
        usd=usd,
        per=payer.budget.per,
        spent_usd=spent,
        left_usd=max(Decimal(0), usd - spent),
        ends_at=period_end(payer.budget, at),
    )
