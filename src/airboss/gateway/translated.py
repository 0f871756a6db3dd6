"""An answer in another dialect becomes one in OpenAI's, as it comes and before anything else reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airboss.dialects.heard import alone
from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.gateway.replay import is_stream, unasked_stream
from airboss.gateway.sse import NO_STREAM, Splitter, event_data, unmarked
from airboss.providers.aws_frames import AwsFrames
from airboss.providers.dialect import Frames, Outgoing

BODY_BYTES_MAX = 64 * 1024 * 1024
"""The largest body that is read whole."""


class Translation:
    """Takes one attempt's body in pieces. `feed` and `end` give back OpenAI's bytes: a whole body at its end,
    a stream's events as they come. After `feed`, `failure` is why nothing more can be read; what it gave back
    came before that."""

    def __init__(self, outgoing: Outgoing, *, status: int, created: int) -> None:
        assert outgoing.reader is not None  # else there is nothing to translate
        self._reader = outgoing.reader(created)
        self._status = status
        self._events: Frames | None = None
        self._aws = outgoing.framing == "aws"
        if outgoing.streams and status == 200:
            self._events = AwsFrames() if self._aws else Splitter()
        self._pieces: list[bytes] = []
        self._size = 0
        self._said = False
        self.failure: ApiError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take a piece."""
        if self._events is None:
            self._size += len(data)
            if self._size > BODY_BYTES_MAX:
                self.failure = UpstreamFailed(f"the upstream sent more than {BODY_BYTES_MAX} bytes")
            else:
                self._pieces.append(data)
            return b""
        if self._aws and not self._said and data.lstrip().startswith(NO_STREAM) and not self._events.rest:
            self._aws, self._events = False, Splitter()
        out: list[bytes] = []
        try:
            for event in self._events.feed(data):
                payload = event_data(event)
                if not payload:
                    out.append(event)  # a comment, say
                    continue
                self._said = True
                out.append(_events(self._reader.event(payload)))
        except ApiError as error:
            self.failure = error
        return b"".join(out)

    def end(self) -> bytes:
        """The body has ended. Raises ApiError."""
        if self._events is None:
            body = unmarked(self._pieces)
            if self._status != 200:
                return self._reader.error(self._status, body)
            self._events = self._frames_of(body)
            return self._reader.whole(body) if self._events is None else self._unasked(body)
        return self._ending(self._events)

    def _frames_of(self, body: bytes) -> Frames | None:
        """What cuts a body that was to be whole, where it is a stream."""
        if self._aws and body.startswith((b"\0", b"\1")):  # of a frame's length, which is no larger
            return AwsFrames()
        return Splitter() if is_stream(body) else None

    def _unasked(self, body: bytes) -> bytes:
        """The whole answer, or the error, of a stream that nobody asked for. Raises ApiError."""
        said = self.feed(body)
        if self.failure is not None:
            raise self.failure
        assert self._events is not None  # it has just cut them
        whole = unasked_stream(said + self._ending(self._events))
        return alone(whole) if whole.startswith(b"{") else whole

    def _ending(self, events: Frames) -> bytes:
        rest = events.rest
        if not self._said and (begin := rest.lstrip()[:1]) in NO_STREAM:
            # Not a stream at all: a whole answer or an error object, or else a page, with status 200.
            return (
                alone(self._reader.whole(rest)) if begin == b"{" else self._reader.error(self._status, rest)
            )
        last = self.feed(events.ending()) if isinstance(events, Splitter) and rest else b""
        if self.failure is not None:
            raise self.failure
        return last + _events(self._reader.end())

    def broke(self) -> bytes:
        """The end of a stream that broke, where its reason to stop had been said. Raises ApiError."""
        return _events(self._reader.end()) if self._events is not None else b""

    def told(self) -> dict[str, Any] | None:
        """The usage as far as it has been told."""
        return self._reader.told()

    @property
    def so_far(self) -> bytes:
        """What has come of a whole body."""
        return b"".join(self._pieces)


def _events(payloads: Iterable[bytes]) -> bytes:
    return b"".join([b"data: %s\n\n" % payload for payload in payloads])
