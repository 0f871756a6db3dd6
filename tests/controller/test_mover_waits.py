"""Whom the mover waits for, where it cannot move."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.store.ledger_trouble import LedgerAway
from tests.controller.houses import House


def test_that_the_ledger_is_waited_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it hangs as well, and the record store is not blamed; nor is the ledger, where that is away."""
    house = House(tmp_path)
    asked: list[str] = []

    def away(*_given: object) -> None:
        asked.append(house.mover.status().waits_for)
        raise LedgerAway("the ledger cannot be used")

    def down(*_given: object) -> int:
        asked.append(house.mover.status().waits_for)
        raise StoreUnavailable("down")

    house.opens(1)
    for store, name, fails in ((house.erasures, "tombstones", away), (house.log, "offset", down)):
        with monkeypatch.context() as patch:
            patch.setattr(store, name, fails)
            told = house.mover.tick()
            asked.append(told.waits_for)
            assert not told.store_up
    assert asked == ["ledger", "ledger", "record store", "record store"]
    assert house.mover.tick().store_up
    house.close()
