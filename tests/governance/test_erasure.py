"""Who is forgotten, until when, and that the list names nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airboss.governance.erasure import Tombstones, digest

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
KEY = "ab_" + "k" * 43
LATER = timedelta(microseconds=1)


def stones(**until: datetime) -> Tombstones:
    """Tombstones of these people."""
    return Tombstones(KEY, {digest(KEY.encode(), user): at for user, at in until.items()})


def test_what_began_before_is_covered() -> None:
    """Up to and with the moment itself; nobody else, and not who has no name."""
    found = stones(ann=NOW, bob=NOW + timedelta(days=1))
    assert found.covers("ann", NOW)
    assert not found.covers("ann", NOW + LATER)
    assert found.covers("bob", NOW + LATER)
    assert not found.covers("carl", NOW - timedelta(days=9))
    assert not found.covers(None, NOW)
    assert (found.newest, found.until("ann"), found.until("carl")) == (NOW + timedelta(days=1), NOW, None)


def test_without_tombstones_nothing_is_covered() -> None:
    """There is no newest, either."""
    assert not stones().covers("ann", NOW)
    assert stones().newest is None


@pytest.mark.parametrize("user", ["ann", "", "é\U0001f600", "\ud800", "x" * 10_000])
def test_a_digest_tells_only_who_has_the_key(user: str) -> None:
    """Any text has one; another key gives another, so that nobody can try names without it."""
    assert digest(KEY.encode(), user) == digest(KEY.encode(), user)
    assert digest(KEY.encode(), user) != digest(b"other", user)
    assert len(digest(KEY.encode(), user)) == 64
