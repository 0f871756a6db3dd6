"""What each value of a tag has spent of its budget, in the admin API and on the page of keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.plan import Budget
from airboss.domain.ports import UsageQuery
from airboss.domain.record import EXTERNAL
from airboss.governance.budgets import period_end, period_start
from airboss.governance.counting import exactly
from airboss.store.usage import ROWS_MAX

VALUES_MAX: Final = 100
"""Values of a tag that are shown: those that have spent most."""


class ValueShown(msgspec.Struct, frozen=True, kw_only=True):
    """A value, what its calls have cost in this period by their records, and how many they were."""

    value: str
    spent_usd: Decimal
    requests: int


class TagShown(msgspec.Struct, frozen=True, kw_only=True):
    """A tag whose values have a budget each: of `usd`, which begins anew at `ends_at`. `more`: there are
    values beyond those that are shown, which have spent less."""

    name: str
    usd: Decimal
    per: Literal["month", "week", "day"]
    ends_at: datetime
    values: tuple[ValueShown, ...]
    more: bool


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """Every tag with a budget, by name."""

    tags: tuple[TagShown, ...]


def list_tags(desk: Desk, call: Call) -> Tags:
    """GET /api/v1/tags."""
    return Tags(tags=tags_shown(desk, call.now))


def tags_shown(desk: Desk, now: datetime) -> tuple[TagShown, ...]:
    """What each value has spent. Raises StoreUnavailable."""
    snapshot = desk.ledger.snapshot()
    budgets = snapshot.plan.tags if snapshot is not None else {}
    return tuple(one(desk, name, budgets[name], now) for name in sorted(budgets))


def one(desk: Desk, name: str, budget: Budget, now: datetime) -> TagShown:
    """One tag."""
    begin, end = period_start(budget, now), period_end(budget, now)
    asked = UsageQuery(
        since=begin, until=end, by=(f"tag:{name}", "arm"), order="cost_usd", limit=ROWS_MAX, people=()
    )
    found: dict[str, ValueShown] = {}
    for row in desk.log.usage(asked):
        value, arm = row.group
        if value and arm != EXTERNAL:
            before = found.get(value, ValueShown(value=value, spent_usd=Decimal(0), requests=0))
            spent = before.spent_usd + exactly(row.cost_usd or 0.0)
            found[value] = ValueShown(value=value, spent_usd=spent, requests=before.requests + row.requests)
    values = sorted(found.values(), key=lambda each: (-each.spent_usd, each.value))
    return TagShown(
        name=name,
        usd=budget.usd,
        per=budget.per,
        ends_at=end,
        values=tuple(values[:VALUES_MAX]),
        more=len(values) > VALUES_MAX,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/tags",
        summary=f"Tags with budgets, and what their values have spent: of each the {VALUES_MAX} dearest",
        handle=list_tags,
        role="viewer",
    ),
)
"""The routes of this module."""
