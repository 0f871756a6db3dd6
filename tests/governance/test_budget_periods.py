"""The periods that budgets are for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import pytest

from airboss.domain.plan import Budget
from airboss.domain.ports import Spent
from airboss.governance.budgets import period_end, period_of, period_start, periods_start, spent_of


@pytest.mark.parametrize(
    ("per", "at", "name", "start", "end"),
    [
        ("month", "2026-12-01T00:00", "2026-12", "2026-12-01", "2027-01-01"),
        ("day", "2026-12-31T23:59", "2026-12-31", "2026-12-31", "2027-01-01"),
        ("week", "2026-12-01T00:00", "2026-W49", "2026-11-30", "2026-12-07"),
        ("week", "2026-12-06T23:59", "2026-W49", "2026-11-30", "2026-12-07"),
        ("week", "2026-12-07T00:00", "2026-W50", "2026-12-07", "2026-12-14"),
        ("week", "2027-01-01T12:00", "2026-W53", "2026-12-28", "2027-01-04"),
    ],
)
def test_each_has_a_name_a_beginning_and_an_end(
    per: Literal["month", "week", "day"], at: str, name: str, start: str, end: str
) -> None:
    """In UTC; weeks begin on Monday, whatever month or year they are cut by."""
    budget, then = Budget(usd=Decimal(1), per=per), datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert period_of(budget, then) == name
    assert f"{period_start(budget, then):%Y-%m-%d}" == start
    assert f"{period_end(budget, then):%Y-%m-%d}" == end


def test_no_period_of_a_moment_began_before_the_first() -> None:
    """What is added up from there is all that any budget asks for."""
    for day in range(800):
        at = datetime(2026, 1, 1, 7, tzinfo=UTC) + timedelta(days=day)
        starts = [period_start(Budget(usd=Decimal(1), per=per), at) for per in ("month", "week", "day")]
        assert periods_start(at) == min(starts)


def test_a_week_that_a_month_cuts_is_one() -> None:
    """What was spent on its days of the month before counts."""
    at = datetime(2026, 12, 1, 9, tzinfo=UTC)
    spent = [Spent(key="a", day=at.date() - timedelta(days=n), usd=Decimal(1)) for n in range(3)]
    assert spent_of(("a",), Budget(usd=Decimal(9), per="week"), at, spent) == 2
    assert spent_of(("a",), Budget(usd=Decimal(9), per="month"), at, spent) == 1
