"""What an error answer says against a provider, or of our account there: the operator's to mend, not the
caller's. Pure."""

from __future__ import annotations

import re
from typing import Final

from airboss.domain.errors import ApiError, Unavailable, UpstreamFailed

QUOTA_USED_UP: Final = "insufficient_quota"
USED_UP: Final = frozenset(
    {
        QUOTA_USED_UP,
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "insufficient_user_quota",
        "quota_exceeded",
    }
)
"""Codes and types of what no wait mends: credit, a quota or a spending limit is used up."""
_NO_CREDIT = re.compile(
    r"Your credit balance is too low|You have reached your specified API usage limits"
    r"|Your team \S+ has either used all available credits"
)
"""How Anthropic (400) and xAI (429, 403) begin to say so. Only a message that begins so counts: further on it
may be what a caller has said."""


def is_used_up(status: int, code: str | None, type_: str | None, message: str) -> bool:
    """Whether our account's credit or quota is used up there, by an error answer's status and names."""
    if status == 402 or code in USED_UP or type_ in USED_UP:
        return True
    return status in {400, 403, 429} and _NO_CREDIT.match(message) is not None


def fault(provider: str, status: int, message: str, *, spent: bool, retry_after_s: float | None) -> ApiError:
    """The error of an answer that is no caller's mistake; `spent` as `is_used_up` has it."""
    if spent:
        return UpstreamFailed(
            f"our quota or credit at provider {provider!r} is used up ({status}): {message}",
            code=QUOTA_USED_UP,
        )
    if status in {401, 403}:
        return UpstreamFailed(
            f"provider {provider!r} refused our credentials ({status}): {message}; check its api_key",
            code="upstream_auth",
        )
    if status in {503, 529}:
        return Unavailable(
            f"provider {provider!r} is overloaded ({status}): {message}",
            code="upstream_unavailable",
            retry_after_s=retry_after_s,
        )
    return UpstreamFailed(f"provider {provider!r} answered {status}: {message}")
