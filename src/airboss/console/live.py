"""Live pages: one watcher asks the record log for its newest record, every open page hears when it changes.

However many pages are open the log is asked once every `EVERY_S`, and not at all when none is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from airboss.domain.errors import StoreUnavailable, Unavailable

CLIENTS_MAX = 32
EVERY_S = 2.0
BEAT_S = 15.0
"""Silence after which a comment is sent: a dead connection is noticed, and proxies keep a living one."""

LIFETIME_S = 600.0
"""A stream ends after this; the browser opens it again."""

Newest = Callable[[], Awaitable[str | None]]
"""Gives the id of the newest record, None if there is none; raises StoreUnavailable."""

Welcome = Callable[[], Awaitable[bool]]
"""Whether who listens may still do so."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What pages are told: the newest record, and whether the store answers."""

    newest: str | None
    store_up: bool


class Live:
    """Fans news out to at most `CLIENTS_MAX` pages. One event loop owns it; nothing here is thread-safe."""

    def __init__(self, newest: Newest, *, every_s: float = EVERY_S) -> None:
        self._newest = newest
        self._every_s = every_s
        self._news: News | None = None  # unknown until the watcher has asked
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._clients = 0

    @property
    def clients(self) -> int:
        """Pages that listen now."""
        return self._clients

    @property
    def news(self) -> News | None:
        """What was heard last; None while nobody listens or nothing was heard yet."""
        return self._news

    def stream(self, welcome: Welcome) -> AsyncIterator[bytes]:
        """Server-sent events for one page, until it is not `welcome` any more: it is asked before each thing
        that is told. Raises Unavailable when `CLIENTS_MAX` listen already."""
        if self._closed.is_set() or self._clients >= CLIENTS_MAX:
            message = f"{self._clients} of {CLIENTS_MAX} live pages are open; reload this one instead"
            raise Unavailable(message, code="too_many_live_pages", retry_after_s=30)
        return self._events(welcome)

    def close(self) -> None:
        """End every stream; called when the server stops, so that it need not wait for them."""
        self._closed.set()
        self._changed.set()

    async def _events(self, welcome: Welcome) -> AsyncIterator[bytes]:
        """What one page hears: the first news only tell it where it stands."""
        self._clients += 1
        try:
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.create_task(self._watch())
            ends = asyncio.get_running_loop().time() + LIFETIME_S
            told: News | None = None
            yield b"retry: 3000\n\n"
            while not self._closed.is_set() and asyncio.get_running_loop().time() < ends and await welcome():
                changed, news = self._changed, self._news
                if told is not None and news is not None and news != told:
                    yield b"event: changed\ndata: " + msgspec.json.encode(news) + b"\n\n"
                told = news
                if not await happens(changed, BEAT_S):
                    yield b": still here\n\n"
        finally:
            self._clients -= 1
            if self._clients == 0 and self._watcher is not None:
                self._watcher.cancel()
                self._watcher, self._news = None, None

    async def _watch(self) -> None:
        """Ask for the newest record every `every_s`, until cancelled or closed."""
        while not self._closed.is_set():
            try:
                news = News(newest=await self._newest(), store_up=True)
            except StoreUnavailable:
                news = News(newest=self._news.newest if self._news else None, store_up=False)
            if news != self._news:
                self._news = news
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await happens(self._closed, self._every_s)


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event; False if it did not come in time."""
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True
