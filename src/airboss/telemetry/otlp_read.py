"""OTLP/HTTP traces, read: protobuf or JSON into plain spans, each by itself, within bounds.

A span that cannot be kept is rejected with its reason and the others are read. What is too long, too many or
too deep within a span is cut, and a mark says so: a span tells more with a cut attribute than not at all.
"""

from __future__ import annotations

import base64
import math
import re
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from airboss.telemetry.otlp_bounds import SPANS_MAX, check_json, check_protobuf

DEPTH_MAX: Final = 16
"""Of values within values."""
VALUES_MAX: Final = 4_096
"""Of a list or a map."""
NUMBERS_MAX: Final = 64
"""Of a list of numbers: longer ones are embeddings, which no person reads."""
NAME_CHARS_MAX: Final = 256
"""Of an attribute; what has a longer name is left out. A half of one may be half of a secret."""
ATTRIBUTES_MAX: Final = 1_024
EVENTS_MAX: Final = 128
"""Of a span: streams leave one for each piece."""
START_NS_MIN: Final = 1_262_304_000 * 10**9
"""2010: there was no OpenTelemetry before."""
AHEAD_NS_MAX: Final = 3_600 * 10**9
"""By how much the clock of who sends may be ahead of ours."""

Value = Any
"""A JSON value."""
T = TypeVar("T")


class RawEvent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Something that happened during a span; time in Unix nanoseconds."""

    at_ns: int
    name: str
    attributes: dict[str, Value]


class RawSpan(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A span as it was sent; ids in lower-case hex, times in Unix nanoseconds, `end_ns` not before
    `start_ns`. `status` is 0 (unset), 1 (ok) or 2 (error); `cut` counts what was left out of it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    events: list[RawEvent]
    status: int
    message: str
    flags: int
    cut: int
    resource: dict[str, Value]
    scope: str


class Rejecting(msgspec.Struct, kw_only=True):
    """What a request held, but for what is not kept: each reason with how many."""

    rejected: dict[str, int] = {}

    def reject(self, reason: str, count: int = 1) -> None:
        """Count what is not kept; fewer than one are none."""
        if count > 0:
            self.rejected[reason] = self.rejected.get(reason, 0) + count


class Reading(Rejecting):
    """What a request held: spans, and why others were rejected, each reason with how many."""

    spans: list[RawSpan]


class Wrong(ValueError):
    """Why a span is not kept."""


# -- protobuf


def read_protobuf(body: bytes, now_ns: int) -> Reading:
    """The spans of an `ExportTraceServiceRequest`. Raises ValueError where the bytes are none,
    BodyTooLarge."""
    request = parsed(ExportTraceServiceRequest(), body)
    found = Reading(spans=[])
    for of_resource in request.resource_spans:
        resource = attributes_of(of_resource.resource.attributes)[0]
        for of_scope in of_resource.scope_spans:
            scope = of_scope.scope.name[:NAME_CHARS_MAX]
            for span in of_scope.spans:
                try:
                    found.spans.append(_from_protobuf(span, resource, scope, now_ns))
                except Wrong as wrong:
                    found.reject(str(wrong))
    return found


def parsed(request: Any, body: bytes) -> Any:
    """A request of protobuf's, filled with what these bytes say. Raises ValueError where they are none of it,
    BodyTooLarge."""
    check_protobuf(body)
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return request


def _from_protobuf(span: Any, resource: dict[str, Value], scope: str, now_ns: int) -> RawSpan:
    start, end = checked_times(span.start_time_unix_nano, span.end_time_unix_nano, now_ns)
    attributes, cut = attributes_of(span.attributes)
    events = span.events
    parent = span.parent_span_id
    return RawSpan(
        trace_id=checked_id(span.trace_id, 16, "trace_id"),
        span_id=checked_id(span.span_id, 8, "span_id"),
        parent_id=checked_id(parent, 8, "parent_span_id") if any(parent) else None,
        name=span.name,
        kind=span.kind,
        start_ns=start,
        end_ns=end,
        attributes=attributes,
        events=[
            RawEvent(each.time_unix_nano, each.name, attributes_of(each.attributes)[0])
            for each in events[:EVENTS_MAX]
        ],
        status=span.status.code,
        message=span.status.message,
        flags=span.flags,
        cut=cut + max(0, len(events) - EVENTS_MAX) + span.dropped_attributes_count,
        resource=resource,
        scope=scope,
    )


def attributes_of(pairs: Any) -> tuple[dict[str, Value], int]:
    """Attributes by name, and how many were left out."""
    kept = [each for each in pairs[:ATTRIBUTES_MAX] if len(each.key) <= NAME_CHARS_MAX]
    return {each.key: value_of(each.value) for each in kept}, len(pairs) - len(kept)


def value_of(value: Any, depth: int = 0) -> Value:
    """A value as JSON has it, cut where it is too deep or too long."""
    which = value.WhichOneof("value")
    if which == "array_value":
        values = value.array_value.values
        if len(values) > NUMBERS_MAX and values[0].WhichOneof("value") in {"double_value", "int_value"}:
            return f"[cut: {len(values)} numbers]"
        return _list([value_of(each, depth + 1) for each in values[: _room(depth)]], len(values))
    if which == "kvlist_value":
        pairs = value.kvlist_value.values
        return {
            each.key: value_of(each.value, depth + 1)
            for each in pairs[: _room(depth)]
            if len(each.key) <= NAME_CHARS_MAX
        }
    return None if which is None else _plain(getattr(value, which))


# -- JSON: null stands for a field's default, as in all protobuf in JSON


class AnyValue(msgspec.Struct, rename="camel"):
    """One of these."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _Array | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Array(msgspec.Struct):
    values: list[AnyValue] | None = None


class Pair(msgspec.Struct):
    """An attribute."""

    key: str | None = None
    value: AnyValue | None = None


class _Pairs(msgspec.Struct):
    values: list[Pair] | None = None


class _Event(msgspec.Struct, rename="camel"):
    time_unix_nano: int | str | None = None
    name: str | None = None
    attributes: list[Pair] | None = None


class _Status(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[Pair] | None = None
    events: list[_Event] | None = None
    status: _Status | None = None
    flags: int | None = None
    dropped_attributes_count: int | None = None


class _Scope(msgspec.Struct):
    name: str | None = None


class _ScopeSpans(msgspec.Struct):
    spans: list[msgspec.Raw] | None = None
    scope: _Scope | None = None


class Resource(msgspec.Struct):
    """What sends."""

    attributes: list[Pair] | None = None


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


_requests: Final = msgspec.json.Decoder(_Request)
_spans: Final = msgspec.json.Decoder(_Span)
_HALF: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
"""The first half of a character without the second, and the other way round, as JSON escapes them."""
_STATUSES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


def read_json(body: bytes, now_ns: int) -> Reading:
    """The spans of the same request as JSON. Raises ValueError where it is none; one span that is wrong is
    rejected alone. Raises BodyTooLarge, too."""
    request = decoded_whole(_requests, body)
    found = Reading(spans=[])
    for of_resource in request.resource_spans or ():
        resource = json_attributes(of_resource.resource.attributes if of_resource.resource else None)[0]
        for of_scope in of_resource.scope_spans or ():
            scope = (of_scope.scope.name or "")[:NAME_CHARS_MAX] if of_scope.scope is not None else ""
            spans = of_scope.spans or []
            for raw in spans[:SPANS_MAX]:
                try:
                    found.spans.append(_from_json(decoded(_spans, raw), resource, scope, now_ns))
                except (ValueError, RecursionError) as error:
                    found.reject(str(error)[:200])
            found.reject(f"more than {SPANS_MAX} in one scope", len(spans) - SPANS_MAX)
    return found


def decoded_whole(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A request in JSON, read. Raises as `parsed`."""
    check_json(body)
    try:
        return decoded(decoder, body)
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def decoded(decoder: msgspec.json.Decoder[T], text: bytes | msgspec.Raw) -> T:
    """What a text says. Halves of characters, which who cuts texts leaves behind, are replaced. Raises
    ValueError, RecursionError."""
    try:
        return decoder.decode(text)
    except msgspec.DecodeError:
        raw = bytes(text)
        if rb"\u" not in raw or b"\0" in raw:
            raise
        # Escaped backslashes stand aside as what no JSON holds, so that each that is left begins an escape.
        mended = _HALF.sub(rb"\\ufffd", raw.replace(rb"\\", b"\0\1")).replace(b"\0\1", rb"\\")
        if mended == raw:
            raise
        return decoder.decode(mended)


def _from_json(span: _Span, resource: dict[str, Value], scope: str, now_ns: int) -> RawSpan:
    start, end = checked_times(whole(span.start_time_unix_nano), whole(span.end_time_unix_nano), now_ns)
    attributes, cut = json_attributes(span.attributes)
    parent = unhex(span.parent_span_id or "", "parentSpanId")
    status = span.status or _Status()
    events = span.events or []
    kind = span.kind.removeprefix("SPAN_KIND_") if isinstance(span.kind, str) else span.kind or 0
    return RawSpan(
        trace_id=checked_id(unhex(span.trace_id or "", "traceId"), 16, "traceId"),
        span_id=checked_id(unhex(span.span_id or "", "spanId"), 8, "spanId"),
        parent_id=checked_id(parent, 8, "parentSpanId") if any(parent) else None,
        name=span.name or "",
        kind=kind if isinstance(kind, int) else _KINDS.index(kind) if kind in _KINDS else 0,
        start_ns=start,
        end_ns=end,
        attributes=attributes,
        events=[
            RawEvent(
                whole(each.time_unix_nano),
                each.name or "",
                json_attributes(each.attributes)[0],
            )
            for each in events[:EVENTS_MAX]
        ],
        status=_STATUSES.get(status.code, 0) if isinstance(status.code, str) else status.code or 0,
        message=status.message or "",
        flags=span.flags or 0,
        cut=cut + max(0, len(events) - EVENTS_MAX) + (span.dropped_attributes_count or 0),
        resource=resource,
        scope=scope,
    )


def json_attributes(pairs: list[Pair] | None) -> tuple[dict[str, Value], int]:
    """As `attributes_of`. Raises ValueError."""
    listed = pairs or []
    kept = [each for each in listed[:ATTRIBUTES_MAX] if len(each.key or "") <= NAME_CHARS_MAX]
    return {each.key or "": json_value(each.value) for each in kept}, len(listed) - len(kept)


def json_value(value: AnyValue | None, depth: int = 0) -> Value:
    """As `value_of`. Raises ValueError."""
    if value is None:
        value = AnyValue()
    if value.array_value is not None:
        values = value.array_value.values or []
        first = values[0] if len(values) > NUMBERS_MAX else None
        if first is not None and not first.double_value is first.int_value is None:
            return f"[cut: {len(values)} numbers]"
        return _list([json_value(each, depth + 1) for each in values[: _room(depth)]], len(values))
    if value.kvlist_value is not None:
        pairs = (value.kvlist_value.values or [])[: _room(depth)]
        return {
            each.key or "": json_value(each.value, depth + 1)
            for each in pairs
            if len(each.key or "") <= NAME_CHARS_MAX
        }
    if value.double_value is not None:
        return _plain(float(value.double_value))
    if value.int_value is not None:
        return whole(value.int_value)
    found = (value.string_value, value.bool_value, value.bytes_value)
    return next((each for each in found if each is not None), None)


def whole(number: int | str | None) -> int:
    """A 64-bit number, which JSON may write as a string."""
    if isinstance(number, str) and len(number) > 20:
        raise Wrong("a number has more than 20 digits")
    found = int(number or 0)
    if not -(2**63) <= found < 2**64:
        raise Wrong("a number is beyond 64 bits")
    return found


def unhex(text: str, what: str) -> bytes:
    """An id as bytes. Raises Wrong."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Wrong(f"{what} is not hex") from None


# -- both


def checked_id(value: bytes, length: int, what: str) -> str:
    """An id in hex. Raises Wrong for one that is none."""
    if len(value) != length or not any(value):
        raise Wrong(f"{what} is not {length} bytes of which one at least is not zero")
    return value.hex()


def checked_times(start: int, end: int, now_ns: int) -> tuple[int, int]:
    """These two, in nanoseconds. Raises Wrong for what cannot be."""
    if start < START_NS_MIN or end < START_NS_MIN:
        raise Wrong("a time is missing, or before 2010")
    if max(start, end) > now_ns + AHEAD_NS_MAX:
        raise Wrong("a time is more than an hour ahead")
    if end < start:
        raise Wrong("it ends before it starts")
    return start, end


def _room(depth: int) -> int:
    """How many values are read at a depth."""
    return VALUES_MAX if depth < DEPTH_MAX else 0


def _list(values: list[Value], length: int) -> list[Value]:
    """A list, with a mark where some of it was cut off."""
    return values if length == len(values) else [*values, f"[cut: {length - len(values)} more]"]


def _plain(value: Any) -> Value:
    """A value without others in it, as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
