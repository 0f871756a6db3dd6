"""A call's account: what it used, cost and said, from what is known of its answer at its end."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from airboss.dialects.chat_said import TOO_LARGE
from airboss.dialects.failed_attempts import FailedAttempt
from airboss.dialects.speech import Counts, Speech
from airboss.domain.errors import ApiError
from airboss.domain.plan import Target
from airboss.domain.record import ANSWERED_BY_FALLBACK, ClosedCall, PolicyFinding, Status
from airboss.gateway import wire
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.gateway.attempts import Dispatched
from airboss.gateway.billing import bill
from airboss.gateway.failed_words import with_failed
from airboss.gateway.seam import NOT_CONTINUED
from airboss.gateway.splice import DEPTH_MAX, too_deep
from airboss.providers.assembly import Joined
from airboss.providers.compatible import name_in
from airboss.providers.lenient import without_halves

_NULL = msgspec.Raw(b"null")
_USUAL = frozenset({None, "stop", "length", "tool_calls"})
"""Reasons to stop whose names need not be looked at."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def closing(
    record_id: str,
    target: Target,
    dispatched: Dispatched,
    *,
    status: Status,
    error: ApiError | None,
    bodies: bool,
    user: str | None = None,
    policy: tuple[PolicyFinding, ...] = (),
    speech: Speech | None = None,
    failed: tuple[FailedAttempt, ...] = (),
    joined: Joined | None = None,
) -> ClosedCall:
    """The close of a call that ends now. `target` is its release's; `bodies` False leaves the response out.
    `user` is whose that is where it will be sealed. `policy` is what policies found, `speech` the client's
    dialect where that is not chat, `failed` what was said in attempts that failed. `joined` makes what
    is kept of a text that others went on with."""
    ended = time.perf_counter()
    answer, started = dispatched.answer, dispatched.started
    said = None
    if answer is not None:  # either kind knows its usage, its length and why it ended
        said = answer.assembly if isinstance(answer, StreamedAnswer) else answer.reply
    attempts, used, cost = bill(dispatched, target)
    latency_s = ended - started
    first_at = answer.first_output_at if answer is not None and answer.committed else None
    finish_reason = None if said is None else said.finish_reason
    if finish_reason not in _USUAL:
        finish_reason = name_in(finish_reason)
    error_type = None
    if error is not None:
        error_type = error.code or error.type
    elif status == "cancelled":
        error_type = "client_disconnected"
    response = _response(answer, error, speech, joined) if bodies else None
    if response is not None and status == "error" and error is not None:
        response = _with_error(response, error)
    if bodies and failed:
        response = with_failed(response, failed)
    # The first by their places, because a call with so many named arguments would cost four times as much.
    closed = ClosedCall(
        record_id,
        status,
        int(latency_s * 1e6) / 1000,
        int(max(0.0, latency_s - dispatched.upstream_s) * 1e6) / 1000,
        None if first_at is None else int((first_at - started) * 1e6) / 1000,
        error_type,
        finish_reason=finish_reason,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cached_input_tokens=used.cached_input_tokens,
        cache_write_tokens=used.cache_write_tokens,
        reasoning_tokens=used.reasoning_tokens,
        usage_estimated=used.estimated,
        cost_usd=cost,
        output_chars=0 if said is None else said.output_chars,
        attempts=attempts,
        policy=policy,
        response=None if response is None else msgspec.Raw(response),
        user=user,
    )
    other = dispatched.answered_by
    if other is None:
        return closed
    return msgspec.structs.replace(
        closed,
        provider=other.provider,
        model=other.upstream_model,
        error_type=ANSWERED_BY_FALLBACK if status == "ok" and dispatched.fell_back else error_type,
    )


def _response(
    answer: AnyAnswer | None, error: ApiError | None, speech: Speech | None, joined: Joined | None
) -> bytes | None:
    """The answer as JSON, in the client's dialect: the upstream's own bytes, a stream put together, or the
    error."""
    said = said_whole(answer, joined)
    if said is not None and not (error is not None and error.code == TOO_LARGE):
        said = said if speech is None else speech.whole(said)
        # A provider's own words ride with the chat as they came, halves of characters too.
        return without_halves(said) if speech is not None and speech.native and b"\\u" in said else said
    if error is None:
        return None
    body = wire.error_body(error)
    return body if speech is None else speech.error(error.http_status, body)


def _with_error(response: bytes, error: ApiError) -> bytes:
    """What came of an answer, with the error that ended it: in a stream it is told after that."""
    try:
        members = _members.decode(response)
    except msgspec.DecodeError:  # it is text, or what cannot be read
        return response
    if bytes(members.get("error", _NULL)) != b"null":
        return response
    return msgspec.json.encode(members | {"error": wire.error_detail(error)})


def breaks_off(answer: AnyAnswer | None, closed: ClosedCall) -> bool:
    """Whether the words of a record may end in the middle of one."""
    full = isinstance(answer, StreamedAnswer) and answer.assembly.full
    return closed.status != "ok" or closed.finish_reason == "length" or full


def said_whole(answer: AnyAnswer | None, joined: Joined | None = None) -> bytes | None:
    """What an upstream said, as chat and as JSON; None if nothing came."""
    if isinstance(answer, StreamedAnswer):
        return answer.assembly.response(joined)
    if answer is None or not answer.content:
        return None
    recorded = answer.recorded
    said = recorded if recorded.isascii() else recorded.decode("utf-8", "replace").encode()
    if len(said) > DEPTH_MAX and too_deep(said):
        # As JSON it could not be read again; as text it can.
        said = msgspec.json.encode(said.decode())
    return said


def usage_event(answer: StreamedAnswer, closed: ClosedCall) -> bytes:
    """The event with the usage of a stream whose upstream told none."""
    first = answer.assembly.first
    assert first is not None  # it has been answered
    chat = answer.assembly.operation == "chat"
    said = {
        "id": first.id,
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": first.created,
        "model": first.model,
        "choices": [],
        "usage": counted_usage(closed),
    }
    return b"data: %s\n\n" % msgspec.json.encode(said)


def counted_usage(closed: ClosedCall) -> dict[str, Any]:
    """What we have counted of an answer whose provider did not say: of its own attempts, not of those that
    failed before it, lost a race to it, or went on with another one."""
    own = [each for each in closed.attempts if each.why != "cache"]
    if own and own[-1].why == "continuation":
        begun = max((at for at, each in enumerate(own) if each.why != "continuation"), default=0)
        own = [each for each in own[begun:] if each.error_type != NOT_CONTINUED]
    else:
        own = [each for each in own if each.error_type is None]
    used = [each.usage for each in own if each.usage is not None]
    if not used:
        prompt, cached = closed.input_tokens or 0, closed.cached_input_tokens or 0
        return usage_json(prompt, closed.output_tokens or 0, cached, closed.reasoning_tokens or 0)
    first, output = used[0], sum(each.output_tokens for each in used)
    reasoning = sum(each.reasoning_tokens for each in used)
    return usage_json(first.input_tokens, output, first.cached_input_tokens, reasoning)


def tell_counted(speech: Speech, closed: ClosedCall) -> None:
    """Tell a speech what its answer used where the upstream told nothing."""
    if closed.usage_estimated:
        used = counted_usage(closed)
        speech.estimate = Counts(input=used["prompt_tokens"], output=used["completion_tokens"])


def usage_json(prompt: int, output: int, cached: int, reasoning: int) -> dict[str, Any]:
    """Usage, as chat has it."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
