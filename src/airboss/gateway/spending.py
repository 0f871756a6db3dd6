"""What records say that keys and their users have spent, told to who counts: it may have missed some.

It may have been lost with a worker that was killed, or spent before there was a budget; or all is forgotten.
What is told for good is told RIPE_S after it was read: by then every worker has told of its calls itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Generic, ParamSpec, TypeVar

import msgspec

from airboss.domain.errors import AirbossError, Unavailable
from airboss.domain.plan import Budget
from airboss.domain.ports import Clock, Snapshot, Spent
from airboss.gateway.stock import Scope, Stock
from airboss.governance.budgets import members, period_of, period_start
from airboss.governance.counting import Change, Counters, units
from airboss.store.daemons import Daemons
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

SAY_AGAIN: Final = 20
"""Every so many refreshes what records say of spending is told again, changed or not."""
RIPE_S: Final = 3.0
"""With the owner there all the while. What records tell of first would count twice."""
READ_AGAIN_S: Final = 5.0
"""So often what a user has spent is read while they call."""
PURSES_MAX: Final = 1000
"""Of so many users at once."""
SILENT_S: Final = 2.0
"""For so long calls wait for what records say of their user: as where the ledger is away, they then go on
without it. One that is silent is not asked again before it has answered."""

P = ParamSpec("P")
T = TypeVar("T")
_threads: Final = Daemons(4, "spending")

KeySpending = Callable[[date], Iterable[Spent]]
"""What keys spent on that day and later, as the ledger has it."""
UserSpending = Callable[[str, Sequence[str], date], Mapping[str, Decimal]]
"""What users of a key (by their names for counters) spent on that day and later, as the ledger has it."""


class Asked(Generic[P, T]):
    """A question to the ledger, in threads of their own: a database that hangs keeps them."""

    def __init__(self, ask: Callable[P, T]) -> None:
        self._ask = ask
        self._stuck: Future[T] | None = None
        self._outage = Outage(log, "cannot read what has been spent")

    async def answer(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What it says; None where it is away, which is said once."""
        try:
            answer = await self._within(*args, **kwargs)
        except AirbossError as error:  # the owner knows what we told it; records can wait
            self._outage.failed(error)
            return None
        self._outage.over()
        return answer

    async def _within(self, *args: P.args, **kwargs: P.kwargs) -> T:
        silent = Unavailable(f"the ledger has been silent for {SILENT_S:g} s")
        if self._stuck is not None and not self._stuck.done():
            raise silent
        asked = _threads.submit(self._ask, *args, **kwargs)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), SILENT_S)
        except TimeoutError:
            if not asked.done():
                self._stuck = asked
            raise silent from None


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, whose it is, and the keys that spend of it: one, or those of a team.

    A team's spend is what its keys have spent. It falls when one leaves, which what is counted cannot: so
    another counter goes on then, from the records, told apart by `left`, how often a key has left."""

    scope: Scope
    budget: Budget
    keys: Collection[str]
    left: int = 0

    def stock(self, at: datetime) -> Stock:
        """What money of then is taken from."""
        return Stock(self.scope, "usd", units(self.budget.usd), self.named(period_of(self.budget, at)))

    def named(self, period: str) -> str:
        """How its counter of a period ends."""
        return f"{period}/{self.left}" if self.left else period


def payers(snapshot: Snapshot) -> list[Payer]:
    """Every budget of a plan, of keys and of teams."""
    found = [
        Payer(scope=Scope("key", key.name), budget=key.budget, keys=(key.name,))
        for key in snapshot.keys
        if key.budget is not None and key.revoked_at is None
    ]
    of_team, left = members(snapshot.keys), Counter[str]()
    for key in snapshot.keys:
        if key.left:
            left.update(key.left)
    return found + [
        Payer(
            scope=Scope("team", name),
            budget=team.budget,
            keys=of_team.get(name, ()),
            left=left[name],
        )
        for name, team in snapshot.plan.teams.items()
        if team.budget is not None
    ]


def by_key(payers: Iterable[Payer]) -> dict[str, tuple[Payer, ...]]:
    """The same by the keys that spend of each."""
    found: dict[str, tuple[Payer, ...]] = {}
    for payer in payers:
        for key in payer.keys:
            found[key] = (*found[key], payer) if key in found else (payer,)
    return found


def counters_of(payers: Iterable[Payer], at: datetime) -> tuple[dict[str, date], dict[str, list[str]]]:
    """The counter of each then, with its period's first day; and which count what a key spends."""
    starts: dict[str, date] = {}
    paid_by: dict[str, list[str]] = {}
    for payer, counter, start in each_counter(payers, at):
        starts[counter] = start
        for key in payer.keys:
            paid_by.setdefault(key, []).append(counter)
    return starts, paid_by


def each_counter(payers: Iterable[Payer], at: datetime) -> Iterator[tuple[Payer, str, date]]:
    """The counter of each then, with its period's first day. There may be thousands, several times a second:
    a period is told once for all."""
    periods: dict[str, tuple[str, date]] = {}
    for payer in payers:
        per = payer.budget.per
        if per not in periods:
            periods[per] = period_of(payer.budget, at), period_start(payer.budget, at).date()
        period, start = periods[per]
        yield payer, f"{payer.scope.counter}/usd/{payer.named(period)}", start


class Wallet(msgspec.Struct, frozen=True):
    """What a key's money is taken from, by each budget that binds it, from `since` until `until`."""

    since: datetime
    until: datetime
    stocks: tuple[Stock, ...]


class KeysSpent:
    """Of keys and teams with budgets. One a worker, one event loop."""

    def __init__(self, counters: Counters, clock: Clock, spending: KeySpending | None) -> None:
        self._counters = counters
        self._clock = clock
        self._spending = Asked(spending) if spending is not None else None
        self._read: deque[tuple[float, dict[str, int]]] = deque()
        """When records were read, the oldest first, and what they said by counter."""
        self._ripe: dict[str, int] = {}
        self._spent: dict[str, int] = {}
        """What they said last."""
        self._refreshed = 0

    def again(self) -> None:
        """Who is told may be another, or have forgotten all."""
        self._read.clear()
        self._refreshed = 0

    def of(self, counter: str) -> int:
        """What records said last."""
        return self._spent.get(counter, 0)

    async def refresh(self, payers: Sequence[Payer]) -> None:
        """Tell what has been spent of these."""
        if self._spending is None or not payers or not self._counters.here:
            return
        # Put together here: by the time that records are read there may be another plan.
        starts, paid_by = counters_of(payers, self._clock.now())
        spent = await self._spending.answer(min(starts.values()))
        if spent is None:
            return
        self._refreshed += 1
        read = dict.fromkeys(starts, 0)
        for each in spent:
            for counter in paid_by.get(each.key, ()):
                if each.day >= starts[counter]:
                    read[counter] += units(each.usd)
        before, self._spent = self._spent, read
        told, self._ripe = self._ripe, self._ripened(read)
        again = self._refreshed % SAY_AGAIN == 1
        changes = []
        for counter, total in read.items():
            ripe = self._ripe.get(counter)
            if counter not in before and total:
                changes.append(Change(counter, at_first=total))
            elif ripe and (again or told.get(counter) != ripe):
                changes.append(Change(counter, at_least=ripe))
        if changes:
            self._counters.tell(changes)

    def _ripened(self, read: dict[str, int]) -> dict[str, int]:
        """What can be told for good, now that this is read."""
        now = self._clock.monotonic()
        self._read.append((now, read))
        ripe = self._ripe
        while self._read and self._read[0][0] <= now - RIPE_S:
            ripe = self._read.popleft()[1]
        return {counter: ripe[counter] for counter in read if counter in ripe}


class Purse:
    """A user's money of one period, as this worker has it: `stock` is what it takes from, `since` the
    period's first day, `read` what records said at `read_at`, None before; `told` whether that was told for
    good."""

    __slots__ = ("budget", "read", "read_at", "since", "stock", "told")

    def __init__(self, stock: Stock, budget: Budget, since: date) -> None:
        self.stock = stock
        self.budget = budget
        self.since = since
        self.read: int | None = None
        self.read_at = 0.0
        self.told = False


class UsersSpent:
    """Of users who called lately. One a worker, one event loop."""

    def __init__(self, counters: Counters, clock: Clock, spending: UserSpending | None) -> None:
        self._counters = counters
        self._clock = clock
        self._spending = Asked(spending) if spending is not None else None
        self._purses: dict[str, Purse] = {}

    def purse(self, stock: Stock, budget: Budget, since: date) -> Purse:
        """The purse with that stock."""
        known = self._purses.get(stock.counter)
        if known is None or known.stock is not stock:
            known = self._purses[stock.counter] = Purse(stock, budget, since)
        known.budget = budget
        return known

    def budget_of(self, stock: Stock) -> Budget:
        """The budget that a user's stock is of."""
        return self._purses[stock.counter].budget

    def forget(self, stock: Stock) -> None:
        """The user has not called for a while."""
        self._purses.pop(stock.counter, None)

    def again(self) -> None:
        """As `KeysSpent.again`."""
        for purse in self._purses.values():
            purse.read, purse.told = None, False

    async def learn(self, purse: Purse) -> int:
        """What records say that a user has spent of whom who counts knows nothing; that is told it."""
        await self._look_up([purse])
        return purse.read or 0

    async def refresh(self) -> None:
        """Tell what users spent who call."""
        if self._spending is None or not self._counters.here:
            return
        now = self._clock.monotonic()
        ripe, due = [], []
        for purse in self._purses.values():
            if purse.read is None or (purse.told and now - purse.read_at >= READ_AGAIN_S):
                due.append(purse)
            elif not purse.told and now - purse.read_at >= RIPE_S:
                purse.told = True
                if purse.read:
                    ripe.append(Change(purse.stock.counter, at_least=purse.read))
        if ripe:
            self._counters.tell(ripe)
        await self._look_up(due[:PURSES_MAX])

    async def _look_up(self, due: Sequence[Purse]) -> None:
        """Read what these have spent, and tell where nothing may be known."""
        if self._spending is None:
            return
        alike: dict[tuple[str, date], list[Purse]] = defaultdict(list)
        for purse in due:
            alike[purse.stock.scope.spender, purse.since].append(purse)
        first = []
        for (key, since), purses in alike.items():
            users = [purse.stock.scope.user for purse in purses]
            found = await self._spending.answer(key, users, since)
            if found is None:
                return
            for user, purse in zip(users, purses, strict=True):
                total = units(found.get(user, Decimal(0)))
                if purse.read is None and total:
                    first.append(Change(purse.stock.counter, at_first=total))
                purse.read, purse.read_at, purse.told = total, self._clock.monotonic(), False
        if first:
            self._counters.tell(first)
