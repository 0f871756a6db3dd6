"""What senders of OTLP hear, in their encoding: what was not kept, and why a request was refused.

The few fields of these messages are written here: protobuf's library is 7 MB, and most workers never need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from airboss.domain.errors import ApiError
from airboss.gateway.wire import error_body

REASONS_MAX: Final = 8
NONE: Final[Mapping[str, int]] = {}
REJECTED: Final = {"spans": "rejectedSpans", "log records": "rejectedLogRecords"}
"""What each signal's answer calls how many were not kept."""
_CODES: Final[Mapping[int, int]] = {401: 16, 403: 7, 404: 5, 405: 12, 429: 8, 500: 13, 503: 14}
"""gRPC's codes by HTTP's; others are 3, a wrong argument."""


def content_type(*, as_json: bool) -> bytes:
    """The line of an encoding."""
    return b"content-type: application/json\r\n" if as_json else b"content-type: application/x-protobuf\r\n"


def answer(
    rejected: Mapping[str, int], what: str, *, as_json: bool, refused: Mapping[str, int] = NONE
) -> bytes:
    """An `ExportTraceServiceResponse` or its like, which names the reasons for which some of `what` were
    rejected, or evaluations in those that are kept `refused`. Empty where none was, as the protocol wants."""
    count = sum(rejected.values())
    told = [f"{n} {what}: {reason}" for reason, n in list(rejected.items())[:REASONS_MAX]]
    told += [f"{n} evaluations: {reason}" for reason, n in list(refused.items())[:REASONS_MAX]]
    text = "; ".join(told)
    if as_json:
        partial = {REJECTED[what]: str(count), "errorMessage": text}
        return msgspec.json.encode({"partialSuccess": partial} if told else {})
    return _text(1, _number(1, count) + _text(2, text.encode())) if told else b""


def refusal(error: ApiError, *, as_json: bool) -> bytes:
    """A `google.rpc.Status`; in JSON beside OpenAI's shape, which people's own clients look for."""
    code = _CODES.get(error.http_status, 3)
    said = msgspec.json.decode(error_body(error))
    message: str = said["error"]["message"]
    if as_json:
        return msgspec.json.encode({"code": code, "message": message, **said})
    return _number(1, code) + _text(2, message.encode())


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _text(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
