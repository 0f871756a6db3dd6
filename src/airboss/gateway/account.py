"""A call's account: what it used, cost and said, from what is known of its answer at its end."""

from __future__ import annotations

import time

import msgspec

from airboss.domain.errors import ApiError
from airboss.domain.plan import Target
from airboss.domain.record import ClosedCall, Status
from airboss.gateway import wire
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.gateway.dispatch import AnyAnswer, Dispatched, in_ms
from airboss.gateway.splice import too_deep
from airboss.providers.compatible import Usage
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
    several: bool,
) -> ClosedCall:
    """The close of a call that ends now. Where no usage was reported it is estimated from
    `request_bytes` and the text produced; `bodies` False leaves the response out. `several`: more than one
    answer was asked for, of which a local engine reports the usage of one."""
    ended = time.perf_counter()
    answer = dispatched.answer
    usage, estimated = _usage(answer, request_bytes, short=several and target.kind == "local")
    output_tokens = usage.completion_tokens or 0
    response = _response(answer, error) if bodies else None
    latency_s = ended - dispatched.started
    first_at = answer.first_output_at if answer is not None and answer.committed else None
    error_type = None
    if error is not None:
        error_type = error.code or error.type
    elif status == "cancelled":
        error_type = "client_disconnected"
    return ClosedCall(
        id=record_id,
        status=status,
        error_type=error_type,
        finish_reason=_finish_reason(answer),
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
        ),
        output_chars=_output_chars(answer),
        attempts=tuple(dispatched.attempts),
        response=msgspec.Raw(response) if response is not None else None,
    )


def _usage(answer: AnyAnswer | None, request_bytes: int, *, short: bool) -> tuple[Usage, bool]:
    """The usage, and whether it is an estimate. Nothing sent is nothing used; `short`: what was reported
    falls short, and counts only where it is more than the estimate."""
    said = None
    if isinstance(answer, WholeAnswer):
        said = answer.reply.usage if answer.reply else None
    elif answer is not None:
        said = answer.assembly.usage
    if said is not None and said.completion_tokens is not None and not short:
        return said, False
    if answer is None or not answer.committed:
        return Usage(completion_tokens=0), False
    chars = _output_chars(answer)
    prompt = said.prompt_tokens if said is not None else request_bytes // CHARS_PER_TOKEN
    output = -(-chars // CHARS_PER_TOKEN)
    if said is not None and said.completion_tokens is not None:
        output = max(output, said.completion_tokens)
    return Usage(prompt_tokens=prompt, completion_tokens=output), True


def _output_chars(answer: AnyAnswer | None) -> int:
    if isinstance(answer, StreamedAnswer):
        return answer.assembly.output_chars
    if answer is None or answer.reply is None:
        return 0
    chars = 0
    for choice in answer.reply.choices or ():
        said = choice.text
        if choice.message is not None:
            said = choice.message.content or choice.message.refusal
        if said:
            chars += len(said)
    return chars


def _finish_reason(answer: AnyAnswer | None) -> str | None:
    if isinstance(answer, StreamedAnswer):
        return answer.assembly.finish_reason
    if answer is None or answer.reply is None or not answer.reply.choices:
        return None
    return answer.reply.choices[0].finish_reason


def _response(answer: AnyAnswer | None, error: ApiError | None) -> bytes | None:
    """The answer as JSON: the upstream's own bytes, a stream put together, or the error."""
    said: bytes | None = None
    if isinstance(answer, StreamedAnswer):
        said = answer.assembly.response()
    elif answer is not None and answer.content:
        said = (
            answer.content if answer.content.isascii() else answer.content.decode("utf-8", "replace").encode()
        )
        if too_deep(said):
            # As JSON it could not be read again; as text it can.
            said = msgspec.json.encode(said.decode())
    return said if said is not None or error is None else wire.error_body(error)
