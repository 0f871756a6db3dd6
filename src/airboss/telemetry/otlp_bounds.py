"""How much a request of OTLP may hold, looked at before it is read: two bytes are a span to protobuf, which
takes a hundred for it. Pure."""

from __future__ import annotations

from typing import Final

from airboss.domain.errors import BodyTooLarge, InvalidRequest

SPANS_MAX: Final = 10_000
"""Spans, or log records with messages, that are kept of a request; clients send some hundreds."""
ENTRIES_MAX: Final = 50_000
"""Resources, scopes and spans (or log records) of a request in protobuf."""
OBJECTS_MAX: Final = 1_000_000
"""Braces that open in a request in JSON: an attribute has two."""

_CONTAINERS: Final = (1, 2)
"""The fields that hold resources, and scopes in these; spans (or log records) are in 2 of a scope again."""


def check_protobuf(body: bytes) -> None:
    """Raises BodyTooLarge for a request of too many entries. What is no protobuf is refused elsewhere."""
    left = ENTRIES_MAX
    at_level = [(0, len(body))]
    for field in _CONTAINERS:
        below: list[tuple[int, int]] = []
        for start, end in at_level:
            left -= _fields(body, start, end, wanted=field, found=below, left=left)
        at_level = below
    for start, end in at_level:
        left -= _fields(body, start, end, wanted=0, found=[], left=left)


def _fields(body: bytes, at: int, end: int, *, wanted: int, found: list[tuple[int, int]], left: int) -> int:
    """How many fields a message has; where those that are messages of this number stand is added to `found`.
    Raises BodyTooLarge for more than `left`."""
    count = 0
    while at < end:
        count += 1
        if count > left:
            raise BodyTooLarge(
                f"there are more than {ENTRIES_MAX} spans or log records, scopes and resources in one "
                "request; send fewer at once"
            )
        tag, at = _varint(body, at, end)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(body, at, end)
            if tag >> 3 == wanted:
                found.append((at, min(end, at + length)))
            at += length
        elif kind == 0:
            _, at = _varint(body, at, end)
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
        else:
            raise InvalidRequest("the body is no OTLP: it has groups, which no version of that has")
    return count


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and where it ends; cut off, it ends with the message."""
    value = shift = 0
    while at < end and shift < 70:
        value |= (body[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 0x80:
            return value, at
    return value, end


def check_json(body: bytes) -> None:
    """The same of a request in JSON."""
    if body.count(b"{") > OBJECTS_MAX:
        raise BodyTooLarge(f"there are more than {OBJECTS_MAX} objects in one request; send fewer at once")
