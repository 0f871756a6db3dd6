"""Users of a key, as counters know them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.ports import ApiKey
from airboss.governance import users
from airboss.governance.users import AN_HOUR_S, NOBODY, REST, Users, pseudonym, salt_of

KEY = ApiKey(name="app", sha256="0" * 64, created_at=datetime(2026, 11, 1, tzinfo=UTC))


def test_a_user_is_known_by_a_hash_that_is_the_keys_own() -> None:
    """The same in every worker and after a rotation; another under another key, or one made anew."""
    name = Users(salt_of(KEY)).counted_as("ana@example.com", 0.0)
    assert "ana" not in name
    rotated = msgspec.structs.replace(KEY, sha256="1" * 64)
    assert (
        name
        == Users(salt_of(rotated)).counted_as("ana@example.com", 9.0)
        == pseudonym(salt_of(KEY), "ana@example.com")
    )
    other = msgspec.structs.replace(KEY, name="other")
    anew = msgspec.structs.replace(KEY, created_at=KEY.created_at + timedelta(microseconds=1))
    assert len({Users(salt_of(each)).counted_as("ana@example.com", 0.0) for each in (KEY, other, anew)}) == 3
    assert len({Users(salt_of(KEY)).counted_as(each, 0.0) for each in ("ana", "Ana", "ana ", "\ud800")}) == 4


def test_who_names_no_user_is_one_user() -> None:
    """Leaving it out, or empty, escapes nothing."""
    assert Users(salt_of(KEY)).counted_as(None, 0.0) == Users(salt_of(KEY)).counted_as("", 0.0) == NOBODY


def test_made_up_names_take_nothing_from_who_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most they are counted as one; who was known stays known, also into the next hour."""
    monkeypatch.setattr(users, "USERS_MAX", 100)
    known = Users(salt_of(KEY))
    ana = known.counted_as("ana", 0.0)
    assert [known.counted_as(f"made up {n}", 1.0) for n in range(500)].count(REST) == 401
    assert known.counted_as("ana", 2.0) == ana
    assert known.counted_as("bea", AN_HOUR_S + 1) == REST
    assert known.counted_as("ana", AN_HOUR_S + 2) == ana
    assert known.counted_as("bea", 2 * AN_HOUR_S + 3) != REST
    assert known.counted_as("ana", 2 * AN_HOUR_S + 4) == ana


@given(calls=st.lists(st.tuples(st.integers(0, 60), st.floats(0, 4000)), max_size=200))
def test_only_so_many_are_kept(calls: list[tuple[int, float]]) -> None:
    """Whoever calls whenever: at most the most, each under one name, or as the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "USERS_MAX", 20)
        known, now = Users(salt_of(KEY)), 0.0
        for user, later in calls:
            now += later
            assert known.counted_as(f"u{user}", now) in {REST, pseudonym(known.salt, f"u{user}")}
            assert len(known._now | known._before) == len(known._now) + len(known._before) <= 20
