"""One attempt: begun, sent, held to its deadlines, and over.

`attempt` is a coroutine, for it may have to wait for a connection. Where one is kept, `begin` sends at once,
and `end` or `over` ends what it began.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import NoReturn

from airboss.domain.errors import ApiError
from airboss.domain.plan import Target, Timeouts
from airboss.domain.record import AttemptWhy
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.gateway.asked import Asked, Cleaned
from airboss.gateway.attempts import Dispatched, Try
from airboss.gateway.engine_stream import ran_out
from airboss.gateway.judge import HEDGE_LOST, HedgeLost, is_targets_fault, limit_reached
from airboss.gateway.outgoing import request_of
from airboss.gateway.places import REFUSED_S, Place
from airboss.gateway.recording import unrecorded
from airboss.providers.connection import ConnectFailed, Connection, ConnectTimedOut
from airboss.providers.outbox import Pieces
from airboss.providers.patience import Awake
from airboss.providers.pools import CONNECT_ELSEWHERE_S, CONNECT_TIMEOUT_S

TICK_S = 0.05


class Trying:
    """One worker's. Keeps every attempt's deadlines: they are looked at together, TICK_S apart, as a timer
    for each call would cost more than the call's parsing, and no deadline here is finer than that."""

    def __init__(self, unrecorded: Collection[str], awake: Awake) -> None:
        self._awake = awake
        self.unrecorded = unrecorded
        """Calls that may not be sent: their open frame could not be written (`Recording.unrecorded`)."""
        self._watched, self._watching = set[Try](), asyncio.Event()
        self._idle = True
        self._looking = set[asyncio.Task[None]]()

    def begin(  # noqa: PLR0917 - what the executor knows of it
        self,
        call: Dispatched,
        target: Target,
        timeout: Timeouts,
        answer: AnyAnswer,
        place: Place,
        kept: Connection,
        request: bytes | Pieces,
        *,
        last: bool,
    ) -> None:
        """Send a call's first attempt on a connection that was kept."""
        tried = self._watch(call, target, timeout, answer, place, last=last, why="first")
        tried.request, tried.connection, tried.sent = request, kept, True
        call.waiting, call.waiting_since = 1, tried.began
        answer.upstream, call.begun = kept, tried  # it may fail as it is sent
        kept.send(request, answer)

    async def end(self, call: Dispatched, begun: Try) -> AnyAnswer:
        """End what was begun, whose answer has ended or was left. Raises ApiError, CancelledError."""
        call.begun = None
        answer = begun.answer
        failure = "cancelled" if answer.left else None
        if answer.error is not None:
            hurried = begun.hurried(time.perf_counter())
            failure = note_failure(begun.place, answer, answer.error, call.route.cleaned, hurried=hurried)
        self.over(call, begun, failure)
        if failure is not None:
            await asyncio.sleep(0)  # as in `attempt`
            raise answer.error or asyncio.CancelledError
        return answer

    async def attempt(
        self,
        call: Dispatched,
        asked: Asked,
        answer: AnyAnswer,
        place: Place,
        *,
        last: bool,
        alone: bool,
        why: AttemptWhy,
    ) -> None:
        """Make an attempt. Raises ApiError. `last`: there is no other model to ask after this; `alone`: nor
        another place of it."""
        route = call.route
        timeout = route.deployment.timeout
        tried = self._watch(call, asked.target, timeout, answer, place, last=last, why=why)
        failure: str | None = "cancelled"
        try:
            tried.request = request_of(
                asked.target, place, route.secret, route.operation, asked.body, asked.outgoing, route.trace
            )
            call.waits()
            answer.outgoing = asked.outgoing
            connection = None if call.resent else place.pool.idle()
            if connection is None:
                longest_s = CONNECT_TIMEOUT_S if alone else CONNECT_ELSEWHERE_S
                patience_s = tried.due() - tried.began
                connection = await place.pool.connect(max(0.0, min(longest_s, patience_s)))
                place.unreachable = False
            tried.connection = connection
            if call.record_id in self.unrecorded:
                raise unrecorded()
            if not answer.finished:
                answer.upstream = connection
                tried.sent = True
                connection.send(tried.request, answer)
                if answer.paused:
                    connection.pause(answer)
            await answer.end()
            failure = None
        except ApiError as error:
            hurried = tried.hurried(time.perf_counter())
            failure = note_failure(place, answer, error, route.cleaned, hurried=hurried)
            if isinstance(error, ConnectTimedOut) and not hurried and not place.unreachable:
                self._look_for(place)
            raise
        finally:
            self.over(call, tried, failure)
            if tried.connection is not None and failure is not None:
                # The loop closes it in its next turn. Until then the call has its place under the limits:
                # another worker, given that, would ask the upstream beside this.
                await asyncio.sleep(0)

    def _watch(
        self,
        call: Dispatched,
        target: Target,
        timeout: Timeouts,
        answer: AnyAnswer,
        place: Place,
        *,
        last: bool,
        why: AttemptWhy,
    ) -> Try:
        began = time.perf_counter()
        place.outstanding += 1
        if place.breaker.tripped:
            place.probe = answer
        share = None if last else began + (call.deadline - began) / 2
        tried = Try(answer, target, place, why, began, call.deadline, timeout, share)
        self._watched.add(tried)
        if self._idle:
            self._idle = False
            self._watching.set()
        return tried

    def over(self, call: Dispatched, tried: Try, failure: str | None) -> None:
        """An attempt has ended: well, or with this failure."""
        answer, place, connection = tried.answer, tried.place, tried.connection
        if failure is None:
            if connection is not None:
                connection.detach(answer)
        else:
            answer.leave()
            if connection is not None:
                connection.cancel(answer, unsent=not tried.sent)
        self._watched.discard(tried)
        place.outstanding -= 1
        call.ended(tried, failure)
        place.ended(
            answer.first_output_at,
            tried.began,
            stream=isinstance(answer, StreamedAnswer),
            well=failure is None,
            left=failure == "cancelled",
        )

    async def keep_deadlines(self) -> NoReturn:
        """Fail every attempt whose time has run out; runs as long as the worker."""
        while True:
            if not self._watched:
                self._idle = True
                self._watching.clear()
            await self._watching.wait()  # an idle worker does not wake twenty times a second
            await asyncio.sleep(TICK_S)
            self._awake.seconds += TICK_S
            await asyncio.sleep(0)  # what came while the loop was held up is read first
            now = time.perf_counter()
            for tried in tuple(self._watched):
                if now >= tried.safe_until and tried.is_due(now):
                    ran_out(tried.answer, tried.ran_out(now))

    def _look_for(self, place: Place) -> None:
        """Keep calls from a place that let a connection wait, until it takes one."""
        place.unreachable = True
        place.breaker.open(time.perf_counter())
        looking = asyncio.ensure_future(self._find(place))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    @staticmethod
    async def _find(place: Place) -> None:
        """Ask a place for a connection, as often as its breaker lets calls through."""
        while place.unreachable:
            await asyncio.sleep(max(REFUSED_S, place.breaker.retry_at - time.perf_counter()))
            if not place.unreachable:
                return  # a call that had nobody else was quicker, or no plan has it any more
            try:
                connection = await place.pool.connect(CONNECT_TIMEOUT_S)
            except ApiError as error:
                place.failed_with(error.code or error.type)
                place.failed(is_targets_fault(error, None), None, time.perf_counter())
                if isinstance(error, ConnectFailed) and not isinstance(error, ConnectTimedOut):
                    place.unreachable = False  # whoever asks is refused at once
            else:
                place.pool.give_back(connection)
                place.unreachable = False

    def close(self) -> None:
        """Look for nobody any more."""
        for looking in self._looking:
            looking.cancel()

    def fail_all(self, error: ApiError) -> None:
        """Fail every attempt under way."""
        for tried in tuple(self._watched):
            tried.answer.fail(error)


def note_failure(
    place: Place, answer: AnyAnswer, error: ApiError, cleaned: Cleaned, *, hurried: bool = False
) -> str:
    """Take note of why an attempt at a place has failed; returns the failure's name, `cleaned`: an upstream
    may say in it again what it was sent. `hurried`: its caller had less time than others, which says nothing
    of the place."""
    now, answer.failure = time.perf_counter(), error
    if isinstance(error, HedgeLost):
        return HEDGE_LOST
    name = cleaned(error.code or error.type)
    place.failed_with(name, answer.status)
    silent = answer.paused or hurried
    fault = None if silent else is_targets_fault(error, answer.status)
    place.failed(fault, limit_reached(error), now)
    if isinstance(error, ConnectFailed) and not hurried:
        place.avoid_until = max(place.avoid_until, now + REFUSED_S)
    return name
