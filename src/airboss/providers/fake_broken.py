"""Faults that break an answer off, or spoil a part of it: pure, one function a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Call, Event
from airboss.providers.fake_faults import Behaviour
from airboss.providers.fake_wire import (
    JSON,
    LAST_CHUNK,
    SSE,
    End,
    Play,
    Step,
    body_of,
    chunked,
    event_text,
    head,
    is_stream,
    paced,
    respond,
    stream,
    streamed,
    well,
    whole,
)

# A reset throws away what the kernel has not sent yet; on loopback this is time enough to send it.
SETTLE_S = 0.02


def split_at(found: list[Event], after: int) -> tuple[list[Event], list[Event]]:
    """The events up to the `after`th token, and those behind; no later than the last token."""
    content = [index for index, event in enumerate(found) if event.kind == "content"]
    at = content[min(after, len(content)) - 1] + 1 if content and after else content[0] if content else 0
    return found[:at], found[at:]


def midway(*then: Step, resume: bool = False) -> Play:
    """A fault in the middle of an answer: what comes `then`, and with `resume` the rest after it."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        waits: tuple[Step, ...] = (b.for_s,) if resume and b.for_s is not None else then
        if is_stream(call):
            before, behind = split_at(answers.events(call, b), b.after)
            rest = (*paced(b, behind, begun=True), LAST_CHUNK)
            yield from (streamed(call), *paced(b, before), *waits, *rest)
            return
        body = body_of(call, b)
        half = len(body) // 2
        yield from (head(200, JSON, length=len(body)) + body[:half], *waits, body[half:])

    return play


def malformed_chunk(call: Call, b: Behaviour) -> Iterator[Step]:
    """A chunk whose length is no number; a whole answer is chunked here too."""
    bad = b"zz\r\nnot a chunk\r\n"
    if is_stream(call):
        yield from (streamed(call), *paced(b, split_at(answers.events(call, b), b.after)[0]), bad, End.CLOSE)
        return
    body = body_of(call, b)
    yield from (head(200, JSON), chunked(body[: len(body) // 2]), bad, End.CLOSE)


def cut_end(call: Call, b: Behaviour) -> Iterator[Step]:
    """Half an answer that HTTP takes for a whole one."""
    if is_stream(call):
        yield from stream(call, b, split_at(answers.events(call, b), b.after)[0])
        return
    body = body_of(call, b)
    yield head(200, JSON) + chunked(body[: len(body) // 2]) + LAST_CHUNK


def inserted(said: Callable[[Call], bytes], *, then_ends: bool) -> Play:
    """A fault that is an event of its own in the middle; in a whole answer it is the body."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        data = said(call)
        if not is_stream(call):
            yield respond(200, data)
            return
        before, behind = split_at(answers.events(call, b), b.after)
        framed = call.tongue is not None and call.tongue.framed
        text = event_text(Event(data, "content", framed=framed))
        rest = () if then_ends else paced(b, behind, begun=True)
        yield from (streamed(call), *paced(b, before), chunked(text), *rest, LAST_CHUNK)

    return play


def content_filter_finish(call: Call, b: Behaviour) -> Iterator[Step]:
    """An answer that the provider's own filter cut short."""
    cut = "".join(answers.pieces(answers.answer(call, b)[0])[: b.after])
    short = replace(b, text=cut)
    if not is_stream(call):
        return whole(call, b, answers.whole(call, short, finish="content_filter"))
    if call.tongue is not None:
        return stream(call, b, call.tongue.events(call, short, finish="content_filter"))
    found = [
        Event(event.data.replace(b'"finish_reason":"stop"', b'"finish_reason":"content_filter"'), event.kind)
        for event in answers.events(call, short)
    ]
    return stream(call, b, found)


def truncated_body(call: Call, b: Behaviour) -> Iterator[Step]:
    """Promises a hundred bytes more than there are."""
    if is_stream(call):
        body = b"".join(map(event_text, answers.events(call, b)))
        yield head(200, SSE, length=len(body) + 100) + body
    else:
        body = body_of(call, b)
        yield head(200, JSON, length=len(body) + 100) + body
    yield End.CLOSE


def changed(change: Callable[[list[Event]], list[Event]]) -> Play:
    """A fault in which events are sent; a whole answer is good."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        if not is_stream(call):
            return well(call, b)
        return stream(call, b, change(answers.events(call, b)))

    return play


def without(kind: str) -> Callable[[list[Event]], list[Event]]:
    """Drop the events of a kind."""
    return lambda found: [event for event in found if event.kind != kind]


def twice(kinds: Iterable[str]) -> Callable[[list[Event]], list[Event]]:
    """Send the events of these kinds two times."""
    return lambda found: [event for event in found for _ in range(2 if event.kind in kinds else 1)]


def no_usage(call: Call, b: Behaviour) -> Iterator[Step]:
    """No usage, in a stream or a body."""
    if is_stream(call):
        return changed(without("usage"))(call, b)
    return whole(call, b, answers.whole(call, b, with_usage=False))
