"""Following the record log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from airboss.controller import following
from airboss.controller.following import MINUTES_KEPT, Minutes, unseen
from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable, WrongCall
from airboss.domain.ports import RecordFilter
from airboss.domain.record import InferenceRecord
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


def test_a_minute_has_as_many_as_it_may_in_whichever_order_they_come() -> None:
    """Calls of two minutes that are looked at side by side; of a minute long ago no count is kept."""
    minutes = Minutes()

    def over(minute: int) -> bool:
        at = START.replace(second=0) + timedelta(minutes=minute)
        return minutes.over("judge", cast("InferenceRecord", SimpleNamespace(started_at=at)), 2)

    assert [over(minute) for minute in (0, 1, 0, 1, 0, 1)] == [False, False, False, False, True, True]
    assert not any(over(minute) for minute in range(2, 3 * MINUTES_KEPT))
    assert len(minutes._had["judge"]) == MINUTES_KEPT
