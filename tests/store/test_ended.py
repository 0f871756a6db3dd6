"""Sessions that are over: remembered until they run out, by the next process too."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from airboss.store import ended as module
from airboss.store.ended import Ended


def test_the_next_process_knows_them(tmp_path: Path) -> None:
    """Until they run out; then they are forgotten with the next that ends."""
    path = tmp_path / "ended"
    Ended(path).add("a", 100, now=50)
    again = Ended(path)
    assert (again.holds("a", 100), again.holds("b", 100)) == (True, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.add("b", 200, now=100)
    third = Ended(path)
    assert (third.holds("a", 100), third.holds("b", 200)) == (False, True)


def test_it_stays_small_and_nothing_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many the first to run out are forgotten, and so is every other session that runs out by then."""
    monkeypatch.setattr(module, "ENDED_MAX", 3)
    ended = Ended(tmp_path / "ended")
    for number in (5, 1, 4, 2, 3):
        ended.add(f"s{number}", 1000 + number, now=1000)
    for each in (ended, Ended(tmp_path / "ended")):
        assert all(each.holds(f"s{number}", 1000 + number) for number in range(1, 6))
        assert (each.holds("other", 1002), each.holds("other", 1003)) == (True, False)


def test_what_cannot_be_read_ends_all(tmp_path: Path) -> None:
    """Whoever spoils the file brings nobody back: all have to sign in again."""
    path = tmp_path / "ended"
    path.write_bytes(b"{")
    assert Ended(path, unread_until=500).holds("any", 500)
    assert not Ended(path, unread_until=500).holds("newer", 501)


def test_a_full_disk_keeps_nobody_in(tmp_path: Path) -> None:
    """What cannot be written down is over all the same, for this process."""
    ended = Ended(tmp_path / "none" / "ended")
    ended.add("a", 100, now=50)
    assert ended.holds("a", 100)
