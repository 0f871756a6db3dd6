"""What any `RecordLog` must say of money: the same suite on each."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from airboss.domain.ports import RecordLog, Spent
from tests.store.samples import START, move_of


def test_spent_is_the_sum_of_known_costs_by_key_and_day(record_log: RecordLog) -> None:
    """Each key's, exactly, by the day (UTC) on which a call began; a cost that nobody knows is none."""
    evening = START.replace(hour=23, minute=59, second=59)
    calls = [
        (evening, "team-a", Decimal("0.1000000001")),
        (evening, "team-a", Decimal("0.2")),
        (evening + timedelta(seconds=1), "team-a", Decimal(3)),
        (evening, "team-b", None),
        (START - timedelta(seconds=1), "team-a", Decimal(7)),
    ]
    told = [{"started_at": at, "key": key, "cost_usd": cost} for at, key, cost in calls]
    record_log.apply(move_of(told[:2]))
    record_log.apply(move_of(told[2:], 2))
    day = START.date()
    assert list(record_log.spent(START)) == [
        Spent(key="team-a", day=day, usd=Decimal("0.3000000001")),
        Spent(key="team-a", day=day + timedelta(days=1), usd=Decimal(3)),
    ]
    assert list(record_log.spent(evening + timedelta(seconds=2))) == []


def test_spent_is_told_by_user_of_some_keys(record_log: RecordLog) -> None:
    """Each user's, and of calls that name none together; of other keys nobody's."""
    calls = [
        ("a", "ana", 1),
        ("a", "bea", 2),
        ("a", "ana", 4),
        ("a", None, 8),
        ("a", "", 16),
        ("b", "ana", 32),
    ]
    record_log.apply(
        move_of([{"key": key, "user": user, "cost_usd": Decimal(usd)} for key, user, usd in calls])
    )
    found = record_log.spent(START, each_user=["a", "nobody's"])
    assert [(each.key, each.user, each.usd) for each in found] == [
        ("a", None, Decimal(24)),
        ("a", "ana", Decimal(5)),
        ("a", "bea", Decimal(2)),
        ("b", None, Decimal(32)),
    ]
    assert [(each.key, each.user) for each in record_log.spent(START)] == [("a", None), ("b", None)]
