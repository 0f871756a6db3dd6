"""A stream of a local engine, and what becomes of an engine's answer for which there is no more time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from airboss.domain.errors import ApiError
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.gateway.attempts import OutOfTime
from airboss.gateway.engine_whole import EngineWholeAnswer
from airboss.gateway.spoken import DONE
from airboss.gateway.sse import Splitter, event_data
from airboss.providers.completed import PROGRESS
from airboss.providers.connection import Headers
from airboss.providers.engine_answer import VERBOSE, told

"""In an engine's event about the prompt. Inside of a text the last quote would have a backslash before it."""

_TOTAL = re.compile(rb'"prompt_progress":\s*\{[^{}]*"total":\s*([0-9]{1,9})\b')
_encode = msgspec.json.Encoder().encode


class _Events(Splitter):
    """Its events, without what they tell besides."""

    def feed(self, data: bytes) -> list[bytes]:
        """As `Splitter.feed`."""
        found = super().feed(data)
        return [self._told(each) if VERBOSE in each else each for each in found]

    @staticmethod
    def _told(event: bytes) -> bytes:
        payload = event_data(event)
        return b"data: %s\n\n" % told(payload) if payload else event


class EngineStreamedAnswer(StreamedAnswer):
    """A stream of a local engine, which also tells how it gets on with the prompt: asked for so that it
    notices a client that has gone, and kept from the client."""

    progress = b""
    """What it has told of that, last."""

    def head(self, status: int, headers: Headers) -> None:
        """Keep the head."""
        super().head(status, headers)
        if self.assembly.usage_sum is not None:  # an engine's, and no provider's
            self.events = _Events()

    def _event(self, event: bytes) -> bool:
        if PROGRESS not in event:
            return super()._event(event)
        self.progress = event
        return False


def ran_out(answer: AnyAnswer, error: ApiError) -> None:
    """Let an attempt's time have run out. What a local engine has said until then is an answer, of a length
    that was what there was time for: it ends as one that reaches its limit of tokens does, as it would have
    where the engine were quicker. Any other fails with `error`, and so does one that nobody reads."""
    if isinstance(error, OutOfTime) and answer.first_output_at is not None and not answer.paused:
        if isinstance(answer, EngineWholeAnswer):
            engine = answer.engine
            answer.events.forget()
            answer.body(_ending(engine.open, engine.progress, chat=engine.chat))
        elif isinstance(answer, EngineStreamedAnswer) and answer.assembly.usage_sum is not None:
            said = answer.assembly
            answer.events.forget()
            answer.body(_ending(said.open, answer.progress, chat=said.operation == "chat"))
    answer.fail(error)


def _ending(open_: Iterable[tuple[int, int]], progress: bytes, *, chat: bool) -> bytes:
    """The events with which an engine ends answers, each given by its number and its tokens, that reach their
    limit."""
    prompt = _TOTAL.search(progress)
    events: list[bytes] = []
    for index, tokens in open_:
        said: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        events.append(_encode({"choices": [{"index": index, "finish_reason": "length", **said}]}))
        if prompt is not None:
            used = {"prompt_tokens": int(prompt[1]), "completion_tokens": tokens}
            used["total_tokens"] = sum(used.values())
            events.append(_encode({"choices": [], "usage": used}))
    return b"".join([*(b"data: %s\n\n" % each for each in events), DONE])
