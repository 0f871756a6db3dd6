"""Rollouts as the ledger keeps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Timer

import msgspec
import psycopg
import pytest
from sqlalchemy import event

from airboss.domain.errors import SetupError
from airboss.domain.plan import Exposure
from airboss.store.rollouts import RolloutRow, SqlRolloutStore
from tests.support.between import between
from tests.support.wait import until

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
        store.save(row(number), still=bool)
    until = NOW + timedelta(hours=3)
    assert [each.id for each in store.newest(until=until, limit=2)] == ["r2", "r1"]
    assert [each.id for each in store.newest(until=until, deployment="other")] == []
    store.close()


def live(verdicts: int) -> RolloutRow:
    """One that runs, after so many verdicts."""
    return msgspec.structs.replace(row(1), live=True, settled=False, content=f"{verdicts}".encode())


def test_a_commit_that_comes_late_makes_no_second_verdict(tmp_path: Path) -> None:
    """The connection breaks at the commit, and the server, which was stuck, carries it out after all, behind
    what was read to try again."""
    with between(tmp_path) as (network, url):
        store = SqlRolloutStore(url)
        store.save(live(0), still=bool)
        late: list[Event] = []

        def stuck(_: object) -> None:
            if not late:
                late.append(network.hold())
                Timer(0.3, network.reset).start()

        event.listen(store._writer, "commit", stuck)
        with pytest.raises(SetupError, match="cannot be used"):
            store.save(live(1), still=b"0".__eq__, verdict=b"first", at=NOW)
        assert [each.content for each in store.live()] == [b"0"], "it has not been carried out yet"
        with ThreadPoolExecutor(1) as threads:
            again = threads.submit(store.save, live(1), still=b"0".__eq__, verdict=b"again", at=NOW)
            until(lambda: waits(url))
            late[0].set()
            with pytest.raises(SetupError, match="changed meanwhile"):
                again.result()
        assert [each.content for each in store.live()] == [b"1"]
        assert store.verdicts("r1") == (b"first",)
        store.close()


def waits(url: str) -> bool:
    """Whether a writer waits for another."""
    with psycopg.connect(url) as connection:
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        found = connection.execute(asked).fetchone()
    return found is not None and found[0] > 0


def test_a_rollout_that_began_late_has_no_other_beside_it(tmp_path: Path) -> None:
    """Of a deployment one runs."""
    store = SqlRolloutStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    store.save(live(0), still=bool)
    with pytest.raises(SetupError, match="changed meanwhile"):
        store.save(msgspec.structs.replace(live(0), id="r2"), still=bool)
    store.close()
