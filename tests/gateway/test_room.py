"""Room for what requests name: how many may have it at once, and who waits."""

from __future__ import annotations

import asyncio

import pytest

from airboss.domain.errors import Unavailable
from airboss.gateway.room import SMALL_BYTES, Place, Room

LARGE = SMALL_BYTES + 1


def test_who_finds_none_waits() -> None:
    """Until another is done; who names little waits for nobody."""

    async def scene() -> None:
        room = Room(2 * LARGE)
        with Place(room) as first, Place(room) as second, Place(room) as small:
            await first.take(LARGE)
            await second.take(LARGE)
            await small.take(SMALL_BYTES)
            with Place(room) as third:
                waiting = asyncio.ensure_future(third.take(LARGE))
                await asyncio.sleep(0)
                assert not waiting.done()
                second.give(LARGE - 1)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not waiting.done()
                second.give(1)
                await waiting
        with Place(room) as all_of_it:
            await all_of_it.take(2 * LARGE)

    asyncio.run(scene())


def test_nobody_waits_for_ever() -> None:
    """Who has waited long is told how much is in use; who leaves meanwhile takes nothing."""

    async def scene() -> None:
        room = Room(LARGE, wait_s=0.01)
        with Place(room) as first:
            await first.take(LARGE)
            with Place(room) as second:
                with pytest.raises(
                    Unavailable, match=f"build on {LARGE} bytes .* of at most {LARGE}"
                ) as told:
                    await second.take(LARGE)
                assert (told.value.code, told.value.retry_after_s) == ("responses_unavailable", 1)
                leaving = asyncio.ensure_future(second.take(LARGE))
                await asyncio.sleep(0)
                leaving.cancel()
        with Place(room) as third:
            await third.take(LARGE)

    asyncio.run(scene())
