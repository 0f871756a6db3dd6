"""Chat answers said as OpenAI's Responses: whole, and as a stream of events. Pure.

Events: https://platform.openai.com/docs/api-reference/responses-streaming. Each has a `sequence_number`;
items are told apart by `output_index` and `item_id`, so that several calls of functions may grow at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import proxy

import msgspec

from airboss.dialects.chat_said import (
    CHARS_MAX,
    TOO_LARGE,
    CallJoin,
    CallPiece,
    JoinedCall,
    Said,
    read_error_said,
    read_said,
)
from airboss.dialects.heard import both_heard, heard_in
from airboss.dialects.plain import plain_chat
from airboss.dialects.responses_custom import custom_names, input_of
from airboss.dialects.responses_heard import Heard
from airboss.dialects.responses_items import is_cut
from airboss.dialects.responses_output import CUSTOM_CALL, FUNCTION_CALL, PARTS, PREFIX, Item, Text, usage_of
from airboss.dialects.responses_passing import pass_on
from airboss.dialects.responses_request import Asked, history_in, read_responses
from airboss.dialects.speech import CHATS, Counts, Json, Passing, encode, in_own_words, sse
from airboss.domain.errors import ApiError, UpstreamFailed
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
ITEM_CHARS = 256
"""What an item counts for beside what it says."""


class ResponsesSpeech:
    """`dialects.speech.Speech` for one call of `/v1/responses`. `created_at` is a second since 1970; `rich`
    is whether the history has members that OpenAI's chat does not know. `kept` is set to False before the
    last word where the response is not kept after all. `history` are the messages of the responses that it
    builds on."""

    ranges = CHATS

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
        self.beyond = bool(asked.request.include)
        self.unsaid: Sequence[ApiError] = asked.unsaid
        self.passes = self._passing = False
        self.screens = True
        self.asked, self.kept = asked, kept
        self._rich, self._history = rich, history
        self._heard = Heard(asked.request.previous_response_id)
        self._created_at = created_at
        self._stream: _Stream | None = None

    @property
    def response_id(self) -> str:
        """The response's id: who was heard has given it one."""
        return self._heard.id or f"resp_{self._hex}"

    @property
    def dropped(self) -> tuple[str, ...]:
        """As `Speech.dropped`."""
        return () if self._passing else tuple(each.param for each in self.unsaid if each.param is not None)

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

    def plain(self, chat: bytes, kind: str) -> bytes:
        """As `Speech.plain`."""
        return plain_chat(chat, kind, rich=self._rich)

    def whole(self, chat: bytes) -> bytes:
        """As `Speech.whole`."""
        if self._passing and (heard := heard_in(chat)) is not None:
            return self._heard.whole(heard[0])
        if self._heard.last is not None:  # of a stream, whose chat is not all that it was
            return self._heard.last
        said = self.as_told(read_said(chat))
        items = _Items(self)
        items.add(said)
        items.settle(_status(said.finish))
        return encode(
            self.response(
                status=_status(said.finish),
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
                "summary": None,
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
            return b"".join(map(self._heard.event, *both))
        if self.passes:
            return b""
        said = read_said(data)
        begun = b""
        if self._stream is None:
            self._stream = _Stream(self, said.model)
            begun = self._stream.begin()
        return begun + self._stream.feed(said)

    def keep_alive(self) -> bytes:
        """As `Speech.keep_alive`."""
        return b": keep-alive\n\n"

    def end(self) -> bytes:
        """As `Speech.end`."""
        if self.passes:
            return self._heard.end()
        begun = b"" if self._stream is not None else self.event(b"{}")
        assert self._stream is not None  # begun just now, if not before
        return begun + self._stream.end()

    def error(self, status: int, body: bytes) -> bytes:  # noqa: ARG002 - other dialects look at the status
        """As `Speech.error`: errors are OpenAI's already."""
        return in_own_words(body, _NAMES)

    def error_event(self, body: bytes) -> bytes:
        """As `Speech.error_event`."""
        if self.passes:
            return self._heard.fail(_error_in(body))
        if self._stream is None:
            self._stream = _Stream(self, "")
        return self._stream.fail(body)


def _error_in(body: bytes) -> Json:
    said = read_error_said(body)
    return {"code": said.code or said.type, "message": said.message, "param": said.param, "type": said.type}


def _status(finish: str | None) -> str:
    """How a response ended."""
    return "incomplete" if is_cut(finish) else "completed"


class _Items:
    """The output. What happens to it is told to `_told`, which a stream makes events of."""

    def __init__(self, speech: ResponsesSpeech) -> None:
        self._speech = speech
        self._custom = custom_names(speech.asked.request.tools)
        self._joined = CallJoin()
        self._by_call: dict[int, Item] = {}
        self._sent: dict[int, int] = {}
        self._growing: tuple[Text, str] | None = None
        self._chars = 0
        self._opened: Counter[str] = Counter()
        """Items of each kind."""
        self.listed: list[Item] = []

    @property
    def calls(self) -> list[JoinedCall]:
        """The calls, in the order in which they began."""
        return [*self._joined.calls.values()]

    def add(self, said: Said) -> None:
        """Add a whole answer or a piece of one."""
        for channel, text in (("reasoning", said.reasoning), ("text", said.text), ("refusal", said.refusal)):
            if text:
                self._grow(channel, text, list(said.logprobs) if channel == "text" else [])
        for piece in said.calls:
            self._call(piece)

    def settle(self, status: str) -> None:
        """Nothing more comes: calls that have only a name begin, and what has not ended ends so."""
        self._close_growing(status)
        for call in self._joined.calls.values():
            if status == "completed" and not call.arguments:
                call.arguments.append("{}")  # clients read them as JSON
            self._show(call)
        self._put_arguments()
        for each in self.listed:
            if not each.ended:
                each.finish(status)
                self._told("done", each)

    def _grow(self, channel: str, text: str, logprobs: list[Json]) -> None:
        kind, part = PARTS[channel]
        growing = self._growing
        if growing is not None and growing[1] == channel:
            item = growing[0]
        else:
            if growing is not None and growing[0].item["type"] == kind:
                self._close_part()
                item = growing[0]
            else:
                self._close_growing()
                item = self._open(kind)
            item.open_part({**part})
            self._growing = (item, channel)
            self._told("part_added", item)
        self._chars += len(text)
        if self._chars > CHARS_MAX:
            raise UpstreamFailed(
                f"the upstream's answer is longer than {CHARS_MAX} characters", code=TOO_LARGE
            )
        item.pieces.append(text)
        item.logprobs += logprobs
        self._told("text", item, (channel, text, logprobs))

    def _open(self, kind: str) -> Text:
        number = self._opened[kind]
        self._opened[kind] += 1
        self._chars += ITEM_CHARS
        named = self._speech.item_id(PREFIX[kind], number)
        value: Json = {"id": named, "type": kind, "status": "in_progress"}
        own: Json = {"role": "assistant"} if kind == "message" else {"summary": []}
        item = Text({**value, **own, "content": []}, len(self.listed))
        self.listed.append(item)
        self._told("added", item)
        return item

    def _close_part(self) -> None:
        if self._growing is not None:
            item, channel = self._growing
            part = item.close_part()
            self._told("part_done", item, (channel, part))

    def _close_growing(self, status: str = "completed") -> None:
        if self._growing is not None:
            self._close_part()
            item, _ = self._growing
            self._growing = None
            item.finish(status)
            self._told("done", item)

    def _call(self, piece: CallPiece) -> None:
        call = self._joined.add(piece)
        if not call.arguments:
            return  # its name may not be whole
        for each in self._joined.calls.values() if call.index not in self._by_call else ():
            if each is call:
                break
            self._show(each)  # those that began before it come before it
        self._show(call)

    def _show(self, call: JoinedCall) -> None:
        item = self._by_call.get(call.index)
        kind = CUSTOM_CALL if call.name in self._custom else FUNCTION_CALL
        if item is None:
            self._close_growing()
            item_id = self._speech.item_id(kind.id, call.index)
            value = {"id": item_id, "type": kind.type, "status": "in_progress"}
            made = call.id or self._speech.call_id(call.index)
            value |= {"call_id": made, "name": call.name, kind.holds: ""}
            item = self._by_call[call.index] = Item(value, len(self.listed))
            self.listed.append(item)
            self._told("added", item)
        at = self._sent.get(call.index, 0)
        for text in call.arguments[at:] if kind is FUNCTION_CALL else ():
            self._told("arguments", item, text)
        self._sent[call.index] = len(call.arguments)

    def _put_arguments(self) -> None:
        """Joined once, at the end: after every piece it would cost ever more."""
        for call in self._joined.calls.values():
            if call.index in self._by_call:
                item = self._by_call[call.index].item
                custom = item["type"] == CUSTOM_CALL.type
                item["input" if custom else "arguments"] = input_of(call.text) if custom else call.text

    def _told(self, what: str, item: Item, more: Any = None) -> None:
        """Something happened."""


_PART_NAMES = {"text": "output_text", "refusal": "refusal", "reasoning": "reasoning_text"}


class _Stream(_Items):
    """The events of a stream."""

    def __init__(self, speech: ResponsesSpeech, model: str) -> None:
        super().__init__(proxy(speech))  # which owns this: no cycle that waits to be freed
        self._model = model
        self._number = 0
        self._out: list[bytes] = []
        self._finish: str | None = None
        self._counts: Counts | None = None

    def begin(self) -> bytes:
        """The first two events."""
        response = self._speech.response(status="in_progress", model=self._model, output=[])
        for name in ("response.created", "response.in_progress"):
            self._event(name, {"response": response})
        return self._taken()

    def feed(self, said: Said) -> bytes:
        """The events that one piece makes."""
        if said.counts is not None:
            self._counts = said.counts
        if said.finish is not None:
            self._finish = said.finish
        self.add(said)
        return self._taken()

    def end(self) -> bytes:
        """The last events."""
        status = _status(self._finish)
        self.settle(status)
        counts = self._counts or self._speech.estimate or Counts()
        self._event(f"response.{status}", {"response": self._now(status, counts=counts)})
        return self._taken()

    def fail(self, body: bytes) -> bytes:
        """The event that ends a stream that broke."""
        if self._growing is not None:
            self._growing[0].close_part()
        self._put_arguments()
        for each in self.listed:
            each.item["status"] = "completed" if each.ended else "incomplete"
        self._event("response.failed", {"response": self._now("failed", error=_error_in(body))})
        return self._taken()

    def _now(self, status: str, *, counts: Counts | None = None, error: Json | None = None) -> Json:
        return self._speech.response(
            status=status,
            model=self._model,
            output=[each.item for each in self.listed],
            finish=self._finish,
            counts=counts,
            error=error,
        )

    def _event(self, name: str, data: Json) -> None:
        self._out.append(sse(name, {"type": name, "sequence_number": self._number, **data}))
        self._number += 1

    def _taken(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def _told(self, what: str, item: Item, more: Any = None) -> None:
        at: Json = {"output_index": item.index, "item_id": item.item["id"]}
        match what:
            case "added":
                self._event("response.output_item.added", {"output_index": item.index, "item": item.item})
            case "done":
                if item.item["type"] == CUSTOM_CALL.type:  # whose text is known when its JSON is whole
                    name, text = "response.custom_tool_call_input", item.item["input"]
                    self._event(f"{name}.delta", {**at, "delta": text})
                    self._event(f"{name}.done", {**at, "input": text})
                elif item.item["type"] == FUNCTION_CALL.type:
                    arguments = {"name": item.item["name"], "arguments": item.item["arguments"]}
                    self._event("response.function_call_arguments.done", {**at, **arguments})
                self._event("response.output_item.done", {"output_index": item.index, "item": item.item})
            case "arguments":
                self._event("response.function_call_arguments.delta", {**at, "delta": more})
            case _:
                at["content_index"] = len(item.item["content"]) - 1
                self._told_part(what, at, item, more)

    def _told_part(self, what: str, at: Json, item: Item, more: Any) -> None:
        if what == "part_added":
            self._event("response.content_part.added", {**at, "part": item.item["content"][-1]})
        elif what == "text":
            channel, text, logprobs = more
            told = {**at, "delta": text} | ({"logprobs": logprobs} if channel == "text" else {})
            self._event(f"response.{_PART_NAMES[channel]}.delta", told)
        else:
            channel, part = more
            name = "refusal" if channel == "refusal" else "text"
            told = {**at, name: part[name]} | ({"logprobs": part["logprobs"]} if channel == "text" else {})
            self._event(f"response.{_PART_NAMES[channel]}.done", told)
            self._event("response.content_part.done", {**at, "part": part})
