"""What keys have spent, kept in the ledger's database, and the state of counters in its file."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.domain.errors import DataDirLocked
from airboss.domain.ports import Spent
from airboss.store.spends import SqlSpends
from airboss.store.state_log import StateLog

DAY = date(2026, 11, 30)


def spent(usd: str, key: str = "team-a", day: date = DAY, user: str | None = None) -> Spent:
    """So much by a key on a day, or by a user of it."""
    return Spent(key=key, day=day, usd=Decimal(usd), user=user)


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


def test_what_users_spent_is_kept_by_key_user_and_day(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put stands in place of what was; sums are of the days asked for; old days go."""
    monkeypatch.setattr("airboss.store.spends.AT_ONCE", 2)
    spends = SqlSpends(address)
    before = DAY - timedelta(days=1)
    spends.put_users([spent("1.5", user="u"), spent("2", user="u", day=before), spent("3", user="v")])
    spends.put_users([spent("1.0000000001", user="u"), spent("9", key="team-b", user="u")])
    assert spends.of_users("team-a", ["u", "v", "w"], DAY) == {"u": Decimal("1.0000000001"), "v": Decimal(3)}
    assert spends.of_users("team-a", ["u"], before) == {"u": Decimal("3.0000000001")}
    assert spends.of_users("team-a", [], before) == {}
    assert spends.most("team-a", DAY) == 3
    assert spends.most("team-a", before) == Decimal("3.0000000001")
    assert spends.most("nobody", before) == 0
    found = spends.users_since(["team-a"], before)
    assert sorted((each.user, each.day, each.usd) for each in found) == [
        ("u", before, Decimal(2)),
        ("u", DAY, Decimal("1.0000000001")),
        ("v", DAY, Decimal(3)),
    ]
    spends.drop_users_before(DAY)
    spends.drop_users_before(DAY)
    assert spends.of_users("team-a", ["u"], before) == {"u": Decimal("1.0000000001")}
    assert spends.since(before) == ()
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
