"""Where calls of one worker wait for a place: by priority, each key in its turn, and for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from airboss.domain.errors import ApiError, Unavailable
from airboss.domain.plan import Priority, Queue
from airboss.domain.request import Principal
from airboss.gateway.stock import Stock, duration
from airboss.store.wording import many

POLL_S: Final = 0.02
"""So often the first in a room tries again: a place may have come free in another worker."""
OFFER_S: Final = 1.5 * POLL_S
"""For so long a place that came free here is left to other workers' calls, where they count together..."""
OFFER_EVERY_S: Final = 0.5
"""...so often at most: who frees a place knows of it first, and would always be the next to have it."""
RETRY_S_MAX: Final = 60.0
SMOOTHING: Final = 0.1
CLASSES: Final[tuple[Priority, ...]] = ("high", "normal", "low")


class Refusal(NamedTuple):
    """Which limit says no, and what the caller is told."""

    stock: Stock
    error: ApiError


Attempt = Callable[[], Awaitable[Refusal | None]]
"""Tries to let a call in; None: it is in."""


class Ticket:
    """One call that waits."""

    __slots__ = ("due", "key", "priority", "sent_away", "turn")

    def __init__(self, principal: Principal, due: float) -> None:
        self.key = principal.key
        self.priority = principal.priority
        self.due = due
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when there may be a place for it."""
        self.sent_away: Unavailable | None = None
        """Why it waits no more."""


class Room:
    """The calls that wait for a place under one `concurrency`.

    The first of the highest class tries; within a class keys take turns, so that who sends most does not come
    first. Nobody overtakes: who comes while others wait joins them. It is bounded by `queue.size`. `shared`:
    calls of other workers may wait for the same places, in rooms of theirs.
    """

    def __init__(self, stock: Stock, queue: Queue, *, shared: bool = False) -> None:
        self.stock = stock
        self.queue = queue
        self._shared = shared
        self._offered_until = 0.0
        self._keys: dict[Priority, dict[str, dict[Ticket, None]]] = {each: {} for each in CLASSES}
        self._by_age: dict[Ticket, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._dissolved = False
        self._interval_s = 0.0
        """Between two that were let in, smoothed; 0: nobody was yet."""
        self._let_in_at = 0.0

    def __len__(self) -> int:
        return len(self._by_age)

    async def until_in(self, principal: Principal, attempt: Attempt, *, since: float) -> Refusal | None:
        """Wait until `attempt` lets the call in, or something else than this room's limit refuses it; that is
        returned. `since` is when it began to wait. Raises Unavailable for who is sent away."""
        ticket = self._join(principal, since)
        let_in = False
        try:
            while ticket.sent_away is None:
                await ticket.turn
                # Made before the attempt, so that a place that comes free meanwhile is not missed.
                ticket.turn = asyncio.get_running_loop().create_future()
                refused = await attempt()
                let_in = refused is None
                if refused is None or refused.stock is not self.stock or self._dissolved:
                    return refused
            raise ticket.sent_away  # while it tried: nobody would wake it again
        finally:
            self._leave(ticket, let_in=let_in)

    def freed(self) -> None:
        """A place came free in this worker."""
        if self._shared and (self._by_age or not self.stock.remaining):
            loop = asyncio.get_running_loop()
            if loop.time() - self._offered_until >= OFFER_EVERY_S:
                self._offered_until = loop.time() + OFFER_S
                loop.call_at(self._offered_until, self.wake)
        self.wake()

    @property
    def taken(self) -> bool:
        """Whether others come first: those that wait here, or in another worker for the place that is left to
        them now."""
        return bool(self._by_age) or (
            self._offered_until > 0 and asyncio.get_running_loop().time() < self._offered_until
        )

    def wake(self) -> None:
        """There may be a place."""
        first = self._first()
        if first is None or first.turn.done():
            return
        if first.turn.get_loop().time() >= self._offered_until:
            first.turn.set_result(None)

    def resize(self, queue: Queue) -> None:
        """Another plan says how many may wait and how long; there may be more places too."""
        self.queue = queue
        self.wake()

    def dissolve(self) -> None:
        """Nobody waits here any more: all try once again, and are refused as if they came now."""
        self._dissolved = True
        for ticket in self._by_age:
            if not ticket.turn.done():
                ticket.turn.set_result(None)

    def retry_after_s(self) -> float:
        """When the queue of now will have gone through, at the pace of late."""
        pace = self._interval_s or self.queue.wait_s / max(1, len(self))
        return min(RETRY_S_MAX, max(1.0, pace * len(self)))

    def _first(self) -> Ticket | None:
        for keys in self._keys.values():
            for tickets in keys.values():
                return next(iter(tickets))
        return None

    def _join(self, principal: Principal, since: float) -> Ticket:
        if len(self) >= self.queue.size:
            self._make_room(principal)
        ticket = Ticket(principal, since + self.queue.wait_s)
        self._keys[ticket.priority].setdefault(ticket.key, {})[ticket] = None
        self._by_age[ticket] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)
        return ticket

    def _make_room(self, comer: Principal) -> None:
        """Send somebody away: of the lowest class, and of the key there that has most waiting, the newest.
        That may be who comes: then Unavailable is raised."""
        lowest = next(each for each in reversed(CLASSES) if self._keys[each])
        keys = self._keys[lowest]
        most = max(keys, key=lambda key: len(keys[key]))
        own = len(keys.get(comer.key, ()))
        if CLASSES.index(comer.priority) > CLASSES.index(lowest) or (
            comer.priority == lowest and own + 1 >= len(keys[most])
        ):
            raise self._full()
        self._send_away(next(reversed(keys[most])), self._full())

    def _send_away(self, ticket: Ticket, why: Unavailable) -> None:
        self._remove(ticket)
        ticket.sent_away = why
        if not ticket.turn.done():
            ticket.turn.set_exception(why)

    def _leave(self, ticket: Ticket, *, let_in: bool) -> None:
        if let_in:
            now = asyncio.get_running_loop().time()
            if self._let_in_at:
                took = min(RETRY_S_MAX, now - self._let_in_at)
                self._interval_s += (took - self._interval_s) * (SMOOTHING if self._interval_s else 1.0)
            self._let_in_at = now
            keys = self._keys[ticket.priority]
            if ticket.key in keys:
                keys[ticket.key] = keys.pop(ticket.key)  # the other keys have their turn first
        if ticket.turn.done() and not ticket.turn.cancelled():
            ticket.turn.exception()  # heard, though the last try has come to something else
        self._remove(ticket)
        self.wake()

    def _remove(self, ticket: Ticket) -> None:
        self._by_age.pop(ticket, None)
        keys = self._keys[ticket.priority]
        tickets = keys.get(ticket.key)
        if tickets is not None:
            tickets.pop(ticket, None)
            if not tickets:
                del keys[ticket.key]

    def _poll(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for ticket in list(self._by_age):
            if ticket.due > now:
                break
            self._send_away(ticket, self._in_vain())
        self.wake()
        if self._by_age:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)

    def _full(self) -> Unavailable:
        scope, wait_s = self.stock.scope, self.retry_after_s()
        wait = "call waits" if len(self) == 1 else "calls wait"
        return Unavailable(
            f"{len(self)} {wait} for a place at {scope.said} already: try again in {duration(wait_s)}, "
            f"or raise limits.concurrency or limits.queue.size under {scope.table}",
            code="overloaded",
            retry_after_s=wait_s,
        )

    def _in_vain(self) -> Unavailable:
        scope, wait_s = self.stock.scope, self.retry_after_s()
        return Unavailable(
            f"no place came free at {scope.said}, which takes {many(self.stock.limit, 'call')} at once, "
            f"within {duration(self.queue.wait_s)}: try again in {duration(wait_s)}, or raise "
            f"limits.concurrency or limits.queue.wait_s under {scope.table}",
            code="overloaded",
            retry_after_s=wait_s,
        )
