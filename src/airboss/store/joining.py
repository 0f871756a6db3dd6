"""From a journal's two frames to the record of a call. Bodies pass through as the JSON text they came as."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from airboss.domain.ports import JournalMove, WatchedCall
from airboss.domain.record import ClosedCall, InferenceRecord, OpenedCall
from airboss.domain.score import Score
from airboss.store.opinions import wordless
from airboss.store.span_answers import call_span
from airboss.store.span_rows import NOTHING, Said, Span, span_key, trace_key

T = TypeVar("T")

ORPHANS_MAX: Final = 1000
"""How many orphans a log gives at once; the rest come once these are closed."""

_ID_FIRST: Final = b'{"id":"'


# msgspec (0.22) writes a field typed `Raw | None` but cannot read one: where the domain's types have such a
# field, these say what is read.
class _OpenFrame(OpenedCall, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    request: msgspec.Raw = NOTHING
    erased: bool = False  # its person was: what it answers is not kept either


class _CloseFrame(ClosedCall, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    response: msgspec.Raw = NOTHING


class StoredRecord(InferenceRecord, frozen=True, kw_only=True, gc=False):
    """A record whose bodies are still JSON text; `null` where there is none."""

    request: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A call with every score of it, as it is moved."""

    record: InferenceRecord
    scores: tuple[Score, ...] = ()


class _Named(msgspec.Struct, frozen=True):
    id: str


_named: Final = msgspec.json.Decoder(_Named)
_open_frames: Final = msgspec.json.Decoder(_OpenFrame)
_close_frames: Final = msgspec.json.Decoder(_CloseFrame)
_records: Final = msgspec.json.Decoder(StoredRecord)
_scores: Final = msgspec.json.Decoder(Score)
_spans: Final = msgspec.json.Decoder(Span)
_said: Final = msgspec.json.Decoder(Said)


def call_of(payload: bytes) -> str:
    """The id of the call that an open or close frame tells of; a gateway writes it first, so that nothing
    behind it is read. Raises ValueError if it tells of none."""
    if payload.startswith(_ID_FIRST):
        name = payload[len(_ID_FIRST) : payload.find(b'"', len(_ID_FIRST))]
        if b"\\" not in name:
            return name.decode()
    return _decoded(_named, payload).id


def read_opened(payload: bytes) -> OpenedCall:
    """The call that an open frame tells of. Raises ValueError if it tells of none."""
    return _decoded(_open_frames, payload)


def read_closed(payload: bytes) -> ClosedCall:
    """The end that a close frame tells of. Raises ValueError if it tells of none."""
    return _decoded(_close_frames, payload)


def read_record(payload: bytes) -> StoredRecord:
    """The record that this JSON is. Raises ValueError if it is none."""
    return _decoded(_records, payload)


def read_score(payload: bytes) -> Score:
    """The feedback that a score frame tells of. Raises ValueError if it tells of none."""
    return _decoded(_scores, payload)


def read_span(payload: bytes) -> Span:
    """The span that a span frame tells of. Raises ValueError if it tells of none."""
    span = _decoded(_spans, payload)
    trace_key(span.trace_id)
    span_key(span.span_id)
    if bytes(span.call) != b"null":
        read_record(bytes(span.call))
    if bytes(span.said) != b"null":
        _decoded(_said, bytes(span.said))
    return span


def gateway_span(opened: OpenedCall, closed: ClosedCall) -> Span | None:
    """The span that a call of the gateway is in the trace that it came with; None if it came with none."""
    if opened.trace_id is None:
        return None
    parent, _, flags = (opened.trace_parent or "").partition("-")
    try:
        trace_key(opened.trace_id)
    except ValueError:
        return None
    sampled = flags == "" or bool(int(flags, 16) & 1)
    return call_span(opened, closed, trace_id=opened.trace_id, parent_id=parent or None, sampled=sampled)


def blank_span(span: Span) -> bytes:
    """The JSON of an app's span without the person and what was said; its kind is its name from then on, and
    the call that it tells of keeps its numbers. No longer than the frame it was, but where this named nobody
    and had a shorter name."""
    texts = dict.fromkeys(("attributes", "events", "said"), NOTHING)
    person = dict.fromkeys(("user", "session", "message"))
    call = NOTHING if bytes(span.call) == b"null" else msgspec.Raw(blank_record(bytes(span.call)))
    blank = msgspec.structs.replace(span, name=span.kind, awaits=False, call=call, **person, **texts)
    return msgspec.json.encode(blank)


def join(opened: OpenedCall, closed: ClosedCall) -> StoredRecord:
    """The record of one call. Raises ValueError unless both are of one call."""
    if opened.id != closed.id:
        raise ValueError(f"the frames of two calls, {opened.id} and {closed.id}, cannot be joined")
    return StoredRecord(
        id=opened.id,
        started_at=opened.started_at,
        deployment=opened.deployment,
        release=opened.release,
        arm=opened.arm,
        plan=opened.plan,
        model=opened.model if closed.model is None else closed.model,
        provider=opened.provider if closed.provider is None else closed.provider,
        key=opened.key,
        user=opened.user,
        session=opened.session,
        operation=opened.operation,
        stream=opened.stream,
        status=closed.status,
        error_type=closed.error_type,
        finish_reason=closed.finish_reason,
        input_tokens=closed.input_tokens,
        output_tokens=closed.output_tokens,
        cached_input_tokens=closed.cached_input_tokens,
        cache_write_tokens=closed.cache_write_tokens,
        reasoning_tokens=closed.reasoning_tokens,
        usage_estimated=closed.usage_estimated,
        cost_usd=closed.cost_usd,
        latency_ms=closed.latency_ms,
        ttft_ms=closed.ttft_ms,
        overhead_ms=closed.overhead_ms,
        output_chars=closed.output_chars,
        attempts=closed.attempts,
        cache=closed.cache,
        policy=closed.policy,
        tags=opened.tags,
        scores={},
        trace_id=opened.trace_id,
        request=NOTHING if opened.request is None else opened.request,
        response=NOTHING if closed.response is None or is_erased(opened) else closed.response,
    )


def calls_within(move: JournalMove) -> list[tuple[OpenedCall, ClosedCall]]:
    """The calls that a move brings both frames of. Raises ValueError."""
    return [
        (read_opened(move.opened[each]), read_closed(end))
        for each, end in move.closed.items()
        if each in move.opened
    ]


def blank_opened(opened: OpenedCall) -> bytes:
    """The JSON of an open frame without the person: no body, user, session or tags. Whatever close is joined
    to it loses its body too. Never longer than the frame it was."""
    fields = {name: getattr(opened, name) for name in OpenedCall.__struct_fields__}
    fields |= {"user": None, "session": None, "tags": {}, "request": NOTHING}
    return msgspec.json.encode(_OpenFrame(**fields, erased=True))


def is_erased(opened: OpenedCall) -> bool:
    """Whether the frame was blanked."""
    return isinstance(opened, _OpenFrame) and opened.erased


def blank_closed(closed: ClosedCall) -> bytes:
    """The JSON of a close frame without its body. Never longer than the frame it was."""
    fields = {name: getattr(closed, name) for name in ClosedCall.__struct_fields__}
    return msgspec.json.encode(_CloseFrame(**fields | {"response": NOTHING, "user": None}))


def blank_record(payload: bytes) -> bytes:
    """The JSON of a record without the person and without bodies; costs and numbers stay."""
    nothing: dict[str, Any] = {
        "user": None,
        "session": None,
        "tags": {},
        "request": NOTHING,
        "response": NOTHING,
    }
    return msgspec.json.encode(msgspec.structs.replace(read_record(payload), **nothing))


def blank_score(score: Score) -> bytes:
    """The JSON of feedback without who gave it and what they wrote. Never longer than the frame it was."""
    left = msgspec.structs.asdict(wordless(score))
    return msgspec.json.encode({name: value for name, value in left.items() if value is not None})


def body(text: str | bytes | None) -> Any:
    """The value that a body's JSON text has; the text itself where msgspec reads no value in it (a number
    beyond a double, say), so that a strange body is shown rather than lost."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else text.decode(errors="replace")


def _decoded(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def as_open(opened: OpenedCall) -> WatchedCall:
    """A call that has only begun."""
    return WatchedCall(
        id=opened.id,
        started_at=opened.started_at,
        release=opened.release,
        arm=opened.arm,
        plan=opened.plan,
        user=opened.user,
        session=opened.session,
        open=True,
    )


def interrupted(opened: OpenedCall, now: datetime) -> ClosedCall:
    """The close of a call whose worker died: an error of type `interrupted`, its usage unknown. It may have
    run until now."""
    return ClosedCall(
        id=opened.id,
        status="error",
        error_type="interrupted",
        usage_estimated=True,
        latency_ms=max(0.0, (now - opened.started_at).total_seconds() * 1000),
        overhead_ms=0.0,
    )
