"""Rollouts as the ledger keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airboss.domain.plan import Exposure
from airboss.store.rollouts import RolloutRow, SqlRolloutStore

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(number: int) -> RolloutRow:
    """One that is over, begun so many hours after NOW."""
    name = f"r{number}"
    return RolloutRow(
        id=name,
        deployment="support",
        started_at=NOW + number * timedelta(hours=1),
        live=False,
        settled=True,
        exposure=Exposure(rollout=name, deployment="support", release="e" * 64, weight=0.1, salt=name),
        content=b"{}",
    )


def test_the_newest_of_an_old_time_are_found(tmp_path: Path) -> None:
    """However many have begun since; what begins at that moment has not begun before it."""
    store = SqlRolloutStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    for number in range(9):
        store.save(row(number))
    until = NOW + timedelta(hours=3)
    assert [each.id for each in store.newest(until=until, limit=2)] == ["r2", "r1"]
    assert [each.id for each in store.newest(until=until, deployment="other")] == []
    store.close()
