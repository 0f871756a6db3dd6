"""The heads of answers: whose they are, what they took, and errors in OpenAI's shape."""

from __future__ import annotations

import math
import time

from airboss.domain.errors import ApiError
from airboss.gateway import wire
from airboss.gateway.attempts import Dispatched
from airboss.gateway.outgoing import dropped_line
from airboss.gateway.serving import told_of, told_of_none
from airboss.gateway.spoken import Client
from airboss.gateway.worker import Admitted
from airboss.providers.faults import USED_UP

HOPELESS = USED_UP | {"internal_error", "provider_key_missing", "upstream_auth", "budget_exceeded"}
"""Codes of errors that sending again cannot mend, though clients do so by their status: OpenAI's and
Anthropic's heed `x-should-retry`."""
EVENT_STREAM = b"text/event-stream; charset=utf-8"
PATIENCE_S = 60.0
"""No client should wait longer than this for its next try."""


def response_head(call: Admitted, dispatched: Dispatched, content_type: bytes, ours_ms: float) -> bytes:
    """The head of an answer that is given."""
    return b"content-type: %s\r\n%sserver-timing: airboss;dur=%.3f\r\n" % (
        content_type,
        attribution(call, dispatched),
        ours_ms,
    )


def relayed_head(call: Admitted, dispatched: Dispatched, ours_ms: float) -> bytes:
    """The same for an answer whose type is the upstream's."""
    return b"%sserver-timing: airboss;dur=%.3f\r\n" % (attribution(call, dispatched), ours_ms)


def attribution(call: Admitted, dispatched: Dispatched) -> bytes:
    """Whose answer it is, and what limits and a translation say of it."""
    sent, other = call.outgoing, dispatched.answered_by
    told = call.branch.headers
    if other is not None:
        sent = dispatched.answer.outgoing if dispatched.answer is not None else None
        told = told_of(call.branch, other)
    elif call.branch.whole is not None and not _asked(call, dispatched):
        told = told_of_none(call.branch)
    lines = b"x-request-id: %s\r\n%s" % (call.request.id.encode(), told)
    if call.held is not None:
        lines += call.held.headers
    if call.seat is not None:
        lines += call.seat.header
    return lines if sent is None else lines + dropped_line(sent.dropped)


def _asked(call: Admitted, dispatched: Dispatched) -> bool:
    """Whether a model was asked for the answer, which else is refused, or kept from another call."""
    if call.seat is not None and call.seat.answer is not None:
        return False
    return dispatched.answer is not None or bool(dispatched.tries)


def ours_ms(dispatched: Dispatched) -> float:
    """Our part of a stream that is only just starting: all but what upstreams took so far."""
    now = time.perf_counter()
    return max(0.0, now - dispatched.started - dispatched.waited_s(now)) * 1000


def id_header(record_id: str) -> bytes:
    """The line of a call that has no release yet."""
    return b"x-request-id: %s\r\n" % record_id.encode()


def error_response(error: ApiError, headers: bytes) -> tuple[bytes, bytes]:
    """Headers and body of an error, in OpenAI's shape."""
    return b"content-type: application/json\r\n" + error_lines(error, headers), wire.error_body(error)


def error_lines(error: ApiError, headers: bytes) -> bytes:
    """What an answer's head says of an error, after these lines."""
    lines = headers + getattr(error, "headers", b"")  # those of limits tell of them
    if error.retry_after_s is not None:
        # Rounded up: who comes a moment too early is refused again.
        lines += b"retry-after: %d\r\n" % max(1, math.ceil(error.retry_after_s))
    if error.code in HOPELESS or (error.retry_after_s or 0) > PATIENCE_S:
        lines += b"x-should-retry: false\r\n"
    return lines


def respond_error(client: Client, error: ApiError, headers: bytes) -> None:
    """Answer with an error."""
    client.respond(error.http_status, *error_response(error, headers))
