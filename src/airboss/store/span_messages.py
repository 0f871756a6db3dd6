"""What was said in a model call, where that comes apart from its span: as log records, in any order. Pure.

Such messages wait beside the calls that spans tell of (`waiting_calls`), each as a `Said`; a call whose span
says nothing of what was said waits a little longer than others. What is there when a call becomes a record
fills its bodies; what comes later stands below the call in its trace alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from airboss.domain.record import InferenceRecord, PolicyFinding
from airboss.store.joining import blank_record, read_record
from airboss.store.span_rows import NOTHING, Said, Span, SpanDetail, TraceSpan

CALLS_FOR: Final = timedelta(seconds=8)
"""So much longer a call waits for its messages: SDKs send log records every 5 s, and spans too."""
SAID_FOR: Final = timedelta(minutes=15)
"""So long messages wait for their call, whose span is sent when it ends."""
WAITING_MAX: Final = 65_536
"""Parts that wait; beyond that the oldest messages wait no more, and calls for none."""
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of messages in a request or an answer; they may come in many requests, each of such a size."""
READ_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""Of messages of one call: what is beyond that waits in the store, and is never read for it."""
SAID: Final = '{"said_in":'
"""What messages that wait begin with, and calls do not."""

_PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


class Texts(Protocol):
    """Opens what is sealed (`store.sealer`) where calls are put together of what came apart."""

    def waiting(self, span_id: str, payload: bytes) -> bytes:
        """What waits under this span's id, in the clear."""

    def span(self, span: SpanDetail) -> SpanDetail:
        """A span in the clear."""

    def record(self, record: InferenceRecord) -> InferenceRecord:
        """A record in the clear."""

    def again(self, payload: bytes, *given: bytes) -> bytes:
        """A record's JSON, sealed if anything was of what it was made of."""


class Plain:
    """Implements `Texts` where nothing is sealed."""

    def waiting(self, span_id: str, payload: bytes) -> bytes:  # noqa: ARG002 - the protocol's
        """As it is."""
        return payload

    def span(self, span: SpanDetail) -> SpanDetail:
        """As it is."""
        return span

    def record(self, record: InferenceRecord) -> InferenceRecord:
        """As it is."""
        return record

    def again(self, payload: bytes, *given: bytes) -> bytes:  # noqa: ARG002 - the protocol's
        """As it is."""
        return payload


PLAIN: Final = Plain()


class _Asked(msgspec.Struct):
    messages: list[msgspec.Raw] = []
    tools: list[Any] = []


class _Choice(msgspec.Struct):
    index: int
    message: dict[str, Any]
    finish_reason: str | None = None


class _Answered(msgspec.Struct):
    choices: list[_Choice] = []


_said: Final = msgspec.json.Decoder(Said)
_asked: Final = msgspec.json.Decoder(_Asked)
_answered: Final = msgspec.json.Decoder(_Answered)
_attributes: Final = msgspec.json.Decoder(dict[str, Any])


def waiting(span: Span, moved_at: datetime, *, patient: bool = True) -> tuple[datetime, str] | None:
    """What of a span waits, as JSON, and from when on it has waited long enough; None for most. `patient`: a
    call may wait for its messages."""
    if bytes(span.call) != b"null":
        return moved_at + CALLS_FOR if span.awaits and patient else moved_at, str(span.call, "utf-8")
    if bytes(span.said) != b"null":
        return moved_at + SAID_FOR, str(span.said, "utf-8")
    return None


def blank_waiting(payload: bytes) -> bytes:
    """The JSON of what waits without the person and without what was said."""
    if payload.startswith(SAID.encode()):
        return msgspec.json.encode(
            replace(_said.decode(payload), request=NOTHING, response=NOTHING, policy=())
        )
    return blank_record(payload)


def of_calls(calls: Iterable[str], spans: Iterable[TraceSpan], said: Iterable[str]) -> dict[str, list[str]]:
    """Which of these messages are of which of these calls, all of one trace, by the ids of their spans. Only
    the key that sent the call says what was said in it."""
    by_id = {span.id: span for span in spans}
    named = {(by_id[each].span_id, by_id[each].key): each for each in calls if each in by_id}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for each in said:
        span = by_id.get(each)
        call = named.get((span.parent_id or "", span.key)) if span is not None else None
        if call is not None:
            found[call].append(each)
    return found


def chosen(said: Sequence[str], sizes: Mapping[str, int]) -> Sequence[str]:
    """Which of a call's messages are read, by their ids and how many bytes they have: the last, which is the
    answer or all of it, and of the others the first within bounds."""
    room = READ_BYTES_MAX - sizes[said[-1]]
    for number, each in enumerate(said[:-1]):
        room -= sizes[each]
        if room < 0:
            return [*said[:number], said[-1]]
    return said


def filled_with(
    call: tuple[str, bytes], given: Mapping[str, bytes], span: SpanDetail, *, among: int, sealed: Texts
) -> bytes:
    """As `filled`, of what may be sealed: the call and its messages by the ids of their spans."""
    opened = [sealed.waiting(each, payload) for each, payload in given.items()]
    text = filled(sealed.waiting(*call), opened, sealed.span(span), among=among)
    return sealed.again(text, call[1], *given.values())


def filled(call: bytes, given: Collection[bytes], span: SpanDetail, *, among: int) -> bytes:
    """The record that a call becomes, as JSON, with the bodies that its span did not tell. `given` are those
    messages that were `chosen`, of so many."""
    try:
        return _filled(call, given, span, unread=among - len(given))
    except (ValueError, RecursionError):
        return call


def _filled(call: bytes, given: Iterable[bytes], span: SpanDetail, *, unread: int) -> bytes:
    record = read_record(call)
    said = sorted(map(_said.decode, given), key=lambda each: (each.at_ns, each.place))
    whole = [each for each in said if each.whole]
    if whole:  # who sends both says the same twice
        said, unread = whole[-1:], 0
    try:
        told = _attributes.decode(span.attributes)
    except ValueError:  # expired meanwhile
        told = {}
    changes: dict[str, Any] = {}
    messages, tools = _messages(said, unread)
    if messages and bytes(record.request) == b"null":
        request = {"model": record.model, **parameters(told), "messages": messages}
        changes["request"] = _raw(request | ({"tools": tools} if tools else {}))
    choices = _choices(said)
    if choices and bytes(record.response) == b"null":
        answer = {
            name: told[f"gen_ai.response.{name}"]
            for name in ("id", "model")
            if f"gen_ai.response.{name}" in told
        }
        changes["response"] = _raw({**answer, "choices": choices})
        changes["output_chars"] = sum(len(_text(each.message.get("content"))) for each in choices)
        if record.finish_reason is None:
            changes["finish_reason"] = next(
                (each.finish_reason for each in choices if each.finish_reason), None
            )
    if not changes:
        return call
    return msgspec.json.encode(
        replace(record, **changes, policy=_findings([record.policy, *(each.policy for each in said)]))
    )


def parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a request, by OpenAI's names."""
    return {
        name: given[f"gen_ai.request.{name}"] for name in _PARAMETERS if f"gen_ai.request.{name}" in given
    }


def _messages(said: Sequence[Said], unread: int) -> tuple[list[msgspec.Raw], list[Any]]:
    """What was asked, within bounds, and the tools that were offered; `unread` more were not read."""
    asked = [_asked.decode(each.request) for each in said if bytes(each.request) != b"null"]
    messages = [message for each in asked for message in each.messages]
    tools = next((each.tools for each in asked if each.tools), [])
    room, kept = BODY_BYTES_MAX, 0
    for message in messages:
        room -= len(bytes(message))
        if room < 0:
            break
        kept += 1
    left = len(messages) - kept + unread
    cut = [_raw({"role": "user", "content": f"[cut: {left} more messages]"})] if left else []
    return [*messages[:kept], *cut], tools


def _choices(said: Sequence[Said]) -> list[_Choice]:
    """What was answered, by its index, within bounds."""
    found: dict[int, _Choice] = {}
    room = BODY_BYTES_MAX
    for each in said:
        room -= len(bytes(each.response))
        if room >= 0 and bytes(each.response) != b"null":
            found |= {choice.index: choice for choice in _answered.decode(each.response).choices}
    return [found[index] for index in sorted(found)]


def _findings(listed: Iterable[Sequence[PolicyFinding]]) -> tuple[PolicyFinding, ...]:
    """What policies found in all of it, each kind at each place once."""
    found: dict[tuple[str, str, str], PolicyFinding] = {}
    for each in (finding for findings in listed for finding in findings):
        place = (each.kind, each.action, each.where)
        count = each.count + (found[place].count if place in found else 0)
        found[place] = replace(each, count=count)
    return tuple(found.values())


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else ""
