"""What keys and users have spent is added up from records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec
import pytest

from airboss.controller.spending import ALL_S, Spending
from airboss.domain.plan import Allowance, Budget
from airboss.domain.ports import ApiKey, RecordLog, Spent
from airboss.governance.users import NOBODY, pseudonym, salt_of
from airboss.store.memory import MemoryRecordLog
from airboss.store.spends import SqlSpends
from tests.store.samples import START, move_of

KEY = ApiKey(
    name="app",
    sha256="0" * 64,
    created_at=datetime(2026, 11, 1, tzinfo=UTC),
    each_user=Allowance(budget=Budget(usd=Decimal(1), per="day")),
)
OTHER = msgspec.structs.replace(KEY, name="other", each_user=None)
ANA, BEA = (pseudonym(salt_of(KEY), each) for each in ("ana", "bea"))


class House:
    """A record log, a ledger's spends, and the chore between them; time is the test's."""

    def __init__(self, root: Path) -> None:
        self.records = MemoryRecordLog()
        self.spends = SqlSpends(f"sqlite:///{root / 'ledger.db'}")
        self.moved = 0
        self.at = START
        self.s = 0.0
        self.slow_s = 0.0
        self.keys: list[ApiKey] = [KEY, OTHER]
        self.asked: list[tuple[str, ...]] = []
        records = cast("RecordLog", self)
        self.chore = Spending(
            records, self.spends, moved=lambda: self.moved, keys=lambda: self.keys, clock=self
        )

    def now(self) -> datetime:
        """As `Clock`."""
        return self.at + timedelta(seconds=self.s)

    def monotonic(self) -> float:
        """As `Clock`."""
        return self.s

    def spent(self, since: datetime, *, each_user: tuple[str, ...] = ()) -> list[Spent]:
        """As `RecordLog`; it may take its time."""
        self.asked.append(each_user)
        self.s += self.slow_s if each_user else 0.0
        return list(self.records.spent(since, each_user=each_user))

    def called(self, *calls: tuple[str, str | None, str]) -> None:
        """Records of a key, a user and a cost."""
        told = [{"key": key, "user": user, "cost_usd": Decimal(usd)} for key, user, usd in calls]
        self.records.apply(move_of(told, self.moved))
        self.moved += len(calls)

    def of(self, *users: str) -> list[str | None]:
        """What these have spent today."""
        found = self.spends.of_users("app", users, START.date())
        return [str(found[user]) if user in found else None for user in users]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One."""
    made = House(tmp_path)
    yield made
    made.spends.close()


def test_users_are_added_up_where_each_has_a_budget(house: House) -> None:
    """By the name that counters know them by; keys as ever, and users of others not at all."""
    house.called(("app", "ana", "0.5"), ("app", "bea", "1"), ("app", None, "2"), ("other", "ana", "4"))
    house.chore.tick()
    assert house.of(ANA, BEA, NOBODY) == ["0.5", "1", "2"]
    assert house.spends.users_since(["other"], START.date()) == []
    assert [(each.key, each.usd) for each in house.spends.since(START.date())] == [
        ("app", Decimal("3.5")),
        ("other", Decimal(4)),
    ]
    house.called(("app", "ana", "0.25"))
    house.chore.tick()
    assert house.of(ANA, BEA, NOBODY) == ["0.75", "1", "2"]


def test_a_budget_that_is_new_knows_what_was_spent_before(house: House) -> None:
    """Though nothing has come since."""
    house.keys = [OTHER, msgspec.structs.replace(KEY, each_user=None)]
    house.called(("app", "ana", "0.5"))
    house.chore.tick()
    assert house.of(ANA) == [None]
    house.keys = [OTHER, KEY]
    house.chore.tick()
    assert house.of(ANA) == ["0.5"]
    asked = len(house.asked)
    house.chore.tick()
    assert len(house.asked) == asked  # nothing is new


def test_what_the_forgotten_spent_is_not_put_down_to_nobody(house: House) -> None:
    """It stays theirs, and their budget does not begin anew."""
    house.called(("app", "ana", "0.5"), ("app", None, "2"))
    house.chore.tick()
    house.records.erase({"ana": START + timedelta(days=1)})
    house.called(("app", None, "1"))
    house.chore.tick()
    assert house.of(ANA, NOBODY) == ["0.5", "3.0"]
    assert [each.usd for each in house.spends.since(START.date())] == [Decimal("3.5")]


def test_many_users_are_added_up_seldom_and_keys_as_ever(house: House) -> None:
    """Five times as long as it took nothing is done about users; then all that came is known."""
    house.slow_s = 2.0
    house.called(("app", "ana", "0.5"))
    house.chore.tick()
    house.called(("app", "ana", "0.5"))
    house.chore.tick()
    assert house.asked == [("app",), ()]
    assert house.of(ANA) == ["0.5"]
    assert house.spends.since(START.date())[0].usd == Decimal(1)
    house.s += 8
    house.chore.tick()
    assert house.of(ANA) == ["0.5"]
    house.s += 3
    house.chore.tick()
    assert house.of(ANA) == ["1.0"]


def test_days_of_a_week_that_a_month_cuts_stay(house: House) -> None:
    """A weekly budget goes on over the first of a month."""
    monday = datetime(2026, 11, 30, 8, tzinfo=UTC)
    told = [{"key": "app", "user": "ana", "cost_usd": Decimal("0.5"), "started_at": monday}]
    house.records.apply(move_of(told, 0))
    house.moved, house.at = 1, monday + timedelta(days=3)
    house.chore.tick()
    assert house.spends.of_users("app", [ANA], monday.date()) == {ANA: Decimal("0.5")}


def test_days_of_another_month_go(house: House) -> None:
    """Once all of the month was looked at."""
    house.called(("app", "ana", "0.5"))
    house.chore.tick()
    house.at += timedelta(days=40)
    house.s += ALL_S
    house.chore.tick()
    assert house.of(ANA) == [None]
