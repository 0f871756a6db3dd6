"""Following the record log."""

from __future__ import annotations

import asyncio

import pytest

from airboss.controller import following
from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable, WrongCall

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
