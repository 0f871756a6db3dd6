"""Following the record log."""

from __future__ import annotations

import asyncio

import pytest

from airboss.controller import following
from airboss.controller.following import unseen
from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable, WrongCall
from airboss.domain.ports import RecordFilter
from tests.store.samples import START, call_id

AWAY = [kind("away") for kind in (StoreUnavailable, SetupError, ConfigError, WrongCall, ValueError)]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_what_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A store, a ledger or a configuration that is away; a defect of another kind ends the following."""
    monkeypatch.setattr(following, "POLL_S", 0.0)
    asked = 0

    async def tick() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise error
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(following.follow(tick, "nothing done"))
    assert asked == 2


def test_a_new_follower_begins_when_it_was_wanted() -> None:
    """Not at its first look, which may be late: nothing is kept before it has seen a call."""
    kept: dict[str, str | None] = {}

    class Cursors:
        def cursor(self, name: str) -> str | None:
            return kept.get(name)

        def put_cursor(self, name: str, value: str | None) -> None:
            kept[name] = value

    cursors = Cursors()
    assert unseen(cursors, "mine", lambda: START) == RecordFilter(after="", since=START)
    assert kept == {}
    cursors.put_cursor("mine", call_id(1))
    assert unseen(cursors, "mine", lambda: START) == RecordFilter(after=call_id(1))
