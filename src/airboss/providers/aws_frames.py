"""AWS's event stream: binary frames with checksums, cut into JSON events. Pure.

A frame is its length and its headers' length (4 bytes each, big-endian), a CRC-32 of the two, headers, a
payload and a CRC-32 of all before it. A header is the length of its name, the name, a type and a value; the
type of those that are read is text (7), with two bytes of length before it.
Format: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import msgspec

from airboss.domain.errors import UpstreamFailed

FRAME_BYTES_MAX = 16 * 1024 * 1024
_PRELUDE = 12
_TEXT = 7
_FAILURES = frozenset({"exception", "error"})
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""How many bytes the values of other types have; 6 and 7 say it themselves."""


class AwsFrames:
    """Cuts the stream. Each event is `data: {"TYPE": PAYLOAD}` with a blank line after it, where TYPE is the
    frame's `:event-type`. A failure has its `:exception-type` or `:error-code`, and `"failed": true` behind.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes. Raises UpstreamFailed for a frame that is broken or too large."""
        rest = self._rest
        rest += data
        found = []
        at = 0
        while len(rest) - at >= _PRELUDE:
            size, headers_size, checked = struct.unpack_from(">III", rest, at)
            if checked != zlib.crc32(rest[at : at + 8]) or not _PRELUDE + 4 + headers_size <= size:
                raise UpstreamFailed("the upstream sent a broken event-stream frame")
            if size > FRAME_BYTES_MAX:
                raise UpstreamFailed(f"the upstream sent a frame of more than {FRAME_BYTES_MAX} bytes")
            if len(rest) - at < size:
                break
            frame = bytes(rest[at : at + size])
            at += size
            if struct.unpack_from(">I", frame, size - 4)[0] != zlib.crc32(frame[: size - 4]):
                raise UpstreamFailed("the upstream sent an event-stream frame with a wrong checksum")
            headers = _headers(frame[_PRELUDE : _PRELUDE + headers_size])
            found.append(b"data: {%s}\n\n" % _members(headers, frame[_PRELUDE + headers_size : -4]))
        del rest[:at]
        return found

    @property
    def rest(self) -> bytes:
        """The bytes after the last whole frame."""
        return bytes(self._rest)


def _members(headers: Mapping[str, str], payload: bytes) -> bytes:
    """What an event says."""
    name = headers.get(":exception-type") or headers.get(":event-type") or "unknown"
    if headers.get(":message-type") == "error":  # one that the service has no type for
        name = headers.get(":error-code", name)
        payload = msgspec.json.encode({"message": headers.get(":error-message")})
    # Line ends are white space in JSON, and would end the event's line.
    said = b"%s:%s" % (msgspec.json.encode(name), payload.translate(_ONE_LINE) or b"{}")
    return said + b',"failed":true' if headers.get(":message-type") in _FAILURES else said


def _headers(data: bytes) -> dict[str, str]:
    """The headers that are text."""
    found = {}
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode("latin-1")
            at += 1 + data[at]
            kind = data[at]
            at += 1
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            (size,) = struct.unpack_from(">H", data, at)
            if kind == _TEXT:
                found[name] = data[at + 2 : at + 2 + size].decode("utf-8", "replace")
            at += 2 + size
    except (IndexError, struct.error):
        raise UpstreamFailed("the upstream sent an event-stream frame with broken headers") from None
    return found
