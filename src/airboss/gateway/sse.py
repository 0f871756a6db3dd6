"""Server-sent events: cutting a byte stream into whole events without changing a byte. Pure.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from airboss.domain.errors import UpstreamFailed
from airboss.providers.cut import beginning
from airboss.providers.lenient import as_error, is_json

EVENT_BYTES_MAX = 8 * 1024 * 1024
# A carriage return counts alone only where no line feed follows: else "\r\n" would match as two line ends.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_BEGUN = 3
"""So many bytes of a blank line may have come before those that end it."""
_LINE = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
"""A mark of the byte order, which some write before UTF-8."""
_ERRORS = frozenset({b"event: error", b"event:error"})
SILENT_BYTES_MAX = 4 * 1024 * 1024
"""Of comments and blank lines, one after another."""
_EVENT_BYTES = 64
"""What there is to do about one, however short."""
NO_STREAM = (b"{", b"[", b"<")
"""How JSON and pages begin, and no event."""
_READABLE = (b":", b"event", b"id", b"retry")
"""How lines begin that have no data."""


def unmarked(pieces: Iterable[bytes]) -> bytes:
    """A body that has come in pieces, whole and without a mark of the byte order."""
    return b"".join(pieces).removeprefix(BOM)


class Splitter:
    """Cuts a stream into events. However the stream is cut into pieces, the events are the same, and joined
    with the remainder they are the bytes fed, but for a mark of the byte order before them."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._begun = False
        self._is_stream: bool | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes, each with the blank line that ends it.

        Raises UpstreamFailed for an event over EVENT_BYTES_MAX.
        """
        if not self._begun:
            data = self._without_mark(data)
        if not self._is_stream and not self._begins_stream(data):
            self._keep(data)
            return []
        if self._rest:
            # It may come in a million pieces: only one that may end it is looked at with all before.
            if _BLANK_LINE.search(self._rest[-_BEGUN:] + data) is None:
                self._keep(data)
                return []
            data = bytes(self._rest) + data
            self._rest = bytearray()
        if b"\r" in data:
            return self._feed_any(data)
        *events, rest = data.split(b"\n\n")
        if rest:
            self._keep(rest)
        return [event + b"\n\n" for event in events]

    def _without_mark(self, data: bytes) -> bytes:
        """The beginning of a stream, without a mark of the byte order; nothing while it may be one."""
        data = bytes(self._rest) + data
        self._rest = bytearray()
        if len(data) < len(BOM) and BOM.startswith(data):
            self._rest += data
            return b""
        self._begun = True
        return data.removeprefix(BOM)

    def _begins_stream(self, data: bytes) -> bool:
        """Whether it may be a stream. JSON and pages are the remainder, with blank lines before, within and
        behind them: no event begins so."""
        if self._is_stream is None and (begin := data.lstrip()[:1]):
            self._is_stream = begin not in NO_STREAM
        return self._is_stream is not False

    def _feed_any(self, data: bytes) -> list[bytes]:
        events = []
        at = 0
        for blank in _BLANK_LINE.finditer(data):
            if blank.end() == len(data) and data.endswith(b"\r"):
                # The line feed of this line's ending may still be on its way.
                break
            events.append(data[at : blank.end()])
            at = blank.end()
        self._keep(data[at:])
        return events

    def _keep(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > EVENT_BYTES_MAX:
            raise UpstreamFailed(f"the upstream sent an event of more than {EVENT_BYTES_MAX} bytes")

    def ending(self) -> bytes:
        """The blank line that the last event lacks, where the body has ended in order and all else of it is
        there: `[DONE]`, or a JSON object, whose beginning never is one. Nothing where that was cut."""
        data = event_data(self.rest) or b""
        return b"\n\n" if data == b"[DONE]" or (data[:1] == b"{" and is_json(data)) else b""

    def forget(self) -> None:
        """Let go of an event that has not ended: another stream goes on here."""
        self._rest = bytearray()
        self._is_stream = None

    @property
    def rest(self) -> bytes:
        """The bytes after the last whole event."""
        return bytes(self._rest)


def silence(before: tuple[float, int], since: float, event: bytes) -> tuple[float, int]:
    """Since when a stream has said nothing and in how many bytes, with `event`, which does not either. Raises
    UpstreamFailed for more than SILENT_BYTES_MAX: a small body unpacks to a hundred million of them."""
    size = len(event) + _EVENT_BYTES + (before[1] if before[0] == since else 0)
    if size > SILENT_BYTES_MAX:
        raise UpstreamFailed("the upstream sent events without data, one after another and without end")
    return since, size


def event_data(event: bytes) -> bytes | None:
    """The event's data, its `data` lines joined by line feeds; None where it has none (a comment, say). That
    of an `event: error` has a member `error`, if need be all that it says (`as_error`). Raises UpstreamFailed
    where something stands before it, so that it would be lost unseen."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n"):
        data = event[6:-2]
        if b"\n" not in data and b"\r" not in data:
            return data
    if event.startswith(b":") and event.count(b"\n") == 2 and b"\r" not in event:
        return None  # a comment, of which some servers send many
    lines = _LINE.split(event)
    said = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:") or line == b"data"]
    if not said and b"data:" in event:
        odd = next((line for line in lines if b"data:" in line and not line.startswith(_READABLE)), None)
        if odd is not None:
            raise UpstreamFailed(
                f"the upstream sent an event that cannot be read; it begins {beginning(odd, 40)!r}"
            )
    joined = b"\n".join(said)
    if joined and not _ERRORS.isdisjoint(lines):
        return as_error(joined)
    return joined if said else None


def keeps_alive(event: bytes) -> bool:
    """Whether an event without data is one by the rules of event streams, and no page or noise: of lines that
    they know, and in UTF-8, as which clients read every line."""
    try:
        event.decode()
    except UnicodeDecodeError:
        return False
    return all(not line or line.startswith(_READABLE) for line in _LINE.split(event))
