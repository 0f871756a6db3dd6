"""The record store's disk is full: journals keep what it cannot take, the oldest bodies go, numbers never."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from airboss.config.types import RetentionConfig
from airboss.controller import retention as retention_module
from airboss.controller.mover import Mover
from airboss.controller.retention import Retention
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import RecordFilter
from airboss.domain.record import Redacted
from airboss.store.duckdb import DuckDBRecordLog
from airboss.telemetry.journal import JournalWriter
from tests.console.site import Noted
from tests.controller.journals import FixedClock
from tests.store.samples import call_id, closed_json, opened
from tests.support.small_disk import MIB, fill, free, small_disk
from tests.support.wait import until

ALL = RecordFilter()
BODY = 200_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The record store's."""
    with small_disk(tmp_path / "disk", 32) as path:
        yield path


class House:
    """A record store on the small disk, journals on a large one, and who moves and keeps."""

    def __init__(self, disk: Path, journals: Path) -> None:
        self.disk, self.journals = disk, journals
        self.log = DuckDBRecordLog(disk / "records.duckdb")
        self.writer = JournalWriter(journals, "0")
        self.mover = Mover(journals, self.log, FixedClock())
        audit: Any = Noted()
        self.keeper = Retention(
            wanted=RetentionConfig,
            records=self.log,
            audit=audit,
            clock=FixedClock(),
            expire_answers=lambda _before, _limit: 0,
            free_bytes=lambda: free(disk),
        )

    def call(self, number: int) -> None:
        """A call with a large body that nothing can make smaller."""
        text = Random(number).randbytes(BODY // 2).hex()
        frame = msgspec.structs.replace(opened(number), request=msgspec.Raw(msgspec.json.encode(text)))
        self.writer.open(Redacted(msgspec.json.encode(frame)))
        self.writer.close_call(Redacted(closed_json(number)))

    def close(self) -> None:
        """End it all."""
        self.writer.stop()
        self.log.close()


@pytest.fixture
def house(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house whose disk counts as nearly full with 12 MiB left."""
    monkeypatch.setattr(retention_module, "FREE_BYTES_MIN", 12 * MIB)
    found = House(disk, tmp_path / "journals")
    yield found
    found.close()


def test_bodies_make_room_and_numbers_stay(house: House) -> None:
    """More bodies than the disk holds are recorded: each call is there, the newest with bodies."""
    calls = 480
    for number in range(1, calls + 1):
        house.call(number)
        if number % 10 == 0:
            house.mover.drain()
            house.keeper.tick()
    assert house.mover.drain().unmoved_bytes == 0
    assert house.log.count(ALL) == calls
    with_bodies = [
        each.id for each in house.log.records(ALL, limit=calls, bodies=True) if each.request is not None
    ]
    assert 0 < len(with_bodies) < calls
    assert with_bodies == [call_id(calls - n) for n in range(len(with_bodies))], "the oldest go first"
    status = house.keeper.status()
    assert status.dropped >= calls - len(with_bodies)


def test_a_full_disk_leaves_records_in_the_journal_until_there_is_room(house: House) -> None:
    """With not a byte left the store says so and takes nothing; with room it takes everything, once."""
    house.call(1)
    house.mover.drain()
    ballast = fill(house.disk)
    for number in range(2, 42):
        house.call(number)
    status = house.mover.drain()
    assert not status.store_up
    assert "No space left" in (status.store_detail or "")
    assert status.unmoved_bytes > 30 * BODY
    with suppress(StoreUnavailable):  # dropping needs a little room itself; chores are tried again
        house.keeper.tick()
    ballast.unlink()
    # What failed for want of room may have to be opened anew, which the first try finds out.
    until(lambda: house.mover.drain().store_up)
    assert house.mover.drain().unmoved_bytes == 0
    found = house.log.records(ALL, limit=99, bodies=False)
    assert [each.id for each in found] == [call_id(41 - n) for n in range(41)]
