"""A fake provider's answer as steps to be played: bytes, waits, and an end. Nothing here does any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from http import HTTPStatus

import msgspec

from airboss.domain.errors import ApiError
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Call, Event
from airboss.providers.fake_faults import Behaviour

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
LAST_CHUNK = b"0\r\n\r\n"

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Headers = Iterable[tuple[str, str]]
"""Response headers in order."""

Frame = Callable[[bytes], bytes]
"""Wraps a piece of the body for the wire."""


class End(Enum):
    """How an answer ends; `KEEP` leaves the connection open for the next request."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


class Outage(msgspec.Struct, frozen=True):
    """The end of every connection, and of new ones for so many seconds; None: until a reset."""

    for_s: float | None


Step = bytes | float | End | Outage
"""Bytes to be written, seconds to wait (0.0: until the kernel has the bytes), or the end."""

Play = Callable[[Call, Behaviour], Iterator[Step]]
"""Makes the steps of one fault."""


def head(
    status: int,
    content_type: str,
    *,
    length: int | None = None,
    headers: Headers = (),
    version: str = "1.1",
) -> bytes:
    """A response head. Without `length` the body is chunked, or ends with the connection in HTTP/1.0."""
    lines = [f"HTTP/{version} {status} {_PHRASES.get(status, 'Unknown')}", f"content-type: {content_type}"]
    if length is not None:
        lines.append(f"content-length: {length}")
    elif version == "1.1":
        lines.append("transfer-encoding: chunked")
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def respond(status: int, body: bytes, *, content_type: str = JSON, headers: Headers = ()) -> bytes:
    """A whole response with its length."""
    return head(status, content_type, length=len(body), headers=headers) + body


def refuse(error: ApiError) -> bytes:
    """A whole response that says no, in OpenAI's shape."""
    body = answers.error_body(error.message, type=error.type, code=error.code, param=error.param)
    return respond(error.http_status, body)


def chunked(piece: bytes) -> bytes:
    """One piece of a body in chunked transfer coding; not for an empty piece, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def event_text(event: Event) -> bytes:
    """An event as servers send it."""
    if event.framed:
        return event.data
    if event.name is not None:
        return b"event: %b\ndata: %b\n\n" % (event.name.encode(), event.data)
    return b"data: %b\n\n" % event.data


def request_id(call: Call) -> tuple[str, str]:
    """The header by which a provider names a call."""
    return ("x-request-id", f"req_{call.id}")


def body_of(call: Call, behaviour: Behaviour) -> bytes:
    """The body of a good answer that is not streamed. Raises InvalidRequest or NotFound."""
    if call.made is not None:
        body = call.made.body
        return body if behaviour.size_bytes is None else body.ljust(behaviour.size_bytes, b"x")
    if call.tongue is None and call.path.startswith("/v1/models"):
        return answers.models(call.path.removeprefix("/v1/models").lstrip("/") or None)
    if call.path.endswith("/embeddings"):
        return answers.embeddings(call)
    return answers.whole(call, behaviour)


def whole(
    call: Call,
    behaviour: Behaviour,
    body: bytes,
    *,
    content_type: str = JSON,
    headers: Headers = (),
) -> Iterator[Step]:
    """A good answer in one piece, after the time that its tokens would have taken."""
    if behaviour.first_token_s:
        yield behaviour.first_token_s
    if behaviour.tokens_per_s is not None:
        yield answers.tokens(answers.answer(call, behaviour)[0]) / behaviour.tokens_per_s
    yield respond(200, body, content_type=content_type, headers=(request_id(call), *headers))


def streamed(
    call: Call,
    *,
    content_type: str = SSE,
    headers: Headers = (),
    version: str = "1.1",
) -> bytes:
    """The head of a streamed answer."""
    if call.tongue is not None and content_type == SSE:
        content_type = call.tongue.stream_type
    return head(200, content_type, headers=(request_id(call), *headers), version=version)


def paced(
    behaviour: Behaviour,
    found: Iterable[Event],
    *,
    text: Callable[[Event], bytes] = event_text,
    frame: Frame = chunked,
    begun: bool = False,
) -> Iterator[Step]:
    """Events at the pace asked for; with `begun` the first token has been sent before."""
    for event in found:
        if event.kind == "content":
            if not begun and behaviour.first_token_s:
                yield behaviour.first_token_s
            if begun and behaviour.tokens_per_s is not None:
                yield 1 / behaviour.tokens_per_s
            begun = True
        yield frame(text(event))


def stream(
    call: Call,
    behaviour: Behaviour,
    found: Iterable[Event],
    *,
    text: Callable[[Event], bytes] = event_text,
    content_type: str = SSE,
) -> Iterator[Step]:
    """A streamed answer that ends as HTTP wants it."""
    yield streamed(call, content_type=content_type)
    yield from paced(behaviour, found, text=text)
    yield LAST_CHUNK


def well(call: Call, behaviour: Behaviour) -> Iterator[Step]:
    """A good answer, streamed if that was asked for."""
    if is_stream(call):
        return stream(call, behaviour, answers.events(call, behaviour))
    content_type = JSON if call.made is None else call.made.content_type
    return whole(call, behaviour, body_of(call, behaviour), content_type=content_type)


def is_stream(call: Call) -> bool:
    """Whether events are asked for, on a route that has them."""
    return call.asked.stream and not call.path.endswith("/embeddings")


def joined(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Join bytes that nothing stands between, and end with an end, `End.KEEP` unless there is one.
    Nothing after the first end counts."""
    found: list[Step] = []
    waiting: list[bytes] = []
    end: End | Outage = End.KEEP
    for step in steps:
        if isinstance(step, bytes):
            waiting.append(step)
            continue
        if waiting:
            found.append(b"".join(waiting))
            waiting.clear()
        if isinstance(step, End | Outage):
            end = step
            break
        found.append(step)
    if waiting:
        found.append(b"".join(waiting))
    return (*found, end)
