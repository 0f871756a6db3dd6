"""A client that does not speak chat: the gateway answers it in chat, and it hears its own dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from airboss.dialects.chat_said import no_pictures, too_many_calls
from airboss.dialects.speech import Speech
from airboss.domain.request import InferenceRequest
from airboss.gateway.outgoing import dropped_line
from airboss.gateway.sse import Splitter, event_data
from airboss.providers.compatible import Reply
from airboss.providers.lenient import CALLS_MAX

if TYPE_CHECKING:
    from airboss.gateway.answer import AnyAnswer

DONE = b"data: [DONE]\n\n"

Keep = Callable[[InferenceRequest, bytes | None], Awaitable[None]]
"""Keeps what a later call may build on: the chat request and the chat answer, both as they may be recorded.
Awaited before the record is closed and the client has its last byte. Never raises but for cancellation."""


class Client(Protocol):
    """Whoever is answered: a `gateway.http1.Connection`, whose methods these are."""

    on_writable: Callable[[bool], None] | None
    """Told when the client falls behind, and when it has caught up."""

    @property
    def writable(self) -> bool:
        """Whether it has not fallen behind."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole response."""

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """Begin a response whose length is not known, with its first piece."""

    def stream(self, data: bytes) -> None:
        """Send a piece of it; not empty."""

    def end_stream(self, last: bytes) -> None:
        """Send its last piece, which may be empty, and its end."""


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A call in the client's own words: `written` is its request, for the record."""

    speech: Speech
    written: bytes
    keep: Keep | None = None


class Between:
    """Stands between a client and what answers it; what it does not do itself is the client's."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def writable(self) -> bool:
        """As the connection's."""
        return self._client.writable

    @property
    def on_writable(self) -> Callable[[bool], None] | None:
        """As the connection's."""
        return self._client.on_writable

    @on_writable.setter
    def on_writable(self, told: Callable[[bool], None] | None) -> None:
        self._client.on_writable = told


class SpokenClient(Between):
    """Says chat's answers to a client in its dialect."""

    def __init__(self, client: Client, speech: Speech) -> None:
        super().__init__(client)
        self._speech = speech
        self._events = Splitter()

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer or an error."""
        said = self._speech.whole(body) if status == 200 else self._speech.error(status, body)
        self._client.respond(status, self._with_own(headers), said)

    def _with_own(self, headers: bytes) -> bytes:
        """The lines with ours; what was left out on the way to chat and from it stands in one."""
        dropped = dropped_line(self._speech.dropped)
        name = dropped[: dropped.find(b" ") + 1]
        if name and name in headers:
            headers, dropped = headers.replace(name, dropped.rstrip() + b", ", 1), b""
        return b"%srequest-id: %s\r\n%s" % (headers, self._speech.record_id.encode(), dropped)

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """Begin a stream with its first events."""
        self._client.start_stream(status, self._with_own(headers), self._said(first))

    def stream(self, data: bytes) -> None:
        """Send whole events on. Raises UpstreamFailed for what cannot be said."""
        said = self._said(data)
        if said:
            self._client.stream(said)

    def end_stream(self, last: bytes) -> None:
        """End well (`[DONE]`), or with an error."""
        if last == DONE:
            self._client.end_stream(self._speech.end())
        else:
            self._client.end_stream(self._speech.error_event(event_data(last) or b"{}"))

    def _said(self, data: bytes) -> bytes:
        said = []
        # These are whole events: one that ends in a carriage return has no line feed still on its way.
        for event in self._events.feed(data + b"\n" if data.endswith(b"\r") else data):
            payload = event_data(event)
            said.append(self._speech.keep_alive() if payload is None else self._speech.event(payload))
        return b"".join(said)


def refuse_unsayable(spoken: Spoken | None, answer: AnyAnswer) -> None:
    """Note that an answer is over. Raise UpstreamFailed or UpstreamRefused for a whole one that the client's
    dialect cannot be given whole; of a stream it is found out while it is said."""
    reply: Reply | None = getattr(answer, "reply", None)
    if spoken is not None:
        spoken.speech.over = True
    if spoken is None or spoken.speech.native or reply is None or not reply.choices:
        return
    message = reply.choices[0].message
    if message is not None and len(message.tool_calls or ()) > CALLS_MAX:
        answer.committed = False  # nothing of it is the client's
        raise too_many_calls()
    if message is not None and message.images and not spoken.speech.shows:
        answer.committed = False
        raise no_pictures()
