"""The attempt executor: every call to an upstream, streaming or not, is made here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import msgspec

from airboss.domain.errors import ApiError, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Target, Timeouts
from airboss.domain.record import Attempt
from airboss.domain.request import Operation
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.providers.compatible import RETRYABLE_STATUS, request_head
from airboss.providers.connection import CONNECT_TIMEOUT_S, ConnectFailed, Connection, Origin, Pools

TICK_S = 0.05
BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
RESTART_WAIT_S = 15.0
"""How long a call waits for a local replica that does not accept connections: it is being restarted, and
nothing has been sent."""

AnyAnswer = WholeAnswer | StreamedAnswer


class Dispatched(msgspec.Struct, kw_only=True):
    """One call's attempts, filled while it runs, so that a cancelled call has what was known."""

    started: float
    """`time.perf_counter()` of the call's start."""
    attempts: list[Attempt] = []
    answer: AnyAnswer | None = None
    upstream_s: float = 0.0
    """Time spent waiting for upstreams: the rest of the call is ours."""
    sent_at: float | None = None
    """When the latest attempt was sent."""


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
        self._origins: dict[str, Origin] = {}
        self._watched: dict[AnyAnswer, _Deadlines] = {}

    async def run(
        self,
        dispatched: Dispatched,
        deployment: DeploymentPlan,
        *,
        operation: Operation,
        body: bytes,
        secret: str | None,
        traceparent: str | None,
        new_answer: Callable[[], AnyAnswer],
    ) -> AnyAnswer:
        """Attempt until one answers. Raises the last attempt's ApiError.

        Once an answer is committed (its first byte is the client's) nothing is tried again.
        """
        target = deployment.target
        deadline = dispatched.started + deployment.timeout.total_s
        left = deployment.retry.attempts
        backoff = BACKOFF_S
        while True:
            left -= 1
            answer = dispatched.answer = new_answer()
            url = self._pick(target)
            origin = self._origins.get(url) or self._origin(url)
            head = request_head(
                host=origin.host_header,
                base_path=origin.base_path,
                operation=operation,
                secret=secret,
                traceparent=traceparent,
                length=len(body),
            )
            try:
                await self._attempt(dispatched, answer, deployment, url, origin, head + body, deadline)
            except ApiError as error:
                if answer.committed or not self._may_fare_better(dispatched, target, answer, error, left):
                    raise
                wait = max(backoff * (0.5 + self._rng.random()), error.retry_after_s or 0.0)
                if wait > BACKOFF_S_MAX or time.perf_counter() + wait >= deadline:
                    raise
                await asyncio.sleep(wait)
                dispatched.upstream_s += wait
                backoff = min(backoff * 2, 1.0)
            else:
                return answer

    @staticmethod
    def _may_fare_better(
        dispatched: Dispatched, target: Target, answer: AnyAnswer, error: ApiError, left: int
    ) -> bool:
        # An engine that starts refuses connections, then answers 503 while it loads: it has read nothing.
        if target.kind == "local" and (isinstance(error, ConnectFailed) or answer.status == 503):
            return time.perf_counter() < dispatched.started + RESTART_WAIT_S
        if left <= 0:
            return False
        if answer.status is None or answer.status == 200:
            return error.retryable
        return answer.status in RETRYABLE_STATUS

    async def _attempt(  # noqa: PLR0917 - the one call of it is just above
        self,
        dispatched: Dispatched,
        answer: AnyAnswer,
        deployment: DeploymentPlan,
        url: str,
        origin: Origin,
        data: bytes,
        deadline: float,
    ) -> None:
        target = deployment.target
        began = time.perf_counter()
        self._outstanding[url] += 1
        deadlines = self._watched[answer] = _Deadlines(began, deadline, deployment.timeout)
        dispatched.sent_at = None
        failure: str | None = "cancelled"
        connection: Connection | None = None
        try:
            pool = self._pools.get(target.provider, origin)
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
            dispatched.attempts.append(
                Attempt(
                    provider=target.provider,
                    model=target.upstream_model,
                    url=url,
                    start_ms=in_ms(began - dispatched.started),
                    latency_ms=in_ms(ended - began),
                    ttft_ms=in_ms(answer.first_output_at - began) if answer.first_output_at else None,
                    status_code=answer.status,
                    error_type=failure,
                )
            )

    def _pick(self, target: Target) -> str:
        urls = target.base_urls
        if len(urls) == 1:
            return urls[0]
        return min(urls, key=lambda url: (self._outstanding[url], self._rng.random()))

    def _origin(self, url: str) -> Origin:
        origin = self._origins[url] = Origin.parse(url)
        return origin

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
