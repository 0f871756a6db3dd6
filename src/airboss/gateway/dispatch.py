"""The attempt executor: every call to an upstream, streaming or not, is made here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from airboss.domain.errors import ApiError, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.record import Attempt
from airboss.domain.request import Operation
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.providers.compatible import RETRYABLE_STATUS, request_head
from airboss.providers.connection import CONNECT_TIMEOUT_S, ConnectFailed, Connection, Origin, Pools

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
    """Makes attempts. One a worker; owns the connection pools and counts what is outstanding."""

    def __init__(self, pools: Pools, *, rng: random.Random) -> None:
        self._pools = pools
        self._rng = rng
        self._outstanding: Counter[str] = Counter()
        self._origins: dict[str, Origin] = {}

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
        deadline = dispatched.started + deployment.timeout.total_s
        restart_deadline = min(deadline, dispatched.started + RESTART_WAIT_S)
        left = deployment.retry.attempts
        backoff = BACKOFF_S
        while True:
            left -= 1
            answer = dispatched.answer = new_answer()
            try:
                await self._attempt(
                    dispatched,
                    answer,
                    deployment,
                    deadline=deadline,
                    head=lambda origin: request_head(
                        host=origin.host_header,
                        base_path=origin.base_path,
                        operation=operation,
                        secret=secret,
                        traceparent=traceparent,
                        length=len(body),
                    ),
                    body=body,
                )
            except ApiError as error:
                restarting = (
                    isinstance(error, ConnectFailed)
                    and deployment.target.kind == "local"
                    and time.perf_counter() < restart_deadline
                )
                if answer.committed or not (
                    restarting or (left > 0 and self._may_fare_better(answer, error))
                ):
                    raise
                wait = max(backoff * (0.5 + self._rng.random()), error.retry_after_s or 0.0)
                if wait > BACKOFF_S_MAX or time.perf_counter() + wait >= deadline:
                    raise
                await asyncio.sleep(wait)
                backoff = min(backoff * 2, 1.0)
            else:
                return answer

    @staticmethod
    def _may_fare_better(answer: AnyAnswer, error: ApiError) -> bool:
        if answer.status is None or answer.status == 200:
            return error.retryable
        return answer.status in RETRYABLE_STATUS

    async def _attempt(
        self,
        dispatched: Dispatched,
        answer: AnyAnswer,
        deployment: DeploymentPlan,
        *,
        deadline: float,
        head: Callable[[Origin], bytes],
        body: bytes,
    ) -> None:
        target = deployment.target
        url = self._pick(target)
        origin = self._origin(url)
        began = time.perf_counter()
        self._outstanding[url] += 1
        dispatched.sent_at = None
        watch = _Watch(answer, deployment, deadline)
        failure: str | None = "cancelled"
        try:
            await self._exchange(dispatched, answer, origin, head(origin) + body, patience_s=watch.patience_s)
            failure = None
        except ApiError as error:
            failure = error.code or error.type
            raise
        finally:
            watch.stop()
            self._outstanding[url] -= 1
            ended = time.perf_counter()
            dispatched.upstream_s += ended - (dispatched.sent_at if dispatched.sent_at is not None else began)
            dispatched.attempts.append(
                Attempt(
                    provider=target.provider,
                    model=target.upstream_model,
                    url=url,
                    start_ms=_ms(began - dispatched.started),
                    latency_ms=_ms(ended - began),
                    ttft_ms=_ms(answer.first_output_at - began) if answer.first_output_at else None,
                    status_code=answer.status,
                    error_type=failure,
                )
            )

    async def _exchange(
        self,
        dispatched: Dispatched,
        answer: AnyAnswer,
        origin: Origin,
        data: bytes,
        *,
        patience_s: float,
    ) -> None:
        pool = self._pools.get(answer.provider, origin)
        connection = pool.idle() or await pool.connect(min(CONNECT_TIMEOUT_S, patience_s))
        if answer.finished.done():
            connection.transport.abort()
        else:
            await self._send(dispatched, answer, connection, data)
        answer.finished.result()

    @staticmethod
    async def _send(dispatched: Dispatched, answer: AnyAnswer, connection: Connection, data: bytes) -> None:
        answer.upstream = connection
        dispatched.sent_at = time.perf_counter()
        connection.send(data, answer)
        try:
            await answer.finished
        except BaseException:
            connection.cancel(answer)
            raise
        connection.detach(answer)

    def _pick(self, target: Target) -> str:
        urls = target.base_urls
        return (
            urls[0]
            if len(urls) == 1
            else min(urls, key=lambda url: (self._outstanding[url], self._rng.random()))
        )

    def _origin(self, url: str) -> Origin:
        origin = self._origins.get(url)
        if origin is None:
            origin = self._origins[url] = Origin.parse(url)
        return origin

    def close(self) -> None:
        """Close every upstream connection."""
        self._pools.close_all()


class _Watch:
    """One timer for all of an attempt's deadlines: it sleeps to the nearest and looks again."""

    def __init__(self, answer: AnyAnswer, deployment: DeploymentPlan, deadline: float) -> None:
        self._answer = answer
        self._timeout = deployment.timeout
        self._deadline = deadline
        self._began = time.perf_counter()
        self._stream = isinstance(answer, StreamedAnswer)
        self._loop = asyncio.get_running_loop()
        self.patience_s = max(0.0, self._next() - self._began)
        self._timer = self._loop.call_later(self.patience_s, self._look)

    def _next(self) -> float:
        if not self._stream:
            return self._deadline
        if self._answer.first_output_at is None:
            return min(self._deadline, self._began + self._timeout.first_token_s)
        return min(self._deadline, self._answer.progress_at + self._timeout.idle_s)

    def _look(self) -> None:
        now = time.perf_counter()
        due = self._next()
        if now < due:
            self._timer = self._loop.call_later(due - now + 0.001, self._look)
            return
        provider = self._answer.provider
        if now >= self._deadline:
            what, code = f"did not finish within total_s = {self._timeout.total_s}", "timeout_total"
        elif self._answer.first_output_at is None:
            what, code = (
                f"sent no token within first_token_s = {self._timeout.first_token_s}",
                "timeout_first_token",
            )
        else:
            what, code = f"sent nothing more for idle_s = {self._timeout.idle_s}", "timeout_idle"
        self._answer.fail(
            UpstreamTimeout(
                f"provider {provider!r} {what}; raise it under timeout of the deployment", code=code
            )
        )

    def stop(self) -> None:
        self._timer.cancel()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
