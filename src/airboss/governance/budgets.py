"""The periods that budgets are for, in UTC, and how money is written. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from airboss.domain.plan import Budget
from airboss.domain.ports import ApiKey, Spent


def period_of(budget: Budget, at: datetime) -> str:
    """The period that a call begun then is paid from: `2026-11`, `2026-W48` or `2026-11-24`."""
    return at.astimezone(UTC).strftime(_NAMES[budget.per])


_NAMES: Final = {"month": "%Y-%m", "week": "%G-W%V", "day": "%Y-%m-%d"}
_WORDS: Final = {"month": "this month", "week": "this week", "day": "today"}


def period_words(per: Literal["month", "week", "day"]) -> str:
    """What people call the period that it is now."""
    return _WORDS[per]


def began(per: Literal["month", "week", "day"], at: datetime) -> datetime:
    """When the period began that a time is in; a week begins on Monday, all of them in UTC."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "week":
        return midnight - timedelta(days=midnight.weekday())
    return midnight if per == "day" else midnight.replace(day=1)


def period_start(budget: Budget, at: datetime) -> datetime:
    """When that period began."""
    return began(budget.per, at)


def period_end(budget: Budget, at: datetime) -> datetime:
    """When that period ends."""
    start = period_start(budget, at)
    if budget.per != "month":
        return start + timedelta(days=7 if budget.per == "week" else 1)
    return (start + timedelta(days=32)).replace(day=1)


def periods_start(at: datetime) -> datetime:
    """When the first of all periods of then began: that of the month, or of a week that it cuts."""
    return min(began("month", at), began("week", at))


def with_budget(keys: Iterable[ApiKey]) -> dict[str, Budget]:
    """The budgets of keys that are not revoked, by their names."""
    return {key.name: key.budget for key in keys if key.budget is not None and key.revoked_at is None}


def user_budget(key: ApiKey) -> Budget | None:
    """The budget of each user of a key that is not revoked, if there is one."""
    return key.each_user.budget if key.each_user is not None and key.revoked_at is None else None


def members(keys: Iterable[ApiKey]) -> dict[str, frozenset[str]]:
    """Which keys are in each team, by their names; revoked ones too, which have spent."""
    found: dict[str, set[str]] = {}
    for key in keys:
        if key.team is not None:
            found.setdefault(key.team, set()).add(key.name)
    return {team: frozenset(names) for team, names in found.items()}


def spent_of(keys: Collection[str], budget: Budget, at: datetime, spent: Iterable[Spent]) -> Decimal:
    """What these keys, one or those of a team, have spent in the period of that moment."""
    since, until = period_start(budget, at).date(), period_end(budget, at).date()
    return sum((each.usd for each in spent if each.key in keys and since <= each.day < until), Decimal(0))


def spent_money(usd: Decimal) -> str:
    """As `money`, of what was spent: cents from ten cents up, two significant digits below."""
    digits = 2 if usd == 0 or usd >= Decimal("0.1") else 1 - usd.adjusted()
    return format(round(usd, digits), "f")


def money(usd: Decimal) -> str:
    """An amount as people write it: two decimals, more where it has more."""
    shown = format(usd.normalize(), "f")
    decimals = len(shown.partition(".")[2])
    return shown if decimals > 2 else format(usd, ".2f")
