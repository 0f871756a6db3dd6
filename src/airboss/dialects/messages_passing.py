"""Anthropic's client in front of Anthropic: its bytes go there, and the answer's come back, as they are.

The answer is read as chat all the same, for record, usage and deadlines. What the client gets are the bytes
that were read, kept aside by `Heard` until that moment.
"""

from __future__ import annotations

import re

from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.chat_answer import encode

_TYPE = re.compile(rb'"type"\s*:\s*"([a-z_]{1,64})"')
_LAST = frozenset({b"message_delta", b"message_stop"})
"""Events that say how a message ended: a client gets them when the call's record is closed."""
NOTHING = encode({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]})
"""A piece of chat that says nothing: it moves what was heard on to the client."""


class Heard:
    """What an upstream said and the client has not got."""

    def __init__(self) -> None:
        self.whole: bytes | None = None
        self._events: list[bytes] = []
        self._last: list[bytes] = []

    def reset(self) -> None:
        """Another attempt begins."""
        self.whole = None
        self._events.clear()
        self._last.clear()

    def add(self, data: bytes) -> bytes:
        """An event's data; its type."""
        found = _TYPE.match(data, data.find(b'"type"'))
        type_ = found.group(1) if found is not None else b"message"
        into = self._last if type_ in _LAST else self._events
        into.append(b"event: %s\ndata: %s\n\n" % (type_, data))
        return type_

    def take(self) -> bytes:
        """The events that the client may have by now."""
        said = b"".join(self._events)
        self._events.clear()
        return said

    def end(self) -> bytes:
        """All that is left."""
        said = self.take() + b"".join(self._last)
        self._last.clear()
        return said


class PassingReader(AnthropicReader):
    """Reads one attempt's answer, and keeps it as it came."""

    def __init__(self, created: int, *, heard: Heard) -> None:
        super().__init__(created, answer_tool=None)
        self._heard = heard
        heard.reset()

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        chat = super().whole(body)
        self._heard.whole = body if body.isascii() else body.decode("utf-8", "replace").encode()
        return chat

    def event(self, data: bytes) -> list[bytes]:
        """One event. One that chat has no words for still moves the stream on, but for a ping, which says
        only that the connection is there."""
        said = super().event(data)
        type_ = self._heard.add(data)
        return said or ([] if type_ == b"ping" else [NOTHING])
