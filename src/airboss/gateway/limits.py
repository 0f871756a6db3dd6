"""The rungs of the ladder that limits and budgets are: enter, reserve, settle.

A call enters when its requests and its place among the calls under way are granted; what it may cost in
tokens and money is reserved when it is known what goes upstream; its closed record settles both. One owner
counts (`governance.counting`); this worker spends what it has leased, and asks for more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NoReturn

from airboss.domain.errors import AirbossError, ApiError, Unavailable
from airboss.domain.plan import Budget, DeploymentPlan
from airboss.domain.ports import Clock, Snapshot
from airboss.domain.request import InferenceRequest
from airboss.gateway.held import Bound, Held
from airboss.gateway.spending import (
    KeySpending,
    KeysSpent,
    Payer,
    Purse,
    UserSpending,
    UsersSpent,
    Wallet,
    by_key,
    each_counter,
    payers,
)
from airboss.gateway.stock import (
    SHADOW_TAG,
    Scope,
    Stock,
    What,
    counted,
    of_candidate,
    refusal,
    spared,
)
from airboss.gateway.tagged import TagBudgets
from airboss.gateway.waiting import Refusal, Room
from airboss.governance.budgets import period_end, period_of, period_start
from airboss.governance.counting import Answer, Change, Counters, Denied, Want, given_back, units, usd_of
from airboss.governance.users import Users, salt_of
from airboss.telemetry.metrics import LimitUse

log = logging.getLogger(__name__)

TICK_S: Final = 0.5
IDLE_S: Final = 1.0
"""A lease that nobody has spent from for so long is given back."""
FORGET_S: Final = 5.0
"""A user who has not called for so long is forgotten here, not by who counts."""
LINGER_S: Final = 0.02
"""So long what need not be known at once waits for more to tell."""
LINGER_MAX: Final = 256
SHUT_S: Final = 1.0
"""A key whose requests are used up is refused without asking for so long, or until there is room."""


class Limiter:
    """The limits of one worker's plan, and what it holds of them. One a worker, one event loop."""

    def __init__(
        self,
        counters: Counters,
        *,
        clock: Clock,
        spending: KeySpending | None = None,
        of_users: UserSpending | None = None,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self.keys_spent = KeysSpent(counters, clock, spending)
        self.users_spent = UsersSpent(counters, clock, of_users)
        self._stocks: dict[str, Stock] = {}
        self._bound: dict[tuple[str, str], Bound] = {}
        self.scopes: dict[Scope, Bound] = {}
        self._limited: set[str] = set()
        """Counters of limits in the plan; others are forgotten when nothing is held of them."""
        self.teams: dict[str, str] = {}
        """The team of each key that is in one."""
        self.budgets: dict[Scope, Payer] = {}
        self._paid_by: dict[str, tuple[Payer, ...]] = {}
        """The budgets that bind a key: its own and its team's."""
        self._wallets: dict[str, Wallet] = {}
        """What a key's money of now is taken from."""
        self._rooms: dict[str, Room] = {}
        """Where calls wait, by the counter that they wait for."""
        self._shut: dict[str, tuple[float, float, Stock]] = {}
        """Until when a key, for itself or its team, or a user by their counter, is refused without asking,
        when there will be room, and in which stock."""
        self._users: dict[str, tuple[Users, dict[What, int], Budget | None]] = {}
        """Of keys whose users are limited each: who they are, how far, and for how much money."""
        self._of_users: dict[Scope, Bound] = {}
        """What binds users who called lately."""
        self._tags = TagBudgets()
        self._untold: list[Change] = []
        self._lingering: asyncio.TimerHandle | None = None
        self.refusals: Counter[tuple[Scope, str]] = Counter()
        """How often a limit said no, by whose and which it was."""

    # -- the plan

    def bind(self, snapshot: Snapshot) -> bool:
        """Limit as this snapshot says; returns whether anything is limited at all."""
        self._bound.clear()
        self._wallets.clear()
        self._shut.clear()
        rooms, self._rooms = self._rooms, {}
        limited = [(Scope("all"), snapshot.plan.limits)]
        limited += [(Scope("deployment", each.name), each.limits) for each in snapshot.plan.deployments]
        limited += [(Scope("candidate", each.name), of_candidate(each)) for each in snapshot.plan.deployments]
        keys = [key for key in snapshot.keys if key.revoked_at is None]
        limited += [(Scope("key", key.name), key.limits) for key in keys]
        limited += [(Scope("team", name), team.limits) for name, team in snapshot.plan.teams.items()]
        self.teams = {key.name: key.team for key in keys if key.team is not None}
        self.scopes = {}
        for scope, limits in limited:
            if wanted := counted(limits):
                self.scopes[scope] = tuple(self._stock(Stock(scope, *each)) for each in wanted.items())
            if limits is not None and limits.queue is not None:
                stock = self._stocks[f"{scope.counter}/concurrency"]
                room = rooms.pop(stock.counter, None)
                if room is None:
                    room = Room(stock, limits.queue, shared=self._counters.shared)
                room.resize(limits.queue)
                self._rooms[stock.counter] = room
        for room in rooms.values():
            room.dissolve()
        self._limited = {stock.counter for stocks in self.scopes.values() for stock in stocks}
        self.budgets = {payer.scope: payer for payer in payers(snapshot)}
        self._paid_by = by_key(self.budgets.values())
        self._of_users.clear()
        known, self._users = self._users, {}
        for key in keys:
            if key.each_user is not None:
                users = known[key.name][0] if key.name in known else None
                if users is None or users.salt != salt_of(key):
                    users = Users(salt_of(key))
                self._users[key.name] = (users, counted(key.each_user.limits), key.each_user.budget)
        self._tags.bind(snapshot.plan.tags)
        return bool(self.scopes or self.budgets or self._users or self._tags)

    def _stock(self, fresh: Stock) -> Stock:
        """The stock of that counter, with the limit of now."""
        held = self._stocks.setdefault(fresh.counter, fresh)
        if held.limit != fresh.limit:
            self.tell(held.relimited(fresh.limit))
        return held

    def _of(self, key: str, deployment: str) -> Bound:
        bound = self._bound.get((key, deployment))
        if bound is None:
            scopes = [Scope("key", key), Scope("deployment", deployment), Scope("all")]
            if key in self.teams:
                scopes.insert(1, Scope("team", self.teams[key]))
            bound = tuple(stock for scope in scopes for stock in self.scopes.get(scope, ()))
            self._bound[key, deployment] = bound
        return bound

    def _of_user(self, scope: Scope) -> Bound:
        """What binds a user alone, but for money. Raises LimitReached, as `check`."""
        self.check(scope.counter)
        now, limits = self._clock.monotonic(), self._users[scope.name][1]
        bound = self._of_users.get(scope)
        if bound is None:
            bound = tuple(self._stock(Stock(scope, *each)) for each in limits.items())
            self._of_users[scope] = bound
        for stock in bound:
            stock.seen_at = now  # not forgotten while this call asks
        return bound

    def of_candidate(self, deployment: str) -> Bound:
        """What binds calls of the deployment's candidate beside all else."""
        return self.scopes.get(Scope("candidate", deployment), ())

    def purse(self, user: Scope, at: datetime) -> Purse | None:
        """What the money of a user, or of a tag's value, is taken from, where each has a budget."""
        limited = self._users.get(user.name) if user.kind == "user" else None
        budget = limited[2] if limited is not None else None
        if user.kind == "tag":
            budget = self._tags.budget(user.name)
        if budget is None:
            return None
        stock = self._stock(Stock(user, "usd", units(budget.usd), period_of(budget, at)))
        stock.seen_at = self._clock.monotonic()
        return self.users_spent.purse(stock, budget, period_start(budget, at).date())

    def money(self, key: str, at: datetime) -> tuple[Stock, ...]:
        """What the money of a key is taken from, for each budget that binds it."""
        known = self._wallets.get(key)
        if known is not None and known.since <= at < known.until:
            return known.stocks
        if key not in self._paid_by:
            return ()
        # Of several that are spent the first is told: the one that is so for longest.
        paid_by = sorted(self._paid_by[key], key=lambda payer: period_end(payer.budget, at), reverse=True)
        self._wallets[key] = Wallet(
            max(period_start(payer.budget, at) for payer in paid_by),
            period_end(paid_by[-1].budget, at),
            tuple(self._stock(payer.stock(at)) for payer in paid_by),
        )
        return self._wallets[key].stocks

    # -- the rungs

    def check(self, whose: str) -> None:
        """Turn a call away before anything is read of it, where its key's requests are known to be used up;
        or its user's, before anything is asked. Raises LimitReached."""
        shut = self._shut.get(whose)
        if shut is None:
            return
        until, room_at, stock = shut
        now = self._clock.monotonic()
        if now < until:
            self.refusals[stock.scope.metered, stock.what] += 1
            raise refusal(stock, Denied(0, room_at - now, 0), None, self._clock.now())
        del self._shut[whose]

    def binding(self, request: InferenceRequest, deployment: DeploymentPlan) -> Held | None:
        """What the call is to hold, nothing of it taken yet; None if nothing limits it. What asks a shadow is
        let in only while callers can spare it. Raises LimitReached."""
        key = request.principal.key
        bound = self._of(key, deployment.name)
        own: Bound = ()
        tags = request.tags and self._tags
        purses = self._tags.of(request.tags, self._clock.monotonic()) if tags else ()
        if key in self._users:
            name = self._users[key][0].counted_as(request.user, self._clock.monotonic())
            purses = (user := Scope("user", key, name), *purses)
            own = self._of_user(user)
        elif not bound and not purses and key not in self._paid_by:
            return None
        if request.principal.internal and SHADOW_TAG in request.tags:
            spared(bound)
        return Held(self, request, bound, own, purses)

    async def enter(self, request: InferenceRequest, deployment: DeploymentPlan) -> Held | None:
        """Count the call, and let it in; None if nothing limits it. Raises LimitReached, and Unavailable if
        nobody counts now."""
        if (held := self.binding(request, deployment)) is None:
            return None
        wanted, own, room = held.to_enter(), held.own, self.waiting_at(held.bound)
        refused = await self.take(wanted, held) if room is None else None
        if refused is not None or room is not None:
            if own and (refused is None or refused.stock.counter in self._rooms):
                await self._enter_alone(own, held)
                wanted = [each for each in wanted if each[0] not in own]
            try:
                await self._wait(room, refused, wanted, held)
            except BaseException:
                held.withdraw()
                raise
        return held

    async def _enter_alone(self, own: Bound, held: Held) -> None:
        """Count the call as its user's before it waits for a place: what waits is one of their calls under
        way, so that no user fills the room. Raises LimitReached, Unavailable."""
        refused = await self.take([(stock, 1) for stock in own if stock.what != "tokens"], held)
        if refused is not None:
            raise self.error_of(refused)

    def waiting_at(self, bound: Bound) -> Room | None:
        """Where others come first for what a call needs."""
        rooms = (self._rooms.get(stock.counter) for stock in bound if self._rooms)
        return next((room for room in rooms if room is not None and room.taken), None)

    async def _wait(
        self, room: Room | None, refused: Refusal | None, wanted: Sequence[tuple[Stock, int]], held: Held
    ) -> None:
        """Wait until the call is let in, where there is room to wait. Raises ApiError."""
        since = asyncio.get_running_loop().time()
        while True:
            if refused is not None:
                room = self._rooms.get(refused.stock.counter)
                if room is None:
                    raise self.error_of(refused)
            assert room is not None  # either there is a refusal, or others wait
            try:
                refused = await room.until_in(
                    held.request.principal, lambda: self.take(self._not_lifted(wanted), held), since=since
                )
            except Unavailable:
                self.refusals[room.stock.scope, room.stock.what] += 1
                raise
            if refused is None:
                return

    def _not_lifted(self, wanted: Sequence[tuple[Stock, int]]) -> list[tuple[Stock, int]]:
        """What a call that has waited still needs: limits of another plan's may be gone."""
        return [each for each in wanted if each[0].counter in self._limited or each[0].scope.kind == "user"]

    def wake(self, freed: Iterable[str]) -> None:
        """Places came free under these counters."""
        for counter in freed if self._rooms else ():
            room = self._rooms.get(counter)
            if room is not None:
                room.freed()

    def error_of(self, refused: Refusal) -> ApiError:
        """What the caller is told; the refusal is counted."""
        self.refusals[refused.stock.scope.metered, refused.stock.what] += 1
        return refused.error

    async def take(self, wanted: Sequence[tuple[Stock, int]], held: Held) -> Refusal | None:
        """Take all of these for a call, or none: then returns why. Raises Unavailable."""
        lacking = []
        taken = []
        for stock, need in wanted:
            if stock.left >= need:
                taken.append((stock, need, stock.take(need)))
            else:
                lacking.append((stock, need))
        if lacking:
            answer: Answer | None = None
            try:
                answer = await self._ask(lacking)
            finally:
                if answer is None or isinstance(answer, Denied):
                    for stock, need, _ in taken:
                        stock.untake(need)
            if isinstance(answer, Denied):
                stock = lacking[answer.index][0]
                return Refusal(stock, self.refused(stock, answer, held.request))
            taken += [(stock, need, grant.slot) for (stock, need), grant in zip(lacking, answer, strict=True)]
        held.taken += taken
        return None

    async def _ask(self, lacking: Sequence[tuple[Stock, int]]) -> Answer:
        wants = []
        leasing = []
        for stock, need in lacking:
            wants.append(Want(stock.counter, stock.kind, stock.limit, need, not stock.asking))
            if not stock.asking:
                stock.asking = True
                leasing.append(stock)
        self.flush(now=True)
        try:
            answer = self._counters.ask(wants)
            if isinstance(answer, asyncio.Future):
                answer = await self._answer(answer, wants)
        finally:
            for stock in leasing:
                stock.asking = False
        if not isinstance(answer, Denied):
            now = self._clock.monotonic()
            for (stock, need), want, grant in zip(lacking, wants, answer, strict=True):
                self.tell(stock.granted(grant, need, now))
                if want.limit != stock.limit:  # another plan has come meanwhile
                    self.tell(stock.relimited(stock.limit))
            self.flush(now=False)
        return answer

    async def _answer(self, answer: asyncio.Future[Answer], wants: Sequence[Want]) -> Answer:
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # The caller has gone; what is given to it goes back.
            answer.add_done_callback(lambda done: self._unclaimed(done, wants))
            raise

    def _unclaimed(self, answer: asyncio.Future[Answer], wants: Sequence[Want]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        grants = answer.result()
        if not isinstance(grants, Denied):
            self._counters.tell(given_back(wants, grants))

    def refused(self, stock: Stock, denied: Denied, request: InferenceRequest) -> ApiError:
        """What a call is told that a stock has nothing for."""
        stock.heard(denied.left - stock.left, self._clock.monotonic())
        scope = stock.scope
        own = scope.kind in {"key", "user", "team"}
        if stock.what == "requests" and own and denied.retry_after_s is not None:
            now, wait_s = self._clock.monotonic(), denied.retry_after_s
            whose = scope.counter if scope.user else request.principal.key
            self._shut[whose] = (now + min(wait_s, SHUT_S), now + wait_s, stock)
        payer, budget = self.budgets.get(scope), None
        if stock.what == "usd":  # which may be gone since it was asked for
            budget = payer.budget if payer is not None else Budget(usd=usd_of(stock.limit))
            budget = self.users_spent.budget_of(stock) if scope.user else budget
        return refusal(stock, denied, budget, request.started_at)

    # -- what is told

    def tell(self, change: Change | None) -> bool:
        """Tell with the next `flush`; returns whether there is something to tell."""
        if change is not None:
            self._untold.append(change)
        return change is not None

    def flush(self, *, now: bool) -> None:
        """Tell what there is to tell, now or within LINGER_S."""
        if not self._untold:
            return
        if now or len(self._untold) >= LINGER_MAX:
            if self._lingering is not None:
                self._lingering.cancel()
                self._lingering = None
            untold, self._untold = self._untold, []
            self._counters.tell(untold)
        elif self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER_S, self._flush_late)

    def _flush_late(self) -> None:
        self._lingering = None
        self.flush(now=True)

    def held(self) -> dict[str, int]:
        """What this worker holds, after all has been told. Who asks may be another, or have forgotten all:
        what records say is told again too."""
        self.flush(now=True)
        self.keys_spent.again()
        self.users_spent.again()
        return {
            stock.counter: stock.left + stock.in_use
            for stock in self._stocks.values()
            if stock.kind != "minute" and stock.left + stock.in_use > 0
        }

    # -- by the clock

    async def start(self) -> None:
        """Find who counts."""
        await self._counters.start(self.held)

    async def run(self) -> None:
        """Do what is due by the clock, whatever keeps what records say; runs as long as the worker."""
        await asyncio.gather(self._often(self.tick), self._often(self.refresh))

    async def _often(self, chore: Callable[[], Awaitable[None] | None]) -> NoReturn:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                if (waiting := chore()) is not None:
                    await waiting
            except AirbossError as error:  # the next time it may do; until then calls hear of it
                log.warning("limits cannot be looked after: %s", error)

    def tick(self) -> None:
        """Give back leases that lie idle, and forget counters of limits and periods that are over."""
        self._counters.tick()
        if not self._counters.here:
            return  # what was leased is all that there is
        now = self._clock.monotonic()
        for whose in [whose for whose, (until, *_) in self._shut.items() if until <= now]:
            del self._shut[whose]
        for stock in list(self._stocks.values()):
            if stock.seen_at < now - IDLE_S:
                self.tell(stock.returned())
                if stock.scope.user and stock.seen_at >= now - FORGET_S:
                    continue
                if not stock.in_use and stock.counter not in self._limited:
                    del self._stocks[stock.counter]
                    self._of_users.pop(stock.scope, None)
                    self.users_spent.forget(stock)
                    if stock.what == "usd" and not stock.scope.user:
                        self._wallets.clear()  # some have it, and are made again
        self.flush(now=True)

    async def refresh(self) -> None:
        """Tell the owner what records say has been spent: it may have missed some."""
        await self.keys_spent.refresh(list(self.budgets.values()))
        await self.users_spent.refresh()

    async def close(self) -> None:
        """Give everything back."""
        self.flush(now=True)
        await self._counters.close()

    @property
    def away(self) -> bool:
        """Whether who counts cannot be reached, so that limited calls are refused or wait."""
        return not self._counters.here

    def uses(self) -> list[LimitUse]:
        """How much of each limit is used, as far as is known here."""
        now, found = self._clock.monotonic(), []
        for stocks in self.scopes.values():
            for stock in stocks:
                used = stock.limit - stock.left_at(now) if stock.kind == "minute" else stock.in_use
                scope, age_s = stock.scope, now - stock.seen_at
                found.append(LimitUse(scope.kind, scope.name, stock.what, stock.limit, used, age_s))
        for room in self._rooms.values():
            scope = room.stock.scope
            found.append(LimitUse(scope.kind, scope.name, "waiting", room.queue.size, len(room), 0.0))
        for payer, counter, _ in each_counter(self.budgets.values(), self._clock.now()):
            scope, spent = payer.scope, float(usd_of(self.keys_spent.of(counter)))
            found.append(LimitUse(scope.kind, scope.name, "usd", float(payer.budget.usd), spent, 0.0))
        return found

    def said_no(self) -> dict[str, int]:
        """`refusals`, to be shared."""
        return {f"{scope.kind}\n{scope.name}\n{what}": n for (scope, what), n in self.refusals.items()}
