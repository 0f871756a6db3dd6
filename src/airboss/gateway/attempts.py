"""What a call's attempts have come to, and the deadlines that each is held to."""

from __future__ import annotations

import time

import msgspec

from airboss.domain.errors import ApiError, UpstreamTimeout
from airboss.domain.plan import Target, Timeouts
from airboss.domain.record import AttemptWhy
from airboss.gateway.answer import AnyAnswer, WholeAnswer
from airboss.gateway.billing import Tried, told_all
from airboss.providers.outbox import Pieces

RESTART_WAIT_S = 15.0
"""How long a call waits for a local replica that does not accept connections, from the first time that none
did: it is being restarted, and has read nothing."""
LAST_WORDS_S = 2.0
"""How long an answer that has said why it ends may take for its usage and `[DONE]`."""


class Dispatched(msgspec.Struct, kw_only=True):
    """One call's attempts, filled while it runs, so that a cancelled call has what was known."""

    started: float
    """`time.perf_counter()` of the call's start."""
    record_id: str = ""
    tries: list[Tried] = []
    answer: AnyAnswer | None = None
    answered_by: Target | None = None
    """Whose the latest answer is, where that is a fallback."""
    upstream_s: float = 0.0
    """Time spent waiting for upstreams: the rest of the call is ours."""
    waiting: int = 0
    """Attempts that wait for an upstream now; two may, side by side."""
    waiting_since: float = 0.0
    """Since when any of them does."""
    waits_since: float | None = None
    """Since when the call waits for a local replica that is being started."""

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
        """Let go of the answers, which know the call, and of where the failed ones failed: what ends is to
        leave nothing to the collector of cycles."""
        if len(self.tries) > 1:  # of a single one, the failure is the call's own
            for tried in self.tries:
                tried.answer.rival = None
                if tried.answer.failure is not None:
                    tried.answer.failure.__traceback__ = None
        self.tries.clear()
        self.answer = None

    def ended(  # noqa: PLR0917 - the one call of it is in the executor
        self,
        answer: AnyAnswer,
        target: Target,
        url: str,
        why: AttemptWhy,
        began: float,
        error: str | None,
        *,
        request: bytes | Pieces,
        sent: bool,
    ) -> None:
        """Keep an attempt that ends now; `request` is what was sent, if it was `sent`: empty where there was
        nothing to send, so that nobody was waited for."""
        now = time.perf_counter()
        if request:
            self.waiting -= 1
            if not self.waiting:
                self.upstream_s += now - self.waiting_since
        told = told_all(answer)
        self.tries.append(
            Tried(answer, target, url, why, self.started, began, now, error, request, sent, told)
        )


class OutOfTime(UpstreamTimeout):
    """There is no more time for the call, whoever might be asked."""


class Deadlines(msgspec.Struct):
    """An attempt's deadlines, on `time.perf_counter()`. `share` is when it must have begun to answer, where
    others are to have the rest of the time."""

    began: float
    total: float
    timeout: Timeouts
    share: float | None = None

    def due(self, answer: AnyAnswer) -> float:
        """When the nearest deadline is. Of one that is not read, it is the client that is slow."""
        if answer.paused:
            return self.total
        if isinstance(answer, WholeAnswer):
            return self.total if self.share is None else self.share
        if answer.first_output_at is None:
            due = min(self.total, max(self.began, answer.read_on_at) + self.timeout.first_token_s)
            return due if self.share is None else min(due, self.share)
        idle_s = self.timeout.idle_s
        if answer.assembly.over and answer.assembly.complete:
            idle_s = min(idle_s, LAST_WORDS_S)
        return min(self.total, answer.progress_at + idle_s)

    def error(self, answer: AnyAnswer, now: float) -> ApiError:
        """What ran out."""
        made = OutOfTime if now >= self.total else UpstreamTimeout
        if now >= self.total:
            what, code = f"did not finish within total_s = {self.timeout.total_s}", "timeout_total"
        elif isinstance(answer, WholeAnswer):
            what, code = f"took its share of total_s = {self.timeout.total_s}", "timeout_total"
        elif answer.first_output_at is None:
            limit = self.timeout.first_token_s
            what, code = f"sent no token within first_token_s = {limit}", "timeout_first_token"
        else:
            what, code = f"sent nothing more for idle_s = {self.timeout.idle_s}", "timeout_idle"
        return made(
            f"provider {answer.provider!r} {what}; raise it under timeout of the deployment", code=code
        )
