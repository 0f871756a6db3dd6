"""Less time for a call than its deployment gives it, where its client says so in a header."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec

from airboss.domain.errors import ApiError, InvalidRequest, UpstreamTimeout
from airboss.domain.plan import DeploymentPlan, Timeouts

HEADER: Final = b"x-airboss-timeout-s"
"""Seconds for the call, from its last byte to the end of its answer."""
_SECONDS: Final = re.compile(rb"\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?")
"""A number as programs print what is left of their own time, 17 digits of it: 0.3333333333333333, 1e-05."""
_LEAST_S: Final = 0.01
"""What is left where nothing is: no deadline is zero or below, and timers may be a little early."""

T = TypeVar("T")


class OwnTimeouts(Timeouts, frozen=True, kw_only=True):
    """Those of a call whose client gives it `own_s` in all, which is less than its deployment would: it may
    take until then, on `time.perf_counter()`, whatever it waits for."""

    own_s: float
    until: float


def with_own_time(deployment: DeploymentPlan, header: bytes, received_at: float) -> DeploymentPlan:
    """The deployment as it serves a call with that header, whose last byte came then, on
    `time.perf_counter()`. Raises InvalidRequest."""
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
    said = deployment.timeout
    own = OwnTimeouts(
        total_s=seconds,
        first_token_s=said.first_token_s,
        idle_s=said.idle_s,
        own_s=seconds,
        until=received_at + seconds,
    )
    return msgspec.structs.replace(deployment, timeout=own)


async def in_time(waiting: Awaitable[T], deployment: DeploymentPlan) -> T:
    """What is waited for before anybody is asked, within the call's own time, if it has any. Raises
    UpstreamTimeout, and what `waiting` does."""
    timeout = deployment.timeout
    if not isinstance(timeout, OwnTimeouts):
        return await waiting
    try:
        async with asyncio.timeout(left_s(timeout)):
            return await waiting
    except TimeoutError:
        raise _asked_nobody(timeout) from None


def left_s(timeout: Timeouts) -> float:
    """How long a call may still take that asks from now on: what it has waited for before is no target's
    fault, but its own time runs."""
    if not isinstance(timeout, OwnTimeouts):
        return timeout.total_s
    return max(_LEAST_S, timeout.until - time.perf_counter())


def check_left(timeout: Timeouts) -> None:
    """Raise UpstreamTimeout where a call's own time was over before anybody was asked."""
    if isinstance(timeout, OwnTimeouts) and left_s(timeout) <= _LEAST_S:
        raise _asked_nobody(timeout)


def _asked_nobody(timeout: OwnTimeouts) -> UpstreamTimeout:
    said = f"nobody had been asked yet when {bound(timeout)} was over; {raised(timeout)}"
    return UpstreamTimeout(said, code="timeout_total")


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
