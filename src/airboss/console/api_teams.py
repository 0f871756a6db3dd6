"""What each team is, and what its calls have cost this month, in the admin API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from airboss.console.api_keys import BudgetShown, KeyShown, keys_shown, teams_shown
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.plan import Budget
from airboss.domain.ports import ApiKey, UsageQuery
from airboss.domain.record import EXTERNAL
from airboss.governance.budgets import members, period_end, period_start
from airboss.governance.counting import exactly
from airboss.store.usage import ROWS_MAX

MONTH: Final = Budget(usd=Decimal(0), per="month")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a team, and its own budget."""

    name: str
    state: Literal["active", "expired", "revoked"]
    budget: BudgetShown | None


class TeamListed(msgspec.Struct, frozen=True, kw_only=True):
    """A team: how many of its keys are good now, the budget that they share, and every key, revoked ones too;
    what the calls of these have cost since `since`, the first of the month (UTC), by their records, and how
    many they were, of `cost_unknown` of which nobody knows what they cost. `configured`: it stands in the
    configuration."""

    name: str
    configured: bool
    keys: int
    budget: BudgetShown | None
    members: tuple[Member, ...]
    since: datetime
    spent_usd: Decimal
    requests: int
    cost_unknown: int


class Teams(msgspec.Struct, frozen=True, kw_only=True):
    """Every team, by name."""

    teams: tuple[TeamListed, ...]


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What calls have cost, how many they were, and of how many the cost is not known."""

    spent_usd: Decimal = Decimal(0)
    requests: int = 0
    cost_unknown: int = 0


def list_teams(desk: Desk, call: Call) -> Teams:
    """GET /api/v1/teams. Raises StoreUnavailable."""
    keys = desk.ledger.all_keys()
    shown = {each.name: each for each in keys_shown(desk, call.now)}
    teams = {each.name: each for each in teams_shown(desk, call.now)}
    of_team, used = members(keys), month_of(desk, keys, call.now)
    return Teams(
        teams=tuple(
            listed(
                name,
                [shown[key] for key in sorted(of_team.get(name, ())) if key in shown],
                used.get(name, Used()),
                budget=teams[name].budget if name in teams else None,
                configured=name in teams,
                since=period_start(MONTH, call.now),
            )
            for name in sorted({*teams, *of_team})
        )
    )


def listed(
    name: str,
    keys: Iterable[KeyShown],
    used: Used,
    *,
    budget: BudgetShown | None,
    configured: bool,
    since: datetime,
) -> TeamListed:
    """One team."""
    made = tuple(Member(name=each.name, state=each.state, budget=each.budget) for each in keys)
    return TeamListed(
        name=name,
        configured=configured,
        keys=sum(each.state == "active" for each in made),
        budget=budget,
        members=made,
        since=since,
        spent_usd=used.spent_usd,
        requests=used.requests,
        cost_unknown=used.cost_unknown,
    )


def month_of(desk: Desk, keys: Iterable[ApiKey], now: datetime) -> dict[str, Used]:
    """What each team has used in the month of then, but for what spans tell of."""
    asked = UsageQuery(
        since=period_start(MONTH, now),
        until=period_end(MONTH, now),
        by=("team", "arm"),
        limit=ROWS_MAX,
        people=(),
        teams={key.name: key.team for key in keys if key.team},
    )
    found: dict[str, Used] = {}
    for row in desk.log.usage(asked):
        team, arm = row.group
        if team is not None and arm != EXTERNAL:
            before = found.get(team, Used())
            found[team] = Used(
                spent_usd=before.spent_usd + exactly(row.cost_usd or 0.0),
                requests=before.requests + row.requests,
                cost_unknown=before.cost_unknown + row.cost_unknown,
            )
    return found


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/teams",
        summary="Teams: their keys with budgets, and what their calls have cost this month",
        handle=list_teams,
        role="viewer",
    ),
)
"""The routes of this module."""
