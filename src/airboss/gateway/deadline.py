"""Less time for a call than its deployment gives it, where its client says so in a header."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from airboss.domain.errors import ApiError, InvalidRequest, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Timeouts

if TYPE_CHECKING:
    from airboss.gateway.request_head import HttpRequest
    from airboss.gateway.worker import Admitted

HEADER: Final = b"x-airboss-timeout-s"
"""Seconds for the call, from its last byte to the end of its answer."""
_SECONDS: Final = re.compile(rb"\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?")
"""A number as programs print what is left of their own time, 17 digits of it: 0.3333333333333333, 1e-05."""
_LEAST_S: Final = 0.001
"""What is left where nothing is: no deadline is zero or below."""

T = TypeVar("T")


class OwnTimeouts(Timeouts, frozen=True, kw_only=True):
    """Those of a call whose client gives it `own_s` in all, which is less than its deployment would."""

    own_s: float


def with_own_time(deployment: DeploymentPlan, header: bytes) -> DeploymentPlan:
    """The deployment as it serves a call with that header. Raises InvalidRequest."""
    header = header.strip(b" \t")  # which llhttp leaves
    seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
    if seconds <= 0:
        raise InvalidRequest(
            f"the header x-airboss-timeout-s is {header[:40].decode('latin-1')!r}; send the seconds that the "
            "whole call may take, as in 2.5",
            param="x-airboss-timeout-s",
        )
    if seconds >= deployment.timeout.total_s:
        return deployment
    return _with_total(deployment, seconds, seconds)


def _with_total(deployment: DeploymentPlan, total_s: float, own_s: float) -> DeploymentPlan:
    said = deployment.timeout
    own = OwnTimeouts(total_s=total_s, first_token_s=said.first_token_s, idle_s=said.idle_s, own_s=own_s)
    return msgspec.structs.replace(deployment, timeout=own)


async def in_time(waiting: Awaitable[T], http: HttpRequest, deployment: DeploymentPlan) -> T:
    """What is waited for before anybody is asked, within the call's own time, if it has any. Raises
    UpstreamTimeout, and what `waiting` does."""
    timeout = deployment.timeout
    if not isinstance(timeout, OwnTimeouts):
        return await waiting
    try:
        async with asyncio.timeout(_left_s(timeout, http)):
            return await waiting
    except TimeoutError:
        said = f"the call had no place yet when {bound(timeout)} was over; {raised(timeout)}"
        raise UpstreamTimeout(said, code="timeout_total") from None


def patience_s(timeout: Timeouts, http: HttpRequest) -> float:
    """How long a call may wait for what another one brings."""
    if not isinstance(timeout, OwnTimeouts):
        return timeout.first_token_s
    return min(timeout.first_token_s, _left_s(timeout, http))


def left_of(call: Admitted, http: HttpRequest) -> Admitted:
    """The call with what is left of its own time, where it may have waited before anybody is asked."""
    timeout = call.deployment.timeout
    if not isinstance(timeout, OwnTimeouts):
        return call
    deployment = _with_total(call.deployment, _left_s(timeout, http), timeout.own_s)
    return msgspec.structs.replace(call, deployment=deployment)


def _left_s(timeout: OwnTimeouts, http: HttpRequest) -> float:
    return max(_LEAST_S, http.received_at + timeout.own_s - time.perf_counter())


def own_time_over(timeout: Timeouts, error: ApiError) -> bool:
    """Whether a call ended because the time that its client gave it was over."""
    timed_out = isinstance(error, UpstreamTimeout) and error.code == "timeout_total"
    return timed_out and isinstance(timeout, OwnTimeouts)


def bound(timeout: Timeouts) -> str:
    """What bounds a whole call, as an error says it."""
    if isinstance(timeout, OwnTimeouts):
        return f"x-airboss-timeout-s = {timeout.own_s:g}"
    return f"total_s = {timeout.total_s}"


def raised(timeout: Timeouts | None) -> str:
    """How there can be more time, as an error says it; None where it is not the time for the whole call."""
    if isinstance(timeout, OwnTimeouts):
        return "send a longer one, or leave the header out"
    return "raise it under timeout of the deployment"
