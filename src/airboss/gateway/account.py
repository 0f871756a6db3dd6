"""A call's account: what it used, cost and said, from what is known of its answer at its end."""

from __future__ import annotations

import time

import msgspec

from airboss.dialects.speech import Speech
from airboss.domain.errors import ApiError
from airboss.domain.plan import Target
from airboss.domain.record import ClosedCall, PolicyFinding, Status
from airboss.gateway import wire
from airboss.gateway.answer import StreamedAnswer
from airboss.gateway.dispatch import AnyAnswer, Dispatched, in_ms
from airboss.gateway.splice import too_deep
from airboss.providers.compatible import Assembly, Reply, Usage
from airboss.providers.pricing import cost_usd

CHARS_PER_TOKEN = 4
"""The estimate where a provider reports no usage; such a record says `usage_estimated`."""


def closing(
    record_id: str,
    target: Target,
    dispatched: Dispatched,
    *,
    status: Status,
    error: ApiError | None,
    request_bytes: int,
    bodies: bool,
    policy: tuple[PolicyFinding, ...] = (),
    speech: Speech | None = None,
) -> ClosedCall:
    """The close of a call that ends now. Where no usage was reported it is estimated from
    `request_bytes` and the text produced; `bodies` False leaves the response out. `policy` is what
    policies found, `speech` the client's dialect where that is not chat."""
    ended = time.perf_counter()
    answer = dispatched.answer
    said = _said(answer)
    usage, estimated = _usage(answer, said, request_bytes)
    output_tokens = usage.completion_tokens or 0
    response = _response(answer, error, speech) if bodies else None
    latency_s = ended - dispatched.started
    first_at = answer.first_output_at if answer is not None and answer.committed else None
    error_type = None
    if error is not None:
        error_type = error.code or error.type
    elif status == "cancelled":
        error_type = "client_disconnected"
    closed = ClosedCall(
        id=record_id,
        status=status,
        error_type=error_type,
        finish_reason=said.finish_reason if said is not None else None,
        latency_ms=in_ms(latency_s),
        overhead_ms=in_ms(max(0.0, latency_s - dispatched.upstream_s)),
        ttft_ms=in_ms(first_at - dispatched.started) if first_at is not None else None,
        input_tokens=usage.prompt_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=usage.cached,
        reasoning_tokens=usage.reasoning,
        usage_estimated=estimated,
        cost_usd=cost_usd(
            target,
            input_tokens=usage.prompt_tokens,
            cached_input_tokens=usage.cached,
            output_tokens=output_tokens,
            written_input_tokens=usage.written,
        ),
        output_chars=said.output_chars if said is not None else 0,
        attempts=tuple(dispatched.attempts),
    )
    # In two steps, because a call with more than 15 named arguments costs four times as much as one with 15.
    kept = msgspec.Raw(response) if response is not None else None
    return msgspec.structs.replace(closed, policy=policy, response=kept)


def _said(answer: AnyAnswer | None) -> Reply | Assembly | None:
    """What the upstream said, of which either kind knows its usage, its length and why it ended."""
    if isinstance(answer, StreamedAnswer):
        return answer.assembly
    return None if answer is None else answer.reply


def _usage(answer: AnyAnswer | None, said: Reply | Assembly | None, request_bytes: int) -> tuple[Usage, bool]:
    """The usage, and whether it is an estimate. Nothing sent is nothing used; usage that falls short counts
    only where it is more than the estimate."""
    if answer is None or said is None:
        return Usage(completion_tokens=0), False
    usage = said.usage
    if usage is not None and usage.completion_tokens is not None and not answer.usage_short:
        return usage, False
    if not answer.committed:
        return Usage(completion_tokens=0), False
    prompt = usage.prompt_tokens if usage is not None else request_bytes // CHARS_PER_TOKEN
    output = -(-said.output_chars // CHARS_PER_TOKEN)
    if usage is not None and usage.completion_tokens is not None:
        output = max(output, usage.completion_tokens)
    return Usage(prompt_tokens=prompt, completion_tokens=output), True


def _response(answer: AnyAnswer | None, error: ApiError | None, speech: Speech | None) -> bytes | None:
    """The answer as JSON, in the client's dialect: the upstream's own bytes, a stream put together, or the
    error."""
    said = said_whole(answer)
    if said is None:
        if error is None:
            return None
        body = wire.error_body(error)
        return body if speech is None else speech.error(error.http_status, body)
    return said if speech is None else speech.whole(said)


def said_whole(answer: AnyAnswer | None) -> bytes | None:
    """What an upstream said, as chat and as JSON; None if nothing came."""
    if isinstance(answer, StreamedAnswer):
        return answer.assembly.response()
    if answer is None or not answer.content:
        return None
    recorded = answer.recorded
    said = recorded if recorded.isascii() else recorded.decode("utf-8", "replace").encode()
    if too_deep(said):
        # As JSON it could not be read again; as text it can.
        said = msgspec.json.encode(said.decode())
    return said
