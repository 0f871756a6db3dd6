"""Memory for what requests only name: one of a hundred bytes may stand for megabytes that are kept here, so
that how much comes in says nothing of what it takes. Pure."""

from __future__ import annotations

import asyncio
from typing import Final, Self

from airboss.domain.errors import Unavailable

SMALL_BYTES: Final = 1024 * 1024
"""What a call may name without asking for room: others send as much."""
ROOM_BYTES: Final = 256 * 1024 * 1024
"""For all calls of a worker that name more; each has up to five copies of it while it is sent, then two."""
WAIT_S: Final = 10.0


class Room:
    """Used by one event loop."""

    def __init__(self, size: int = ROOM_BYTES, *, wait_s: float = WAIT_S) -> None:
        self._size = self._left = size
        self._wait_s = wait_s
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Take so many bytes of it, once they are free. Raises Unavailable where they are not for long."""
        try:
            async with asyncio.timeout(self._wait_s):
                while size > self._left:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise Unavailable(
                f"calls under way build on {self._size - self._left} bytes of kept responses, of at most "
                f"{self._size} at once; try again, or send the conversation as 'input'",
                code="responses_unavailable",
                retry_after_s=1,
            ) from None
        self._left -= size

    def give(self, size: int) -> None:
        """Give so many back."""
        self._left += size
        self._freed.set()


class Place:
    """One call's part of it, until the end of a `with`."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give(self._size)

    async def take(self, size: int) -> None:
        """Take so many bytes more, unless that is little. Raises Unavailable."""
        if size > SMALL_BYTES:
            await self._room.take(size)
            self._size += size

    def give(self, size: int) -> None:
        """Give so many back of those that were taken."""
        self._room.give(size)
        self._size -= size
