"""What is spent of budgets, as alarms measure it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from airboss.compose.watching import budgets
from airboss.config import Config
from airboss.domain.plan import Budget
from airboss.domain.ports import ApiKey, Spent

TUESDAY = datetime(2026, 12, 1, 9, tzinfo=UTC)


def test_a_week_that_a_month_cuts_counts_whole() -> None:
    """Monday was the last of November: what was spent then is of this week, and not of this month."""
    days = [
        Spent(key=name, day=day, usd=Decimal(usd))
        for name in ("week", "month")
        for day, usd in ((date(2026, 11, 29), 5), (date(2026, 11, 30), 3), (date(2026, 12, 1), 1))
    ]
    spends = SimpleNamespace(since=lambda since: [each for each in days if each.day >= since])
    keys = [
        ApiKey(name=per, sha256="", created_at=TUESDAY, budget=Budget(usd=Decimal(9), per=per))
        for per in ("week", "month")
    ]
    ledger: Any = SimpleNamespace(all_keys=lambda: keys)
    stores: Any = SimpleNamespace(spends=spends)
    found = budgets(ledger, stores, Config(), TUESDAY)
    assert {name: each.spent_usd for name, each in found.items()} == {"week": 4, "month": 1}
