"""What a call's attempts have come to, and the deadlines that each is held to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import msgspec

from airboss.domain.errors import ApiError, UpstreamTimeout
from airboss.domain.plan import Target, Timeouts
from airboss.domain.record import AttemptWhy
from airboss.gateway.answer import AnyAnswer, StreamedAnswer, WholeAnswer
from airboss.gateway.deadline import OwnTimeouts, bound, raised
from airboss.providers.outbox import Pieces
from airboss.providers.usage import Usage

if TYPE_CHECKING:
    from airboss.gateway.asked import Route
    from airboss.gateway.breaker import RetryBudget
    from airboss.gateway.places import Place
    from airboss.providers.connection import Connection

RESTART_WAIT_S = 15.0
"""How long a call waits for a local replica that does not accept connections, from the first time that none
did: it is being restarted, and has read nothing."""
LAST_WORDS_S = 2.0
"""How long an answer that has said why it ends may take for its usage and `[DONE]`."""


_NO_ROUTE = cast("Route", None)


class Dispatched(msgspec.Struct):
    """One call's attempts, filled while it runs, so that a cancelled call has what was known. Times are on
    `time.perf_counter()`."""

    started: float
    """When the call did."""
    record_id: str = ""
    route: Route = _NO_ROUTE
    """What is being attempted, with what `budget` and until which `deadline`, from `Executor.run` on."""
    budget: RetryBudget = cast("RetryBudget", None)
    deadline: float = 0.0
    tries: list[Try] = []
    """Those that have ended."""
    begun: Try | None = None
    """The first, where it was begun without a task and has not been ended yet."""
    answer: AnyAnswer | None = None
    answered_by: Target | None = None
    """Whose the latest answer is, where that is not the one that was asked first."""
    upstream_s: float = 0.0
    """Time spent waiting for upstreams: the rest of the call is ours."""
    waiting: int = 0
    """Attempts that wait for an upstream now; two may, side by side."""
    waiting_since: float = 0.0
    """Since when any of them does."""
    waits_since: float | None = None
    """Since when the call waits for a local replica that is being started."""

    resent: bool = False
    """Whether it was sent once more because a kept connection was closed under it: it takes new ones now."""

    last_resort: bool = False
    """Whether nobody is left but those whose breakers are open: they are asked all the same."""

    @property
    def fell_back(self) -> bool:
        """Whether the latest answer is a fallback's."""
        return self.answered_by is not None and self.route.falls_back_to(self.answered_by)

    def left(self, target: Target, why: AttemptWhy) -> int:
        """How often a model may be tried now. What goes on with an answer that broke off has what that left
        of its attempts, once at least."""
        attempts = self.route.deployment.retry.attempts
        if why != "continuation":
            return attempts
        return max(1, attempts - sum(tried.target is target for tried in self.tries))

    def waited_for_start(self) -> bool:
        """Whether the call has waited long enough for a replica; the first time begins the wait."""
        now = time.perf_counter()
        if self.waits_since is None:
            self.waits_since = now
        return now >= self.waits_since + RESTART_WAIT_S

    def waits(self) -> None:
        """An attempt waits for its upstream from now on, until it has `ended`."""
        if not self.waiting:
            self.waiting_since = time.perf_counter()
        self.waiting += 1

    def waited_s(self, now: float) -> float:
        """The time in which any upstream was waited for, up to now."""
        return self.upstream_s + (now - self.waiting_since if self.waiting else 0.0)

    def over(self) -> None:
        """Let go of the answers and the route, which know the call, and of where the failed ones failed: what
        ends is to leave nothing to the collector of cycles."""
        if len(self.tries) > 1:  # of a single one, the failure is the call's own
            for tried in self.tries:
                tried.answer.rival = None
                if tried.answer.failure is not None:
                    tried.answer.failure.__traceback__ = None
        self.tries.clear()
        self.answer, self.route = None, _NO_ROUTE

    def ended(self, tried: Try, error: str | None) -> None:
        """Keep an attempt that ends now, and why it failed."""
        now = tried.ended = time.perf_counter()
        if tried.request:  # else there was nothing to send, so that nobody was waited for
            self.waiting -= 1
            if not self.waiting:
                self.upstream_s += now - self.waiting_since
        tried.error = error
        answer = tried.answer
        if tried.told is None:
            tried.told = told_all(answer)
        if error is not None and isinstance(answer, StreamedAnswer) and answer.seam is not None:
            answer.broke_off()  # and may have said nothing that anybody goes on with
        self.tries.append(tried)


class OutOfTime(UpstreamTimeout):
    """There is no more time for the call, whoever might be asked."""


class Try(msgspec.Struct, eq=False):
    """One attempt: its deadlines, and when it has ended all that its bill is made from. Times are on
    `time.perf_counter()`; `share` is when it must have begun to answer, where others are to have the rest of
    the time. `request` is what was sent, head and body; `sent`: all of it was. `told` is what the upstream
    says that all of its answer used, None where it has not said all.
    """

    answer: AnyAnswer
    target: Target
    place: Place
    why: AttemptWhy
    began: float
    total: float
    timeout: Timeouts
    share: float | None = None
    ended: float = 0.0
    error: str | None = None
    connection: Connection | None = None
    request: bytes | Pieces = b""
    sent: bool = False
    told: Usage | None = None
    safe_until: float = 0.0
    """No deadline passes before, whatever comes."""

    def is_due(self, now: float) -> bool:
        """Whether a deadline has passed."""
        due = self.due()
        if not self.answer.paused:  # else a nearer one may come back at any moment
            # What comes brings no deadlines but those that are counted from then.
            self.safe_until = min(due, now + min(self.timeout.idle_s, LAST_WORDS_S))
        return now >= due

    def due(self) -> float:
        """When the nearest deadline is. Of one that is not read, it is the client that is slow."""
        answer = self.answer
        if answer.paused:
            return self.total
        if isinstance(answer, WholeAnswer) and not answer.flows:
            return self.total if self.share is None else self.share
        if answer.first_output_at is None:
            due = min(self.total, max(self.began, answer.read_on_at) + self.timeout.first_token_s)
            return due if self.share is None else min(due, self.share)
        idle_s = self.timeout.idle_s
        if isinstance(answer, StreamedAnswer) and answer.assembly.over and answer.assembly.settled:
            idle_s = min(idle_s, LAST_WORDS_S)
        return min(self.total, answer.progress_at + idle_s)

    def ran_out(self, now: float) -> ApiError:
        """What ran out."""
        answer = self.answer
        made = OutOfTime if now >= self.total else UpstreamTimeout
        if now >= self.total:
            what, code = f"did not finish within {bound(self.timeout)}", "timeout_total"
        elif self.due() == self.share:
            what, code = f"took its share of {bound(self.timeout)}", "timeout_total"
        elif answer.first_output_at is None:
            limit = self.timeout.first_token_s
            what, code = f"sent no token within first_token_s = {limit}", "timeout_first_token"
        else:
            what, code = f"sent nothing more for idle_s = {self.timeout.idle_s}", "timeout_idle"
        more = raised(self.timeout if code == "timeout_total" else None)
        return made(f"provider {answer.provider!r} {what}; {more}", code=code)

    def hurried(self, now: float) -> bool:
        """Whether its caller had less time than others, and that was over: it says nothing of its place."""
        until = self.total
        if self.share is not None and self.answer.first_output_at is None:
            until = min(until, self.share)
        return isinstance(self.timeout, OwnTimeouts) and now >= until


def told_all(answer: AnyAnswer) -> Usage | None:
    """What the upstream says that all of its answer used; None where it has not said all."""
    usage: Usage | None = answer.error_usage
    if usage is not None:
        return usage if usage.whole else None
    if isinstance(answer, StreamedAnswer):
        usage = answer.told_usage if answer.whole else None
    else:
        usage = answer.reply.usage if answer.reply is not None else None
    if usage is None or not usage.whole or answer.usage_short:
        return None
    return usage
