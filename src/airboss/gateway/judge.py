"""What comes after an attempt that failed: which errors may fare better when they are asked again, which at
another model, and which are the caller's to mend. Pure.

| Class | Errors | Then |
|---|---|---|
| `caller` | a provider's 400, 413, 422 and filter's; a policy's; no record; we stop | the caller is told |
| `elsewhere` | too long a prompt, a refused key or model, redirects, an answer begun anew | another model |
| `again` | 408, 409, 424, 425, 429, 5xx, timeouts, resets, what is no answer | the same model, then another |
"""

from __future__ import annotations

from typing import Literal

from airboss.domain.errors import ApiError, BodyTooLarge, InternalError, PolicyRefused, UpstreamRefused
from airboss.domain.request import Operation
from airboss.gateway.seam import NOT_CONTINUED
from airboss.governance.policies import NAMES_AWAY
from airboss.providers.compatible import NO_MODEL, names_what_is_missing, read_error
from airboss.providers.connection import ConnectFailed, ConnectionStale
from airboss.providers.faults import USED_UP
from airboss.telemetry.metrics import Limited

Class = Literal["caller", "elsewhere", "again"]

HEDGE_LOST = "hedge_lost"
TOO_LONG = "context_length_exceeded"
THE_MODELS_OWN = frozenset({TOO_LONG, NOT_CONTINUED})
"""Codes of what lies in the model, so that another key or address of it is no remedy."""
_AGAIN = frozenset({408, 409, 424, 425, 429})
"""With 424, by which Bedrock and TGI say that the model broke off."""
_CALLER = frozenset({400, 413, 422})
_NEVER_BETTER = frozenset({501, 505})
"""Of the 5xx those that are about what was asked, not about the moment."""
UNRECORDED = "journal_unwritable"
"""Code of what may not be sent, to whomever, because the call has no record."""
STOPPING = "stopping"
"""Code of what is cut off because this gateway stops."""
RESENT: frozenset[Operation] = frozenset(
    {
        "chat",
        "text_completion",
        "embeddings",
        "audio_speech",
        "audio_transcription",
        "audio_translation",
        "images",
        "moderations",
        "rerank",
    }
)
"""What asks a model changes nothing at the provider, so that it may be sent once more where a kept connection
was closed under it (RFC 9110, 9.2.2)."""
_OURS = frozenset({"too_many_connections", "provider_key_missing", UNRECORDED})
"""Codes of what went wrong before anything was sent, and on our side."""
_NOBODYS = frozenset({NAMES_AWAY, STOPPING})
"""Codes of what goes wrong on our side at any time, so that nobody else need be asked."""
_FILTERED = frozenset({"content_filter", "content_policy_violation", "responsible_ai_policy_violation"})
_NOT_THERE = b"OperationNotSupported"
"""How Azure says that a model is not offered at a route."""
_ELSEWHERE = frozenset(
    {
        *THE_MODELS_OWN,
        *USED_UP,
        "provider_key_missing",
        "breaker_open",
        "replicas_failed",
    }
)
"""Codes of what waiting does not mend."""


def defect() -> InternalError:
    """What a client is told of a defect of ours."""
    return InternalError("something went wrong on our side; the log has it")


class HedgeLost(ApiError):
    """Another attempt of the same call was quicker. Never shown to a client."""


def judge(error: ApiError, status: int | None) -> Class:
    """The class of an attempt's error; `status` is the upstream's, None if there was no head."""
    if is_filtered(error) or error.code in _NOBODYS or (status is None and error.code == UNRECORDED):
        return "caller"
    if error.code in _ELSEWHERE:
        return "elsewhere"
    if status is None or 200 <= status < 300:
        if not isinstance(error, UpstreamRefused):
            return "again" if error.retryable else "elsewhere"
        status = error.upstream_status  # an error object that calls itself 200: what it says of itself counts
    if status in _CALLER:
        return "caller"
    if status in _AGAIN or (status >= 500 and status not in _NEVER_BETTER):
        return "again"
    return "elsewhere"


def is_filtered(error: ApiError) -> bool:
    """Whether a policy refused, be it ours or the provider's: what another model says is no remedy,
    unless the release says that it is."""
    return isinstance(error, PolicyRefused) or error.code in _FILTERED


def is_too_large(error: ApiError) -> bool:
    """Whether we refused a call, before anybody was asked, only for having no room for it in one model."""
    return error.code == TOO_LONG or isinstance(error, BodyTooLarge)


def is_targets_fault(error: ApiError, status: int | None) -> bool | None:
    """Whether an error speaks against the target, so that its breaker should know. A 429 does not, unless it
    is of what no wait mends: it is there, and says when to come back. None where it says nothing: what went
    wrong on our side alone."""
    ours = status is None and error.code in _OURS
    if ours or error.code in _NOBODYS or isinstance(error, ConnectionStale):
        return None
    if isinstance(error, PolicyRefused) or error.code == NOT_CONTINUED:
        return False
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in {408, 425} or error.code in USED_UP
    return status != 501


def limit_reached(error: ApiError) -> Limited | None:
    """Which kind of limit at the target an error tells of, if any."""
    if error.code in USED_UP:
        return "out_of_quota"
    return "rate_limited" if isinstance(error, UpstreamRefused) and error.upstream_status == 429 else None


def is_no_route(status: int | None, said: bytes) -> bool:
    """Whether an upstream has not got the route that was asked, or not for that model, by what it said; one
    that does not know the model, or something that the request names, has."""
    if status == 400:
        return _NOT_THERE in said
    if status == 404 and any(code.encode() in said for code in NO_MODEL):
        return False
    if status == 404 and names_what_is_missing(read_error(said)):
        return False
    return status in {404, 405, 501}


def is_starting(error: ApiError, status: int | None) -> bool:
    """Whether a local engine is only starting: it refuses connections, then answers 503 while it loads, and
    has read nothing of the call."""
    return isinstance(error, ConnectFailed) or status == 503
