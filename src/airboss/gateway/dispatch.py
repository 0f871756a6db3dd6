"""The attempt executor: every call to an upstream, streaming or not, is made here.

`run` asks a release's model and then its fallbacks; `_ask` tries one model, again and at its other places;
`gateway.trying` sends one request and waits for its answer. `begin` makes the first attempt without a task.
Until an answer is committed (its first output is the client's) nothing of a failure shows; after that another
attempt may go on with it (`gateway.continuation`).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from airboss.domain.errors import ApiError, Unavailable, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.record import AttemptWhy
from airboss.gateway.answer import AnyAnswer, StreamedAnswer, WholeAnswer
from airboss.gateway.asked import Asked, Asking, Route, Secret
from airboss.gateway.attempts import Dispatched, OutOfTime
from airboss.gateway.breaker import RetryBudget
from airboss.gateway.deadline import OwnTimeouts, check_left, left_s
from airboss.gateway.hedge import Hedges, race
from airboss.gateway.judge import (
    RESENT,
    THE_MODELS_OWN,
    HedgeLost,
    is_filtered,
    is_no_route,
    is_starting,
    judge,
)
from airboss.gateway.outgoing import request_of
from airboss.gateway.places import Place, Places, choose
from airboss.gateway.prefill import ONCE, TIMES, Prefills, said_in
from airboss.gateway.seam import NOT_CONTINUED
from airboss.gateway.trying import Trying
from airboss.providers.compatible import PATHS
from airboss.providers.connection import ConnectionStale, ConnectTimedOut
from airboss.providers.pools import Pools

if TYPE_CHECKING:
    from airboss.gateway.worker import Admitted

BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
"""The longest wait for another try, and the longest `retry-after` that is worth one."""
BACKOFF_S_MAX_ELSEWHERE = 2.5
"""The same where another model can be asked at once."""
AVOID_S_MAX = 60.0
"""A place that said when to come back is asked last for so long at most."""
SILENT = "timeout_total"
"""What a place has failed with that says nothing for half of a call's time, and another answers then."""
CONTINUATIONS_MAX = 8
BREAKER_OPEN = "breaker_open"
LACKS_S = 600.0
"""So long a place that had not got a route is not asked for it again."""


class Executor:
    """Makes attempts. One a worker; owns the connection pools and the places."""

    def __init__(self, pools: Pools, *, rng: random.Random, unrecorded: Collection[str] = ()) -> None:
        self.places = Places(pools)
        self.trying = Trying(unrecorded, pools.awake)
        self._rng = rng
        self._budgets: dict[tuple[str, bool], RetryBudget] = {}
        self._hedges: dict[tuple[str, bool], Hedges] = {}
        self._prefills = (Prefills(), Prefills())  # as places: of candidates there are others
        self.leaving = False  # no replica is started again for those that are left

    def begin(
        self,
        call: Dispatched,
        admitted: Admitted,
        answer: AnyAnswer,
        secret: Secret,
        heard: Callable[[], None],
    ) -> bool:
        """Begin the first attempt, if nothing has to be waited for and nothing chosen: whether it has been.
        `heard` is told when `answer` has ended. Then call `trying.over` where it was given, or `run`."""
        branch, deployment = admitted.branch, admitted.deployment
        target, trial = branch.target, branch.trial
        places = self.places.of(target, trial=trial)
        place = places[0]
        if len(places) > 1 or place.breaker.tripped or self.trying.unrecorded:
            return False
        if admitted.too_large is not None or deployment.hedge is not None or target.down is not None:
            return False
        request, sent = admitted.request, admitted.upstream_body
        try:
            message = request_of(
                target, place, secret, request.operation, sent, admitted.outgoing, admitted.trace
            )
        except ApiError:
            return False  # its key is missing
        connection = place.pool.idle()
        if connection is None:
            return False
        self._enter(call, deployment, trial=trial)
        call.answer, answer.heard, answer.outgoing = answer, heard, admitted.outgoing
        last, timeout = not target.fallbacks, deployment.timeout
        self.trying.begin(call, target, timeout, answer, place, connection, message, last=last)
        return True

    def free(self, target: Target, *, trial: bool) -> bool:
        """Whether nothing speaks against asking a model now."""
        now = time.perf_counter()
        return any(place.free(now) for place in self.places.of(target, trial=trial))

    def _enter(self, call: Dispatched, deployment: DeploymentPlan, *, trial: bool) -> None:
        budget = self._budgets.get((deployment.name, trial))
        if budget is None:
            budget = self._budgets[deployment.name, trial] = RetryBudget()
        now = time.perf_counter()
        budget.call(now)
        call.budget, call.deadline = budget, now + left_s(deployment.timeout)

    def run(self, call: Dispatched, route: Route) -> Awaitable[AnyAnswer]:
        """Attempt until one answers; what was begun has been the first. Raises ApiError: of several models
        the first one's, unless another's is the caller's to hear."""
        call.route = route
        if call.begun is None:
            check_left(route.deployment.timeout)
            self._enter(call, route.deployment, trial=route.trial)
        # Handed on and not awaited: each coroutine more is one to make, and one to go through at each turn.
        if route.others:
            return self._ask_or_fall_back(call, route.others)
        if route.stream or route.asked.outgoing is not None:
            return self._ask_to_the_end(call, route.asked, (), why="first")
        return self._ask(call, route.asked, last=True, why="first")

    async def _ask_or_fall_back(self, call: Dispatched, others: Sequence[Target]) -> AnyAnswer:
        """Ask the release's model, and others where it fails. Raises ApiError."""
        route = call.route
        try:
            if route.too_large is not None:
                raise route.too_large
            return await self._ask_to_the_end(call, route.asked, others, why="first")
        except ApiError as error:
            answer = call.answer
            status = answer.status if answer is not None else None
            if answer is not None and answer.committed:
                raise
            if judge(error, status) == "caller" and not self._filtered_here(route, error):
                raise
            return await self._fall_back(call, others, error)

    @staticmethod
    def _filtered_here(route: Route, error: ApiError) -> bool:
        """Whether a provider's filter refused, and the release has others asked then."""
        return is_filtered(error) and route.asking is not None and route.asking.asks_others(error)

    async def aside(self, call: Dispatched, route: Route, *, deadline: float) -> AnyAnswer:
        """Ask once for what the call can do without. Raises ApiError, at once where the breaker is open."""
        call.route, call.budget, call.deadline = route, RetryBudget(), deadline
        return await self._ask(call, route.asked, last=False, why="cache")

    async def _fall_back(self, call: Dispatched, others: Sequence[Target], first: ApiError) -> AnyAnswer:
        """Ask the other models in their order, then those that were left alone. Raises `first` where none
        answers, OutOfTime where one was waited for to the end of the call's time, or what one refused that
        another would refuse too."""
        route, own = call.route, call.route.asked.target
        assert route.asking is not None  # who has fallbacks can ask them
        turns = [*others, own] if first.code == BREAKER_OPEN else [*others]
        for number, other in enumerate(turns, 1):
            if time.perf_counter() >= call.deadline:
                break
            call.last_resort = number > len(others)
            call.answered_by = None if other is own else other
            try:
                asked = route.asked if other is own else route.asking.fallback(other)
                why: AttemptWhy = "fallback" if call.fell_back else "retry"
                after = turns[number:] if call.last_resort else others[number:]
                return await self._ask_to_the_end(call, asked, after, why=why)
            except ApiError as error:
                answer = call.answer
                if answer is not None and answer.committed:
                    raise
                if isinstance(error, OutOfTime) and first.code != error.code:
                    call.answered_by = None
                    raise
                if error.code == BREAKER_OPEN and not call.last_resort:
                    turns.append(other)
                elif other is own:
                    first = error
                if is_filtered(error) and (number == len(turns) or not self._filtered_here(route, error)):
                    raise
        call.answered_by = None
        raise first

    async def _ask_to_the_end(
        self, call: Dispatched, asked: Asked, others: Sequence[Target], *, why: AttemptWhy
    ) -> AnyAnswer:
        """Ask one model; a stream of its that breaks off is gone on with, by it or by others."""
        try:
            if asked.outgoing is not None and asked.outgoing.or_chat:
                return await self._ask_or_chat(call, asked, last=not others, why=why)
            return await self._ask(call, asked, last=not others, why=why)
        except ApiError as error:
            answer = call.answer
            if call.route.asking is None or not isinstance(answer, StreamedAnswer) or not answer.committed:
                raise
            return await self._go_on(call, answer, error, [asked.target, *others])

    async def _ask_or_chat(self, call: Dispatched, asked: Asked, *, last: bool, why: AttemptWhy) -> AnyAnswer:
        """Try one model at a route that not every provider has. Where it is missing, chat is asked instead,
        for LACKS_S without trying again. Raises ApiError, also for what cannot be said as chat."""
        asking = call.route.asking
        assert asking is not None  # whose own words go on
        places, now = self.places.of(asked.target, trial=call.route.trial), time.perf_counter()
        if all(place.lacks_until <= now for place in places):
            try:
                return await self._ask(call, asked, last=last, why=why)
            except ApiError:
                answer = call.answer
                if answer is None or answer.translation is None or answer.begun:
                    raise
                if not is_no_route(answer.status, answer.translation.so_far):
                    raise
            why = "retry"
            for place in places:
                place.lacks_until = now + LACKS_S
        return await self._ask(call, asking.instead(asked), last=last, why=why)

    async def _go_on(
        self, call: Dispatched, cut: StreamedAnswer, broke: ApiError, targets: Sequence[Target]
    ) -> AnyAnswer:
        """Have an answer that broke off gone on with, by the first of `targets`, whose it is, or another.
        Raises `broke` where nobody can."""
        source = targets[0]
        order = [(target, number == len(targets)) for number, target in enumerate(targets, 1)]
        for _ in range(CONTINUATIONS_MAX):
            if judge(broke, cut.status) == "caller" or time.perf_counter() >= call.deadline:
                break
            began, turns = cut, [*order]
            for target, last in turns:
                try:
                    answer = await self._continue(call, cut, source, target, last=last)
                except ApiError as error:
                    latest = call.answer
                    if isinstance(latest, StreamedAnswer) and latest is not cut and latest.begun:
                        cut, source, broke = latest, target, error
                        break
                    call.answer = cut
                    if error.code == BREAKER_OPEN and not last:
                        turns.append((target, True))  # the last resort, behind all others
                else:
                    if answer is not None:
                        return answer
            if cut is began:
                break
        raise broke

    async def _continue(
        self, call: Dispatched, cut: StreamedAnswer, source: Target, target: Target, *, last: bool
    ) -> AnyAnswer | None:
        """Have one model go on; None if it cannot. Raises ApiError."""
        asking = call.route.asking
        asked = asking.goes_on(cut, source, target) if asking is not None else None
        if asking is None or asked is None or not await self._trusted(call, asking, target):
            return None
        before = call.answered_by
        if target is not call.route.asked.target:
            call.answered_by = target
        try:
            return await self._ask(call, asked, last=last, why="continuation")
        except ApiError as error:
            latest = call.answer
            if latest is cut:  # it was not asked after all: its breaker is open, say
                call.answered_by = before
            elif latest is not None and not latest.begun:
                call.answered_by = before
                if judge(error, latest.status) == "caller" or error.code == NOT_CONTINUED:
                    self._prefills[call.route.trial].did_not(target)
            raise

    async def _trusted(self, call: Dispatched, asking: Asking, target: Target) -> bool:
        """Whether a model may go on. Of an engine of ours, and of a raw prompt, it is known that it does."""
        route = call.route
        if target.continuation != "auto" or target.kind == "local" or route.operation != "chat":
            return True

        async def ask() -> str:
            asked = asking.probe(target)
            once = msgspec.structs.replace(route.deployment, timeout=TIMES, retry=ONCE, hedge=None)
            probing = Route(
                deployment=once,
                operation="chat",
                stream=False,
                trace=None,
                secret=route.secret,
                cleaned=route.cleaned,
                asked=asked,
                trial=route.trial,
            )
            answer = await self.run(Dispatched(started=time.perf_counter()), probing)
            assert isinstance(answer, WholeAnswer)  # of what is not streamed
            return said_in(answer.reply)

        began = time.perf_counter()
        goes_on = await self._prefills[route.trial].goes_on(target, ask, within_s=call.deadline - began)
        call.upstream_s += time.perf_counter() - began
        return goes_on

    async def _ask(self, call: Dispatched, asked: Asked, *, last: bool, why: AttemptWhy) -> AnyAnswer:
        """Try one model. Raises the last attempt's ApiError. `last`: there is no other to ask after it."""
        target, route = asked.target, call.route
        if target.down is not None:
            raise Unavailable(target.down, code="replicas_failed")
        left = call.left(target, why)
        backoff = BACKOFF_S
        places = self.places.of(target, trial=route.trial)
        beginning = None
        if len(places) > 1 and target.affinity and route.asking is not None:
            beginning = route.asking.beginning()
        failed: list[Place] = []
        while True:
            begun = call.begun
            place = (
                begun.place if begun is not None else self._place(call, places, beginning, failed, last=last)
            )
            try:
                if begun is not None:
                    return await self.trying.end(call, begun)
                answer = call.answer = asked.new_answer(target)
                fresh = [each for each in places if each is not place and each not in failed]
                halves = last and left > 1 and bool(fresh) and self._may_be_silent(answer, route)
                if why != "continuation" and (halves or route.deployment.hedge is not None):
                    return await self._hedged(
                        call, asked, answer, place, fresh, last=last, halves=halves, why=why
                    )
                alone = last and not fresh
                await self.trying.attempt(call, asked, answer, place, last=last, alone=alone, why=why)
                return answer  # noqa: TRY300 - as the line above the last
            except ApiError as failure:
                error = failure
                failed.append(place)
                left, wait = self._again(call, asked, places, failed, error, left, last=last)
            why = "retry" if why != "continuation" else why
            if len(failed) >= len(places):
                wait = max(wait, backoff * (0.5 + self._rng.random()))
                backoff = min(backoff * 2, 1.0)
                failed.clear()
            if time.perf_counter() + wait >= call.deadline:
                raise error
            if wait:
                await asyncio.sleep(wait)
                call.upstream_s += wait

    def _again(  # noqa: PLR0917 - the one call of it is just above
        self,
        call: Dispatched,
        asked: Asked,
        places: Sequence[Place],
        failed: list[Place],
        error: ApiError,
        left: int,
        *,
        last: bool,
    ) -> tuple[int, float]:
        """How many attempts are left after one that failed, and how long to wait. Raises the error where the
        model is not asked again."""
        answer = call.answer
        assert answer is not None  # an attempt has just been made
        if answer.begun:
            raise error
        if asked.target.kind == "local" and last and is_starting(error, answer.status):
            if self.leaving or call.waited_for_start():
                raise error
            return left, 0.0
        call.waits_since = None
        if isinstance(error, ConnectionStale) and not call.resent and call.route.operation in RESENT:
            call.resent = True
            failed.pop()  # for it is there
            return left, 0.0
        left -= 1
        kind = judge(error, answer.status)
        fresh = any(each not in failed for each in places)
        another_key = kind == "elsewhere" and fresh and error.code not in THE_MODELS_OWN
        now, wait = time.perf_counter(), error.retry_after_s or 0.0
        if wait and kind != "caller":  # also where this call is not tried again: others are to come
            failed[-1].avoid_until = now + min(wait, AVOID_S_MAX)
        if left <= 0 or not (kind == "again" or another_key):
            raise error
        limited = not fresh and all(each.lets_nobody_in for each in places)
        silent = isinstance(error, UpstreamTimeout) or (isinstance(error, ConnectTimedOut) and not fresh)
        if not last and (limited or silent):
            raise error  # who was silent, or let nobody in, for as long as that may go on so
        if wait > (BACKOFF_S_MAX if last else BACKOFF_S_MAX_ELSEWHERE) and not fresh:
            raise error
        if not call.budget.take(now):
            raise error
        return left, 0.0 if fresh else wait

    def _place(
        self,
        call: Dispatched,
        places: Sequence[Place],
        beginning: bytes | None,
        failed: Sequence[Place],
        *,
        last: bool,
    ) -> Place:
        """Where the next attempt goes. Raises Unavailable."""
        place = self._pick(places, beginning, failed) if len(places) > 1 else places[0]
        if place.breaker.tripped:
            self._pass_breaker(place, last=last or call.last_resort)
        return place

    @staticmethod
    def _pass_breaker(place: Place, *, last: bool) -> None:
        """Probe a place whose breaker is not closed, if that may be. Raises Unavailable where another model
        can be asked; one that is the last resort is tried whatever its breaker says."""
        now = time.perf_counter()
        if place.lets_through(now):
            place.breaker.probe(now)
        elif not last:
            raise Unavailable(
                f"provider {place.provider!r} has failed again and again; it is tried anew in a moment",
                code=BREAKER_OPEN,
                retry_after_s=max(0.0, place.breaker.retry_at - now),
            )

    @staticmethod
    def _may_be_silent(answer: AnyAnswer, route: Route) -> bool:
        """Whether nothing but the call's time bounds the wait for an answer, which may be asked for twice."""
        return isinstance(answer, WholeAnswer) and not answer.flows and route.operation in PATHS

    async def _hedged(
        self,
        call: Dispatched,
        asked: Asked,
        first: AnyAnswer,
        place: Place,
        fresh: Sequence[Place],
        *,
        last: bool,
        halves: bool,
        why: AttemptWhy,
    ) -> AnyAnswer:
        """An attempt, and another one beside it if it is slow to begin: at one of `fresh`, if there are any.
        With `halves` also where half of the call's time is over: nothing else ends the wait for who is
        silent, and one that is only slow may still be the one that answers. Raises ApiError."""
        route = call.route
        hedge = route.deployment.hedge
        hedges = self._hedges.setdefault((route.deployment.name, route.trial), Hedges())
        hedges.calls += 1
        half_s, silent = (call.deadline - time.perf_counter()) / 2 if halves else math.inf, False

        def attempt(answer: AnyAnswer, at: Place, reason: AttemptWhy) -> asyncio.Task[None]:
            alone = last and not fresh
            trying = self.trying.attempt(call, asked, answer, at, last=last, alone=alone, why=reason)
            return asyncio.ensure_future(trying)

        def beside(after_s: float) -> tuple[AnyAnswer, asyncio.Task[None]] | None:
            nonlocal silent
            if after_s == half_s:
                silent = call.budget.take(time.perf_counter())
                if not silent:
                    return None
            elif hedge is None or not hedges.may(hedge.extra):
                return None
            answer = asked.new_answer(asked.target)
            answer.rival, first.rival = first, answer
            return answer, attempt(answer, self._pick(fresh or [place], None, ()), "hedge")

        usual_s = None if hedge is None else place.usual_s(hedge.quantile, stream=route.stream)
        after_s = sorted(each for each in (usual_s, half_s) if each is not None and each < math.inf)
        answer = await race(first, attempt(first, place, why), after_s, beside, chosen=call)
        own_time = isinstance(route.deployment.timeout, OwnTimeouts)
        if answer is not first and silent and not own_time and isinstance(first.failure, HedgeLost | None):
            # Not before: one that is only slow, and answers in its time, has not failed.
            place.failed_with(SILENT)
            place.failed(True, None, time.perf_counter())
        return answer

    def _pick(self, places: Sequence[Place], beginning: bytes | None, failed: Sequence[Place]) -> Place:
        return choose(places, time.perf_counter(), self._rng, beginning=beginning, but=failed)

    def close(self) -> None:
        """Close every upstream connection."""
        self.trying.close()
        self.places.close()
