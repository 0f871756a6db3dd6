"""Where limits and budgets are counted for all workers together: what is said, and the book. Pure.

There are three kinds of counter. `minute`: what was taken in the last minute (requests, tokens). `running`:
what is held now (calls under way). `money`: what is spent and reserved in one period (a budget), in units of
10^-10 USD, as fine as a record's cost. A worker asks for what a call needs, and may be given a little more,
its *lease*, so that where limits are loose the next calls need not be asked for. All leases together are at
most a hundredth of the limit: by so much, or by one, the workers together may differ from a single one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, Final, Literal, Protocol

import msgspec

from airboss.governance.windows import Window

Kind = Literal["minute", "running", "money"]
"""What sort of thing a counter counts."""

UNITS_PER_USD: Final = 10**10
LEASE_SHARE: Final = 100
"""Leases together are at most this part of a limit."""
MONEY_LEASE_SHARE: Final = 1000
FORGET_S: Final = 3 * 86_400.0
"""So long after its last use a budget's counter is dropped; its period is over by then, or it is idle."""
SWEEP_MAX: Final = 2000
"""So many counters at once are looked at, whether they say something."""
FORGET_USER_S: Final = 3600.0
"""And that of a user's: there are many. Whoever counts is told again what records say when they come back."""


class Want(msgspec.Struct, frozen=True, array_like=True):
    """What a call needs of a counter whose limit is `limit`. `lease`: a little more would be welcome."""

    counter: str
    kind: Kind
    limit: int
    need: int
    lease: bool = False


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What was given: the need, and what was leased with it; of a minute's counter it stands in `slot`.

    `left` is what nobody has. `lease` is how much a worker may keep in stock: 0 where it must ask each time.
    `spent` is of a budget.
    """

    amount: int
    slot: int
    left: int
    lease: int
    spent: int = 0


class Denied(msgspec.Struct, frozen=True, array_like=True):
    """Nothing was given, for want of the counter at `index`; of several that lack something the one to be
    waited for longest. `retry_after_s` None: nothing that happens by itself will change that soon. `spent` is
    of a budget."""

    index: int
    retry_after_s: float | None
    left: int
    spent: int = 0


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What a worker tells of one counter.

    `back` goes back to `slot` of a minute (negative: that much more was used than was reserved). `freed` is
    held no more. `spent` was spent. `at_least`: records say that so much has been spent; `at_first` too,
    but some of it may still be told as `spent`, so it counts only where nothing is known of the counter yet.
    """

    counter: str
    back: int = 0
    slot: int = 0
    freed: int = 0
    spent: int = 0
    at_least: int = 0
    at_first: int = 0


Answer = tuple[Grant, ...] | Denied
"""To several wants: a grant for each, in their order, or nothing."""


Held = Callable[[], dict[str, int]]
"""Tells what a worker holds now, by counter: of calls under way, and of money reserved."""


class Counters(Protocol):
    """The port: limits and budgets, counted in one place, be it in this process, in an owner process, or in
    Valkey. One event loop uses it. Who asked must take the answer: what is given is held until it is told
    otherwise."""

    shared: ClassVar[bool]
    """Whether other workers count there too."""

    async def start(self, held: Held) -> None:
        """Begin. An owner that was away and comes back is told what `held` says."""

    @property
    def here(self) -> bool:
        """Whether the owner can be asked now."""

    def ask(self, wants: Sequence[Want]) -> Answer | asyncio.Future[Answer]:
        """All of these, or none; at once where that needs no waiting. Raises Unavailable, or gives it to who
        waits, where the owner does not answer."""

    def tell(self, changes: Sequence[Change]) -> None:
        """Tell what happened. Each is counted once, also if the owner is away for a while."""

    def tick(self) -> None:
        """What is due by the clock; called about twice a second."""

    async def close(self) -> None:
        """Give back what this worker holds."""


class Holding(msgspec.Struct):
    """One counter of what is held: by worker; and of a budget what has been spent."""

    by_worker: dict[str, int] = {}
    spent: int = 0
    used_at: float = 0.0

    @property
    def total(self) -> int:
        """What all workers hold."""
        return sum(self.by_worker.values())


class BookState(msgspec.Struct):
    """All of a book, to be kept."""

    windows: dict[str, dict[int, int]]
    holdings: dict[str, Holding]


class Book:
    """Every counter. Counters come by being asked for; limits come with each want, from the plan that the
    worker serves, so the book knows of no configuration."""

    def __init__(self, state: BookState | None = None) -> None:
        self._windows = {name: Window(slots) for name, slots in state.windows.items()} if state else {}
        self._holdings = state.holdings if state is not None else {}
        self._unswept: list[str] = []

    def state(self) -> BookState:
        """What a book made from it would go on with."""
        return BookState({name: window.slots for name, window in self._windows.items()}, self._holdings)

    def no_later_than(self, now: float) -> None:
        """As `Window.no_later_than`."""
        for window in self._windows.values():
            window.no_later_than(now)

    def ask(self, worker: str, wants: Sequence[Want], *, now: float, workers: int) -> Answer:
        """Give all or nothing. `workers` is how many there are; leases are divided among them."""
        refused: Denied | None = None
        for index, want in enumerate(wants):
            denied = self._denied(index, want, now)
            if denied is not None and (refused is None or _later(denied, refused)):
                refused = denied
        if refused is not None:
            return refused
        return tuple([self._give(worker, want, now, max(1, workers)) for want in wants])

    def _denied(self, index: int, want: Want, now: float) -> Denied | None:
        if want.kind == "minute":
            window = self._window(want.counter)
            left = want.limit - window.taken(now)
            if want.need <= left:
                return None
            at = window.room_at(want.need, want.limit, now) if want.need <= want.limit else None
            return Denied(index, None if at is None else at - now, max(0, left))
        holding = self._holding(want.counter, now)
        left = want.limit - holding.spent - holding.total
        if want.kind == "money":
            # As long as anything is left a call goes, whatever it may cost: what is spent above the budget is
            # at most what the calls under way cost.
            wait = 1.0 if holding.spent < want.limit else None
            return None if left > 0 else Denied(index, wait, 0, holding.spent)
        return None if want.need <= left else Denied(index, 1.0, max(0, left))

    def _give(self, worker: str, want: Want, now: float, workers: int) -> Grant:
        if want.kind == "minute":
            window = self._window(want.counter)
            left = want.limit - window.taken(now)
            lease = want.limit // (LEASE_SHARE * workers)
            amount = max(want.need, min(lease, left)) if want.lease else want.need
            slot = window.take(amount, now)
            return Grant(amount, slot, left - amount, lease)
        holding = self._holding(want.counter, now)
        left = want.limit - holding.spent - holding.total
        if want.kind == "money":
            lease = min(want.limit // (MONEY_LEASE_SHARE * workers), max(0, left) // (8 * workers))
        else:
            lease = want.limit // (LEASE_SHARE * workers)
        amount = max(want.need, min(lease, left)) if want.lease else want.need
        holding.by_worker[worker] = holding.by_worker.get(worker, 0) + amount
        return Grant(amount, 0, left - amount, lease, holding.spent)

    def change(self, worker: str, changes: Iterable[Change], *, now: float) -> None:
        """Take in what a worker tells."""
        for change in changes:
            if change.back:
                self._window(change.counter).give_back(change.back, change.slot, now)
                continue
            holding = self._holding(change.counter, now)
            held = holding.by_worker.get(worker, 0) - change.freed
            if held > 0:
                holding.by_worker[worker] = held
            else:
                holding.by_worker.pop(worker, None)
            before = holding.spent or change.at_first
            holding.spent = max(before + change.spent, change.at_least)

    def hello(self, worker: str, held: Mapping[str, int], *, now: float) -> None:
        """A worker is there again, and holds this and nothing else."""
        self.forget(worker)
        for counter, amount in held.items():
            if amount > 0:
                self._holding(counter, now).by_worker[worker] = amount

    def forget(self, worker: str) -> None:
        """A worker is gone: what it held is free."""
        for holding in self._holdings.values():
            holding.by_worker.pop(worker, None)

    def holders(self) -> set[str]:
        """Workers that hold something."""
        return {worker for holding in self._holdings.values() for worker in holding.by_worker}

    def sweep(self, now: float) -> None:
        """Drop counters that say nothing any more, of the SWEEP_MAX that were looked at longest ago: of many
        users all at once would keep callers waiting."""
        if not self._unswept:
            self._unswept = [*self._windows, *self._holdings]
        for name in self._unswept[-SWEEP_MAX:]:
            window, holding = self._windows.get(name), self._holdings.get(name)
            if window is not None and not window.taken(now):
                del self._windows[name]
            forget_s = FORGET_USER_S if name.startswith("user/") else FORGET_S
            if holding is None or holding.by_worker:
                continue
            if not holding.spent or holding.used_at + forget_s < now:
                del self._holdings[name]
        del self._unswept[-SWEEP_MAX:]

    def _window(self, name: str) -> Window:
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = Window()
        return window

    def _holding(self, name: str, now: float) -> Holding:
        holding = self._holdings.get(name)
        if holding is None:
            holding = self._holdings[name] = Holding()
        holding.used_at = now
        return holding


def _later(denied: Denied, other: Denied) -> bool:
    """Whether what the one lacks is there later than what the other does."""
    if denied.retry_after_s is None or other.retry_after_s is None:
        return other.retry_after_s is not None
    return denied.retry_after_s > other.retry_after_s


def given_back(wants: Sequence[Want], grants: Sequence[Grant]) -> tuple[Change, ...]:
    """What to tell of a grant that nobody waits for any more."""
    return tuple(
        Change(want.counter, back=grant.amount, slot=grant.slot)
        if want.kind == "minute"
        else Change(want.counter, freed=grant.amount)
        for want, grant in zip(wants, grants, strict=True)
    )


def units(usd: Decimal) -> int:
    """An amount of money as counters count it, exactly; a record's cost has no finer part."""
    return int(usd * UNITS_PER_USD)


def exactly(usd: float) -> Decimal:
    """A sum of costs, none of which has a finer part than a counter's unit, without what a double adds."""
    return Decimal(usd).quantize(Decimal(1) / UNITS_PER_USD)


def usd_of(amount: int) -> Decimal:
    """The other way round."""
    return Decimal(amount) / UNITS_PER_USD
