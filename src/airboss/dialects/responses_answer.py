"""Chat answers said as OpenAI's Responses: whole, and as a stream of events (`responses_stream`). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from airboss.dialects.chat_said import (
    Said,
    read_said,
)
from airboss.dialects.heard import both_heard, heard_in
from airboss.dialects.plain import plain_chat
from airboss.dialects.responses_heard import Heard
from airboss.dialects.responses_output import usage_of
from airboss.dialects.responses_passing import pass_on
from airboss.dialects.responses_request import Asked, history_in, read_responses
from airboss.dialects.responses_stream import Items, Stream, error_in, status_of
from airboss.dialects.responses_tools import Called
from airboss.dialects.speech import CHATS, Counts, Json, Passing, encode, in_own_words
from airboss.domain.errors import ApiError
from airboss.domain.plan import Target
from airboss.domain.release import Release

REASONS: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a response is incomplete."""
_NAMES: Mapping[str, str] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "logprobs": "include",
}
"""What was said in other words to chat."""


class ResponsesSpeech:
    """`dialects.speech.Speech` for one call of `/v1/responses`. `created_at` is a second since 1970; `rich`
    is whether the history has members that OpenAI's chat does not know. `kept` is set to False before the
    last word where the response is not kept after all. `history` are the messages of the responses that it
    builds on."""

    ranges = CHATS
    shows = True

    def __init__(
        self,
        asked: Asked,
        *,
        created_at: int,
        kept: bool,
        rich: bool = False,
        history: Sequence[msgspec.Raw] = (),
    ) -> None:
        self.record_id = ""
        self.estimate: Counts | None = None
        self.beyond, self.over = bool(asked.request.include), False
        self.unsaid: Sequence[ApiError] = asked.unsaid
        self.passes = self._passing = False
        self.screens = True
        self.asked, self.kept = asked, kept
        self._rich, self._history = rich, history
        self._left_out: tuple[str, ...] = ()
        self._heard = Heard(asked.request.previous_response_id)
        self._created_at = created_at
        self._stream: Stream | None = None
        self._choice: int | None = None
        """Which of the stream's choices is told: the first that came."""

    @property
    def response_id(self) -> str:
        """The response's id: who was heard has given it one."""
        return self._heard.id or f"resp_{self._hex}"

    @property
    def summarizes(self) -> bool:
        """Whether thoughts are said as the summary that was asked for, which is all of them."""
        wanted = self.asked.request.reasoning
        return wanted is not None and wanted.wanted_summary is not None

    def called(self) -> Mapping[str, Called]:
        """The items that calls are, by what they are called in chat."""
        return self.asked.called(self._history)

    @property
    def dropped(self) -> tuple[str, ...]:
        """As `Speech.dropped`."""
        if self._passing:
            return ()
        return (*(each.param for each in self.unsaid if each.param is not None), *self._left_out)

    @property
    def _hex(self) -> str:
        return self.record_id.replace("-", "")

    def item_id(self, kind: str, number: int = 0) -> str:
        """The id of an item; the same in a stream and in the whole answer."""
        return f"{kind}_{self._hex}" + (f"_{number}" if number else "")

    def call_id(self, number: int) -> str:
        """The id of a call that its server has not named."""
        return self.item_id("call", number)

    def passing(
        self, _written: bytes, target: Target, release: Release, lead: Sequence[Mapping[str, str]]
    ) -> Passing | None:
        """As `Speech.passing`."""
        passing = pass_on(self.asked, target, release, lead, self._history)
        self._passing = passing is not None
        return passing

    @property
    def native(self) -> bool:
        """As `Speech.native`."""
        return self._passing

    def screened(self, written: bytes, chat: bytes) -> None:
        """As `Speech.screened`."""
        self.asked = read_responses(written)
        self._history = history_in(chat, self.asked, len(self._history))

    def translated(self) -> None:
        """As `Speech.translated`."""
        self._passing = False

    def elsewhere(self, target: Target) -> None:  # noqa: ARG002 - it goes there in its own words
        """As `Speech.elsewhere`."""
        return

    def plain(self, chat: bytes, target: Target) -> bytes:
        """As `Speech.plain`; OpenAI's chat has no words for pictures that a model made."""
        self._left_out = ("images",) if self._rich and b'"images":[{"type":"image_url"' in chat else ()
        return plain_chat(chat, target, rich=self._rich)

    def told(self, chat: bytes, target: Target) -> bytes:  # noqa: ARG002 - as it is to all
        """As `Speech.told`."""
        return chat

    def whole(self, chat: bytes) -> bytes:
        """As `Speech.whole`."""
        if self._passing and (heard := heard_in(chat)) is not None:
            return self._heard.whole(heard[0], kept=self.kept)
        if self._heard.last is not None:  # of a stream, whose chat is not all that it was
            return self._heard.own(self._heard.last, kept=self.kept)
        said = self.as_told(read_said(chat, over=self.over))
        items = Items(self)
        items.add(said)
        items.settle(status_of(said.finish))
        return encode(
            self.response(
                status=status_of(said.finish),
                model=said.model,
                output=[each.item for each in items.listed],
                finish=said.finish,
                counts=said.counts or self.estimate or Counts(),
            )
        )

    def as_told(self, said: Said) -> Said:
        """A whole answer whose calls are numbered, named by ids and in the order in which a stream of it was
        told, if one was: pieces put together do not know how they came."""
        told = self._stream.calls if self._stream is not None else []
        if len(told) != len(said.calls):
            return said
        whole = {
            call.index: msgspec.structs.replace(piece, index=call.index, id=call.id)
            for call, piece in zip(sorted(told, key=lambda call: call.index), said.calls, strict=True)
        }
        return msgspec.structs.replace(said, calls=tuple(whole[call.index] for call in told))

    def response(
        self,
        *,
        status: str,
        model: str,
        output: list[Json],
        finish: str | None = None,
        counts: Counts | None = None,
        error: Json | None = None,
    ) -> Json:
        """The response object."""
        request = self.asked.request
        members = self.asked.members
        reason = REASONS.get(finish or "") if status == "incomplete" else None
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": {"reason": reason} if reason is not None else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": model or request.model,
            "output": output,
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "reasoning": {
                "effort": request.reasoning.effort if request.reasoning else None,
                "summary": request.reasoning.wanted_summary if request.reasoning else None,
            },
            "store": self.kept,
            "temperature": request.temperature,
            "text": members.get("text", {"format": {"type": "text"}}),
            "tool_choice": members.get("tool_choice", "auto"),
            "tools": members.get("tools", []),
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None if counts is None else usage_of(counts),
            "user": request.user,
        }

    def event(self, data: bytes) -> bytes:
        """As `Speech.event`."""
        if self._passing and (both := both_heard(data)) is not None:
            self.passes = True
            return b"".join(map(partial(self._heard.event, kept=self.kept), *both))
        if self.passes:
            return b""
        said = read_said(data, self._choice)
        self._choice = said.choice if self._choice is None else self._choice
        begun = b""
        if self._stream is None:
            self._stream = Stream(self, said.model)
            begun = self._stream.begin()
        return begun + self._stream.feed(said)

    def keep_alive(self) -> bytes:
        """As `Speech.keep_alive`."""
        return b": keep-alive\n\n"

    def end(self) -> bytes:
        """As `Speech.end`."""
        if self.passes:
            return self._heard.end(kept=self.kept)
        begun = b"" if self._stream is not None else self.event(b"{}")
        assert self._stream is not None  # begun just now, if not before
        return begun + self._stream.end()

    def error(self, status: int, body: bytes) -> bytes:  # noqa: ARG002 - other dialects look at the status
        """As `Speech.error`: errors are OpenAI's already."""
        return in_own_words(body, _NAMES)

    def error_event(self, body: bytes) -> bytes:
        """As `Speech.error_event`."""
        self.kept = False  # what failed never is
        if self.passes:
            return self._heard.fail(error_in(body))
        if self._stream is None:
            self._stream = Stream(self, "")
        return self._stream.fail(body)
