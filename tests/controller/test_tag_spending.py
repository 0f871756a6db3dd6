"""What values of tags have spent is added up from records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.controller.spending import Spending
from airboss.governance.users import pseudonym, tag_salt
from airboss.store.memory import MemoryRecordLog
from airboss.store.spends import SqlSpends
from tests.store.samples import START, move_of


class House:
    """A record log, a ledger's spends, and the chore between them; time is the test's."""

    def __init__(self, root: Path) -> None:
        self.records = MemoryRecordLog()
        self.spends = SqlSpends(f"sqlite:///{root / 'ledger.db'}")
        self.moved, self.s = 0, 0.0
        self.tags: tuple[str, ...] = ("project",)
        self.chore = Spending(
            self.records,
            self.spends,
            moved=lambda: self.moved,
            keys=tuple,
            tags=lambda: self.tags,
            clock=self,
        )

    def now(self) -> datetime:
        """As `Clock`."""
        return START + timedelta(seconds=self.s)

    def monotonic(self) -> float:
        """As `Clock`."""
        return self.s

    def called(self, *calls: tuple[str | None, str]) -> None:
        """Records of a project and a cost."""
        told: list[dict[str, Any]] = [
            {"tags": {} if project is None else {"project": project}, "cost_usd": Decimal(usd)}
            for project, usd in calls
        ]
        self.records.apply(move_of(told, self.moved))
        self.moved += len(calls)

    def tick(self) -> None:
        """Look, a while later."""
        self.s += 10
        self.chore.tick()

    def of(self, *projects: str) -> list[str | None]:
        """What these have spent today."""
        names = [pseudonym(tag_salt("project"), each) for each in projects]
        found = self.spends.of_users("#project", names, START.date())
        return [format(found[name], "f") if name in found else None for name in names]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One."""
    made = House(tmp_path)
    yield made
    made.spends.close()


def test_each_value_is_added_up(house: House) -> None:
    """To the last of its ten decimals; a call without the tag is nobody's."""
    house.called(("apollo", "0.1"), ("apollo", "0.2000000001"), ("gemini", "3"), (None, "9"), ("", "9"))
    house.tick()
    assert house.of("apollo", "gemini", "", "-") == ["0.3000000001", "3.0000000000", None, None]
    house.called(("apollo", "0.7"))
    house.tick()
    assert house.of("apollo") == ["1.0000000001"]
    house.tags = ()
    house.called(("apollo", "5"))
    house.tick()
    assert house.of("apollo") == ["1.0000000001"]
    house.tags = ("project",)
    house.tick()
    assert house.of("apollo") == ["6.0000000001"]


def test_what_is_forgotten_stays_spent(house: House) -> None:
    """Who is erased leaves no money behind."""
    house.called(("apollo", "1"))
    house.tick()
    house.records = MemoryRecordLog()
    house.chore._records = house.records
    house.moved = 0
    house.called(("apollo", "0.25"))
    house.s += 700
    house.tick()
    assert house.of("apollo") == ["1.0000000000"]
