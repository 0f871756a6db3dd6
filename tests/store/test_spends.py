"""What keys have spent, kept in the ledger's database, and the state of counters in its file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.domain.errors import DataDirLocked
from airboss.domain.ports import Spent
from airboss.store.spends import SqlSpends
from airboss.store.state_log import StateLog

DAY = date(2026, 11, 30)


def spent(usd: str, key: str = "team-a", day: date = DAY) -> Spent:
    """So much by a key on a day."""
    return Spent(key=key, day=day, usd=Decimal(usd))


def test_spend_only_grows(address: str) -> None:
    """What was told once stays, also when records have gone since; more replaces it, exactly."""
    spends = SqlSpends(address)
    assert spends.raise_to([spent("1.0000000001"), spent("5", key="team-b")]) == 2
    assert spends.raise_to([spent("0.5"), spent("5", key="team-b")]) == 0
    assert spends.raise_to([spent("2"), spent("3", day=date(2026, 12, 1))]) == 2
    assert spends.since(DAY) == (spent("2"), spent("3", day=date(2026, 12, 1)), spent("5", key="team-b"))
    assert spends.since(date(2026, 12, 1)) == (spent("3", day=date(2026, 12, 1)),)
    assert spends.raise_to([]) == 0
    spends.close()


def test_a_state_log_gives_back_what_was_put_in(tmp_path: Path) -> None:
    """The snapshot first, then what happened, in order; a new snapshot takes the place of all of it."""
    path = tmp_path / "counters" / "state"
    log = StateLog(path)
    assert log.read() == []
    log.rewrite(b"snapshot")
    log.append(b"one")
    log.close()
    log = StateLog(path)
    assert log.read() == [b"snapshot", b"one"]
    log.rewrite(b"later")
    assert log.read() == [b"later"]
    log.close()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_tail_ends_the_log(tmp_path: Path, damage: str) -> None:
    """What came before it is whole."""
    path = tmp_path / "state"
    log = StateLog(path)
    log.rewrite(b"snapshot")
    log.append(b"one")
    log.append(b"two")
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    log = StateLog(path)
    assert log.read() == [b"snapshot", b"one"]
    log.close()


def test_a_state_has_one_owner(tmp_path: Path) -> None:
    """A second process is refused while the first lives, and no longer."""
    path = tmp_path / "state"
    log = StateLog(path)
    with pytest.raises(DataDirLocked):
        StateLog(path)
    log.close()
    StateLog(path).close()
    assert path.with_suffix(".lock").stat().st_mode & 0o077 == 0
