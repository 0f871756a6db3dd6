"""The attempt executor: every call to an upstream, streaming or not, is made here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec

from airboss.domain.errors import ApiError, Unavailable, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Target, Timeouts
from airboss.domain.record import Attempt
from airboss.domain.request import Operation
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.billing import AnyAnswer, Tried
from airboss.providers import dialect
from airboss.providers.compatible import RETRYABLE_STATUS, request_head
from airboss.providers.connection import CONNECT_TIMEOUT_S, ConnectFailed, Connection, Origin, Pool, Pools
from airboss.providers.dialect import Outgoing

TICK_S = 0.05
BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
RESTART_WAIT_S = 15.0
"""How long a call waits for a local replica that does not accept connections, from the first time that none
did: it is being restarted, and has read nothing."""
REFUSED_S = 1.0
"""So long a replica that refused a connection is asked last: having nothing to do, it would be first."""


class Dispatched(msgspec.Struct, kw_only=True):
    """One call's attempts, filled while it runs, so that a cancelled call has what was known."""

    started: float
    """`time.perf_counter()` of the call's start."""
    tries: list[Tried] = []
    answer: AnyAnswer | None = None
    upstream_s: float = 0.0
    """Time spent waiting for upstreams: the rest of the call is ours."""
    sent_at: float | None = None
    """When the latest attempt was sent."""
    waits_since: float | None = None
    """Since when the call waits for a local replica that is being started."""

    def waited_for_start(self) -> bool:
        """Whether the call has waited long enough for a replica; the first time begins the wait."""
        now = time.perf_counter()
        if self.waits_since is None:
            self.waits_since = now
        return now >= self.waits_since + RESTART_WAIT_S


class Executor:
    """Makes attempts. One a worker; owns the connection pools, counts what is outstanding and keeps every
    attempt's deadlines.

    Deadlines are looked at together, TICK_S apart: a timer for each call would cost more than the call's
    parsing, and no deadline here is finer than that.
    """

    def __init__(self, pools: Pools, *, rng: random.Random) -> None:
        self._pools = pools
        self._rng = rng
        self._outstanding: Counter[str] = Counter()
        self._refused: dict[str, float] = {}
        self._by_url: dict[tuple[str, str], Pool] = {}
        self._watched: dict[AnyAnswer, _Deadlines] = {}

    async def run(
        self,
        dispatched: Dispatched,
        deployment: DeploymentPlan,
        target: Target,
        *,
        operation: Operation,
        body: bytes,
        secret: str | None,
        trace: Mapping[str, str] | None,
        new_answer: Callable[[], AnyAnswer],
        outgoing: Outgoing | None = None,
    ) -> AnyAnswer:
        """Attempt until one answers. Raises the last attempt's ApiError.

        Once an answer is committed (its first byte is the client's) nothing is tried again. `outgoing` is
        what is sent where the target has another dialect than OpenAI's; `body` is then its body.
        """
        if target.down is not None:
            raise Unavailable(target.down, code="replicas_failed")
        deadline = dispatched.started + deployment.timeout.total_s
        left = deployment.retry.attempts
        backoff = BACKOFF_S
        while True:
            answer = dispatched.answer = new_answer()
            url = self._pick(target)
            pool = self._by_url.get((target.provider, url)) or self._pool(target, url)
            answer.outgoing = outgoing
            head = (
                request_head(
                    host=pool.origin.host_header,
                    base_path=pool.origin.base_path,
                    operation=operation,
                    secret=secret,
                    trace=trace,
                    length=len(body),
                )
                if outgoing is None
                else _foreign_head(outgoing, pool.origin, secret, trace)
            )
            try:
                await self._attempt(
                    dispatched, answer, target, deployment.timeout, url, pool, head + body, deadline
                )
            except ApiError as error:
                if answer.committed:
                    raise
                if target.kind == "local" and _is_starting(answer, error):
                    if dispatched.waited_for_start():
                        raise
                else:
                    dispatched.waits_since = None
                    left -= 1
                    if left <= 0 or not _may_fare_better(answer, error):
                        raise
                wait = max(backoff * (0.5 + self._rng.random()), error.retry_after_s or 0.0)
                if wait > BACKOFF_S_MAX or time.perf_counter() + wait >= deadline:
                    raise
                await asyncio.sleep(wait)
                dispatched.upstream_s += wait
                backoff = min(backoff * 2, 1.0)
            else:
                return answer

    async def _attempt(  # noqa: PLR0917 - the one call of it is just above
        self,
        dispatched: Dispatched,
        answer: AnyAnswer,
        target: Target,
        timeouts: Timeouts,
        url: str,
        pool: Pool,
        data: bytes,
        deadline: float,
    ) -> None:
        began = time.perf_counter()
        self._outstanding[url] += 1
        deadlines = self._watched[answer] = _Deadlines(began, deadline, timeouts)
        dispatched.sent_at = None
        failure: str | None = "cancelled"
        connection: Connection | None = None
        try:
            connection = pool.idle()
            if connection is None:
                patience_s = deadlines.due(answer) - began
                connection = await pool.connect(max(0.0, min(CONNECT_TIMEOUT_S, patience_s)))
            if not answer.finished.done():
                answer.upstream = connection
                dispatched.sent_at = time.perf_counter()
                connection.send(data, answer)
            await answer.finished
            failure = None
        except ApiError as error:
            failure = error.code or error.type
            if isinstance(error, ConnectFailed):
                self._refused[url] = time.perf_counter()
            raise
        finally:
            if failure is None and connection is not None:
                connection.detach(answer)
            elif connection is not None:
                connection.cancel(answer, unsent=dispatched.sent_at is None)
            del self._watched[answer]
            self._outstanding[url] -= 1
            ended = time.perf_counter()
            dispatched.upstream_s += ended - (dispatched.sent_at if dispatched.sent_at is not None else began)
            attempt = Attempt(
                provider=target.provider,
                model=target.upstream_model,
                url=url,
                start_ms=in_ms(began - dispatched.started),
                latency_ms=in_ms(ended - began),
                ttft_ms=in_ms(answer.first_output_at - began) if answer.first_output_at else None,
                status_code=answer.status,
                error_type=failure,
            )
            dispatched.tries.append(Tried(attempt, answer, target, data, dispatched.sent_at is not None))

    def _pick(self, target: Target) -> str:
        urls = target.base_urls
        if len(urls) == 1:
            return urls[0]
        late = time.perf_counter() - REFUSED_S
        return min(
            urls,
            key=lambda url: (self._refused.get(url, 0.0) > late, self._outstanding[url], self._rng.random()),
        )

    def outstanding(self) -> dict[str, int]:
        """Attempts under way, by base URL; URLs without any are left out."""
        return {url: n for url, n in self._outstanding.items() if n}

    def _pool(self, target: Target, url: str) -> Pool:
        pool = self._pools.get(target.provider, Origin.parse(url), keep=target.kind != "local")
        self._by_url[target.provider, url] = pool
        return pool

    async def keep_deadlines(self) -> NoReturn:
        """Fail every attempt whose time has run out; runs as long as the worker."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            for answer, deadlines in tuple(self._watched.items()):
                if now >= deadlines.due(answer):
                    answer.fail(deadlines.error(answer, now))

    def close(self) -> None:
        """Close every upstream connection."""
        self._pools.close_all()


def _foreign_head(
    outgoing: Outgoing, origin: Origin, secret: str | None, trace: Mapping[str, str] | None
) -> bytes:
    return dialect.request_head(
        outgoing,
        host=origin.host_header,
        base_path=origin.base_path,
        secret=secret,
        trace=trace,
        at=time.time(),
    )


def _is_starting(answer: AnyAnswer, error: ApiError) -> bool:
    """Whether a local engine is only starting: it refuses connections, then answers 503 while it loads, and
    has read nothing of the call."""
    return isinstance(error, ConnectFailed) or answer.status == 503


def _may_fare_better(answer: AnyAnswer, error: ApiError) -> bool:
    """Whether the same request may be answered when it is sent again."""
    if answer.status is None or answer.status == 200:
        return error.retryable
    return answer.status in RETRYABLE_STATUS


class _Deadlines(msgspec.Struct):
    """An attempt's deadlines, on `time.perf_counter()`."""

    began: float
    total: float
    timeout: Timeouts

    def due(self, answer: AnyAnswer) -> float:
        """When the nearest deadline is."""
        if isinstance(answer, WholeAnswer):
            return self.total
        if answer.first_output_at is None:
            return min(self.total, self.began + self.timeout.first_token_s)
        return min(self.total, answer.progress_at + self.timeout.idle_s)

    def error(self, answer: AnyAnswer, now: float) -> UpstreamTimeout:
        """What ran out."""
        if now >= self.total:
            what, code = f"did not finish within total_s = {self.timeout.total_s}", "timeout_total"
        elif answer.first_output_at is None:
            limit = self.timeout.first_token_s
            what, code = f"sent no token within first_token_s = {limit}", "timeout_first_token"
        else:
            what, code = f"sent nothing more for idle_s = {self.timeout.idle_s}", "timeout_idle"
        return UpstreamTimeout(
            f"provider {answer.provider!r} {what}; raise it under timeout of the deployment", code=code
        )


def in_ms(seconds: float) -> float:
    """Milliseconds, to the microsecond."""
    # Cut to microseconds; `round` costs three times as much, and every call has several.
    return int(seconds * 1_000_000) / 1000
