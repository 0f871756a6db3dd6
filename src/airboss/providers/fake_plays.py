"""Every fault as the steps that show it on the wire; those of one response are here, others beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from airboss.providers import fake_answers as answers
from airboss.providers import fake_broken as broken
from airboss.providers import fake_odd as odd
from airboss.providers.fake_answers import Call, Event
from airboss.providers.fake_faults import Behaviour
from airboss.providers.fake_wire import (
    JSON,
    End,
    Outage,
    Play,
    Step,
    body_of,
    head,
    is_stream,
    joined,
    request_id,
    respond,
    stream,
    well,
)


def plan(call: Call, behaviour: Behaviour) -> tuple[Step, ...]:
    """The steps that answer `call`; the last is an `End`. Raises InvalidRequest where the route refuses."""
    steps = PLAYS[behaviour.fault](call, behaviour)
    delay: tuple[Step, ...] = (behaviour.delay_s,) if behaviour.delay_s else ()
    return joined((*delay, *steps))


def error(
    status: int | None, type: str, code: str | None, message: str, *, retry_after: str | None = None
) -> Play:
    """A fault that is one error response; `message`, `code` and `retry_after` of the behaviour go first."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        said = b.status if status is None else status
        body = answers.error_for(call, said, b.message or message, type=type, code=b.code or code)
        after = b.retry_after if b.retry_after is not None else retry_after
        headers = [("retry-after", after)] if after is not None else []
        yield respond(b.status if status is None else status, body, headers=headers)

    return play


def ends(*steps: Step) -> Play:
    """A fault that says nothing."""
    return lambda _call, _b: iter(steps)


def outage(_call: Call, b: Behaviour) -> Iterator[Step]:
    """The whole provider goes away."""
    return iter((Outage(b.for_s),))


def silence(call: Call, b: Behaviour) -> Iterator[Step]:
    """No answer, or a late one."""
    return iter((End.HANG,)) if b.for_s is None else iter((b.for_s, *well(call, b)))


def late_head(call: Call, b: Behaviour) -> Iterator[Step]:
    """Nothing at all for a while."""
    yield 2.0 if b.for_s is None else b.for_s
    yield from well(call, b)


def late_first_token(call: Call, b: Behaviour) -> Iterator[Step]:
    """The head, and then nothing for a while."""
    wait = 2.0 if b.for_s is None else b.for_s
    if is_stream(call):
        yield from well(call, replace(b, first_token_s=wait))
        return
    body = body_of(call, b)
    yield from (head(200, JSON, length=len(body)), wait, body)


def refuse_prefill(call: Call, b: Behaviour) -> Iterator[Step]:
    """Some models take no assistant message at the end."""
    if call.prefill is None:
        return well(call, b)
    message = "This model does not support assistant message prefill; the last message must be the user's."
    return error(400, "invalid_request_error", None, message)(call, b)


def ignore_prefill(call: Call, b: Behaviour) -> Iterator[Step]:
    """Others take it for a turn that is over."""
    kept = call.asked.messages[:-1] if call.prefill is not None else call.asked.messages
    return well(replace(call, asked=replace(call.asked, messages=kept)), b)


def html(call: Call, _b: Behaviour) -> Iterator[Step]:
    """What a proxy or a login page says."""
    page = b"<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"
    yield respond(200, page, content_type="text/html; charset=utf-8", headers=(request_id(call),))


def error_200(call: Call, b: Behaviour) -> Iterator[Step]:
    """An error that HTTP takes for an answer."""
    message = b.message or "The engine is overloaded"
    data = answers.error_for(call, 503, message, type="server_error", code=b.code)
    if is_stream(call):
        if call.tongue is not None:
            said = call.tongue.error(503, message, inside=True)
            return stream(call, b, [Event(said, "finish", framed=call.tongue.framed)])
        return stream(call, b, [Event(data, "finish")])
    return iter((respond(200, data),))


def redirect(status: int) -> Play:
    """Sends the caller elsewhere."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        to = b.location or f"{call.path}?redirected=1"
        yield respond(status, b"", content_type="text/plain", headers=[("location", to)])

    return play


def echo_authorization(call: Call, _b: Behaviour) -> Iterator[Step]:
    """Leaks in its message what it was given as a secret."""
    message = f"Incorrect API key provided: {call.authorization}."
    body = answers.error_for(call, 401, message, type="invalid_request_error", code="invalid_api_key")
    yield respond(401, body)


_BROKEN = b'{"id":"broken","choices":[{"index":0,"delta":{"content":"x'
_TOO_MANY = error(429, "requests", "rate_limit_exceeded", "Rate limit reached for requests", retry_after="1")
_INTERNAL = error(500, "server_error", None, "The server had an error while processing your request")


def stream_error(call: Call) -> bytes:
    """What an upstream says that breaks in the middle."""
    message = "The engine failed in the middle"
    if call.tongue is not None:
        return call.tongue.error(500, message, inside=True)
    return answers.error_body(message, type="server_error", code=None)


_TOO_LONG = "This model's maximum context length is 8192 tokens, and your messages have more."

PLAYS: Mapping[str, Play] = {
    "ok": well,
    "429": _TOO_MANY,
    "429-no-retry-after": error(429, "requests", "rate_limit_exceeded", "Rate limit reached for requests"),
    "500": _INTERNAL,
    "500-once": _INTERNAL,
    "503": error(503, "server_error", None, "The engine is unavailable"),
    "529": error(529, "overloaded_error", None, "Overloaded"),
    "status": error(None, "invalid_request_error", None, "The fake provider was asked for this status"),
    "reset": ends(End.RESET),
    "close": ends(End.CLOSE),
    "silence": silence,
    "late-head": late_head,
    "late-first-token": late_first_token,
    "drip-headers": odd.drip_headers,
    "cut-reset": broken.midway(broken.SETTLE_S, End.RESET),
    "cut-close": broken.midway(End.CLOSE),
    "cut-end": broken.cut_end,
    "stall": broken.midway(End.HANG, resume=True),
    "malformed-event": broken.inserted(lambda _call: _BROKEN, then_ends=False),
    "malformed-chunk": broken.malformed_chunk,
    "error-mid-stream": broken.inserted(stream_error, then_ends=True),
    "no-done": broken.changed(broken.without("done")),
    "no-usage": broken.no_usage,
    "duplicate-final": broken.changed(broken.twice(("finish", "usage"))),
    "context-length": error(400, "invalid_request_error", "context_length_exceeded", _TOO_LONG),
    "content-filter": error(400, "invalid_request_error", "content_filter", "The prompt was filtered"),
    "content-filter-finish": broken.content_filter_finish,
    "refuse-prefill": refuse_prefill,
    "ignore-prefill": ignore_prefill,
    "outage": outage,
    "html": html,
    "error-200": error_200,
    "wrong-content-type": odd.wrong_content_type,
    "redirect-307": redirect(307),
    "redirect-308": redirect(308),
    "gzip": odd.gzipped,
    "close-delimited": odd.close_delimited,
    "byte-writes": odd.byte_writes,
    "utf8-split": odd.utf8_split,
    "large-event": odd.large_event,
    "sse-crlf": odd.spelled(lambda event: b"data: %b\r\n\r\n" % event.data),
    "sse-comments": odd.spelled(odd.commented),
    "interleaved-choices": odd.interleaved,
    "tool-call": odd.tools(1, 1_000),
    "tool-split": odd.tools(2, 3),
    "truncated-body": broken.truncated_body,
    "close-keep-alive": odd.after_answer(End.CLOSE),
    "informational": odd.informational,
    "large-headers": odd.large_headers,
    "echo-authorization": echo_authorization,
}
"""Every fault of `fake_faults.FAULTS` with what it does."""
