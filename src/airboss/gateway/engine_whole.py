"""The whole answer of a local engine, which is asked for a stream in any case."""

from __future__ import annotations

import time

from airboss.domain.errors import UpstreamFailed
from airboss.domain.request import Operation
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.base_answer import ANSWER_BYTES_MAX
from airboss.gateway.sse import Splitter, event_data
from airboss.providers.compatible import check_whole, error_in, read_reply
from airboss.providers.connection import Headers
from airboss.providers.engine_answer import EngineAnswer


class EngineWholeAnswer(WholeAnswer):
    """A whole answer that a local engine sends as a stream.

    Until the stream has ended nothing is the client's: a failure at any event is an ordinary error. `engine`
    is what has come of it.
    """

    def __init__(self, provider: str, *, operation: Operation, answers: int) -> None:
        super().__init__(provider)
        self.events = Splitter()
        self.engine = EngineAnswer(operation, n=answers)
        self._streamed = 0

    @property
    def usage_short(self) -> bool:
        """Whether less usage was reported than there are answers."""
        return self.engine.usage_short

    def produced(self) -> tuple[str, str]:
        """What has been said and what has been thought so far."""
        return self.engine.produced()

    def head(self, status: int, headers: Headers) -> None:
        """Keep the head."""
        super().head(status, headers)
        self._whole = not self.headers.get(b"content-type", b"").startswith(b"text/event-stream")

    def _take(self, data: bytes) -> None:
        if self._whole:
            super()._take(data)
            return
        self._streamed += len(data)
        if self._streamed > ANSWER_BYTES_MAX:
            raise UpstreamFailed(f"provider {self.provider!r} sent more than {ANSWER_BYTES_MAX} bytes")
        for event in self.events.feed(data):
            payload = event_data(event)
            if payload == b"[DONE]":
                self._end_of_stream()
                return
            if payload is not None and self.engine.add(payload):
                raise error_in(self.provider, payload)
            if self.first_output_at is None and self.engine.says_something:
                self.first_output_at = time.perf_counter()

    def _end_of_stream(self) -> None:
        missing = self.engine.unfinished
        if missing is not None:
            raise UpstreamFailed(
                f"provider {self.provider!r} ended its stream {missing}, without a finish_reason",
                code="stream_cut",
            )
        content = self.engine.whole()
        self.reply = reply = read_reply(content)
        check_whole(self.provider, reply)
        self._take_in(content, reply)

    def _end(self) -> None:
        if self._whole:
            super()._end()
            return
        raise UpstreamFailed(
            f"provider {self.provider!r} ended its stream {self.engine.unfinished or 'before its end'}",
            code="stream_cut",
        )
