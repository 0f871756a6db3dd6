"""What is too old goes: daily, in batches, and said in the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airboss.config.types import RetentionConfig
from airboss.controller import retention as retention_module
from airboss.controller.retention import Retention
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store.disk import FREE_BYTES_MIN
from airboss.store.memory import MemoryRecordLog
from tests.console.site import Noted
from tests.controller.journals import FixedClock
from tests.store.samples import SEGMENT, call_id, record_json

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALL = RecordFilter()


class House:
    """A log with a record a day, at noon, from ten days ago until today, and its keeper."""

    def __init__(self, **days: int) -> None:
        self.wanted = RetentionConfig(**days)
        self.log, self.audit, self.clock = MemoryRecordLog(), Noted(), FixedClock()
        self.clock.at = NOON
        records = tuple(record_json(10 - day, started_at=NOON - timedelta(days=day)) for day in range(11))
        self.log.apply(JournalMove(segment=SEGMENT, start=0, end=9, records=records))
        audit: Any = self.audit
        self.answers = [NOON - timedelta(days=day) for day in range(11)]
        self.keeper = Retention(
            wanted=lambda: self.wanted,
            records=self.log,
            audit=audit,
            clock=self.clock,
            expire_answers=self.expire_answers,
        )

    def expire_answers(self, before: datetime, limit: int) -> int:
        """Forget the oldest answers begun before then, two at once."""
        old = sorted(at for at in self.answers if at < before)[: min(limit, 2)]
        self.answers = [at for at in self.answers if at not in old]
        return len(old)

    def kept(self) -> tuple[list[int], list[int]]:
        """Days ago of the records there are, and of those with bodies."""
        found = self.log.records(ALL, limit=99, bodies=True)
        ages = {each.id: (NOON - each.started_at).days for each in found}
        return sorted(ages.values()), sorted(ages[each.id] for each in found if each.request is not None)


def test_bodies_and_records_go_after_their_days() -> None:
    """Whole days are kept beside today: of 3, what began three midnights ago is there, the day before is
    not."""
    house = House(bodies_days=3, records_days=6)
    house.keeper.tick()
    assert house.kept() == ([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3])
    status = house.keeper.status()
    assert (status.bodies_days, status.records_days, status.ran_at, status.expired) == (3, 6, NOON, 7)
    ((action, actor, _, detail),) = house.audit.entries
    assert (action, actor, detail["records"]) == ("retention", "airboss", 7)
    assert detail["bodies_before"] == "2026-11-21T00:00:00+00:00"


def test_answers_of_evaluations_go_after_their_days() -> None:
    """By themselves too, with no word to the record store, in as many batches as it takes."""
    house = House(answers_days=3)
    house.log.close()
    for _ in range(2):
        house.keeper.tick()
    assert [(NOON - at).days for at in house.answers] == [0, 1, 2, 3]
    status = house.keeper.status()
    assert (status.answers_days, status.expired) == (3, 0)
    ((_, _, _, detail),) = house.audit.entries
    assert detail == {"records": 0, "answers": 7, "answers_before": "2026-11-21T00:00:00+00:00"}


def test_nothing_goes_unless_it_is_said() -> None:
    """Without a retention everything is kept for good, and nothing is noted."""
    house = House()
    house.keeper.tick()
    house.clock.at += timedelta(days=3_650)
    house.keeper.tick()
    assert len(house.kept()[0]) == 11
    assert (house.audit.entries, house.keeper.status().ran_at) == ([], None)


def test_a_nearly_full_disk_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In the status, with how many records lost their bodies to it, and in the log, once."""
    house = House()
    audit: Any = house.audit
    free = [1]
    keeper = Retention(
        wanted=lambda: house.wanted,
        records=house.log,
        audit=audit,
        clock=house.clock,
        expire_answers=house.expire_answers,
        free_bytes=lambda: free[0],
    )
    keeper.tick()
    keeper.tick()
    assert keeper.gauges() == {"bodies_dropped": 2.0}
    assert keeper.status().disk_full
    told = [each for each in caplog.messages if "the disk of the data directory" in each]
    assert told == [
        "the disk of the data directory is nearly full: once it is full calls are refused; 0 MiB are left"
    ]
    free[0] = FREE_BYTES_MIN
    keeper.tick()
    assert not keeper.status().disk_full
    assert "not nearly full now; 256 MiB are left" in caplog.messages[-1]


def test_it_looks_once_a_day_and_when_it_is_told_otherwise() -> None:
    """Later on the same day nothing is asked; after midnight, or with other days, it is."""
    house = House(records_days=6)
    house.keeper.tick()
    house.clock.at += timedelta(hours=11, minutes=59)
    house.keeper.tick()
    assert len(house.kept()[0]) == 7
    house.clock.at += timedelta(minutes=2)
    house.keeper.tick()
    assert len(house.kept()[0]) == 6
    house.wanted = RetentionConfig(records_days=2)
    house.keeper.tick()
    assert len(house.kept()[0]) == 2


def test_much_is_deleted_over_several_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is bounded; the run is over, and told, when all is gone."""
    monkeypatch.setattr(retention_module, "BATCH", 1)
    monkeypatch.setattr(retention_module, "BATCHES_PER_TICK", 2)
    house = House(records_days=1)
    counts = []
    for _ in range(6):
        house.keeper.tick()
        counts.append(len(house.kept()[0]))
    assert counts == [9, 7, 5, 3, 2, 2]
    assert [detail["records"] for *_, detail in house.audit.entries] == [9]
    assert house.log.records(ALL, limit=1, bodies=False)[0].id == call_id(10)


def test_the_oldest_bodies_make_room() -> None:
    """Over the bound, or where the disk is nearly full, bodies go, the oldest first, and are counted; numbers
    never do."""
    house = House()
    house.keeper.tick()
    assert house.keeper.status().dropped == 0
    house.wanted = RetentionConfig(bodies_max_bytes=500)
    for _ in range(9):
        house.keeper.tick()
    records, bodies = house.kept()
    assert records == list(range(11))
    assert 0 < len(bodies) < 8
    assert bodies == list(range(len(bodies)))
    assert house.keeper.status().dropped == 11 - len(bodies)
    house.keeper._free_bytes = lambda: 1_000
    house.wanted = RetentionConfig()
    house.keeper.tick()
    assert len(house.kept()[1]) == len(bodies) - 1
