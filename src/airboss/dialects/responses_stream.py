"""The items of a response, as chat says them: whole, and as a stream of events. Pure.

Events: https://platform.openai.com/docs/api-reference/responses-streaming. Each has a `sequence_number`;
items are told apart by `output_index` and `item_id`. What comes of a call waits until the one before is
whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import proxy

from airboss.dialects.chat_said import (
    CHARS_MAX,
    TOO_LARGE,
    CallJoin,
    CallPiece,
    JoinedCall,
    Said,
    read_error_said,
)
from airboss.dialects.responses_custom import input_of
from airboss.dialects.responses_items import EXTRA, SIGNED, is_cut, object_in, sealed
from airboss.dialects.responses_output import (
    CALL_KINDS,
    CUSTOM_CALL,
    FUNCTION_CALL,
    PARTS,
    PREFIX,
    SEARCH_CALL,
    Item,
    Text,
    picture,
)
from airboss.dialects.responses_tools import CLIENTS, Called
from airboss.dialects.speech import Counts, Json, encode, sse
from airboss.domain.errors import UpstreamFailed

if TYPE_CHECKING:
    from airboss.dialects.responses_answer import ResponsesSpeech

ITEM_CHARS = 256
"""What an item counts for beside what it says."""


def error_in(body: bytes) -> Json:
    """OpenAI's error, as a response has it."""
    said = read_error_said(body)
    return {"code": said.code or said.type, "message": said.message, "param": said.param, "type": said.type}


def status_of(finish: str | None) -> str:
    """How a response ended."""
    return "incomplete" if is_cut(finish) else "completed"


class Items:
    """The output. What happens to it is told to `_told`, which a stream makes events of."""

    def __init__(self, speech: ResponsesSpeech) -> None:
        self._speech = speech
        self._called = speech.called()
        self._seals = speech.asked.seals
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
        if said.reasoning:
            self._grow("summary" if self._speech.summarizes else "reasoning", said.reasoning, [])
        if said.thoughts:
            self._sign(said.thoughts)
        for channel, text in (("text", said.text), ("refusal", said.refusal)):
            if text:
                self._grow(channel, text, list(said.logprobs) if channel == "text" else [])
        for url in said.images:
            self._show_picture(url)
        for piece in said.calls:
            self._call(piece)

    def _sign(self, blocks: Sequence[Json]) -> None:
        """Thoughts as their model signed them, which wants them back, ride with the item that says them;
        those that are hidden have one of their own."""
        self._count(sum(len(encode(block)) for block in blocks))
        item = self._growing[0] if self._growing is not None else None
        if item is not None and item.item["type"] == "reasoning":
            item.item.setdefault(SIGNED, []).extend(blocks)
            return
        self._close_growing()
        item = self._open("reasoning")
        item.item[SIGNED] = list(blocks)
        self._done(item, "completed")

    def _show_picture(self, url: str) -> None:
        self._close_growing()
        self._count(len(url) + ITEM_CHARS)
        number = self._opened["image"]
        self._opened["image"] += 1
        item = picture(self._speech.item_id("ig", number), url, len(self.listed))
        self.listed.append(item)
        self._told("added", item)
        item.item["result"] = url.rpartition(",")[2]
        item.finish("completed")
        self._told("done", item)

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > CHARS_MAX:
            raise UpstreamFailed(
                f"the upstream's answer is longer than {CHARS_MAX} characters", code=TOO_LARGE
            )

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
        self._count(len(text))
        item.pieces.append(text)
        item.logprobs += logprobs
        self._told("text", item, (channel, text, logprobs))

    def _open(self, kind: str) -> Text:
        number = self._opened[kind]
        self._opened[kind] += 1
        self._chars += ITEM_CHARS
        named = self._speech.item_id(PREFIX[kind], number)
        value: Json = {"id": named, "type": kind, "status": "in_progress"}
        own: Json = {"role": "assistant", "content": []} if kind == "message" else {"summary": []}
        if kind == "reasoning" and not self._speech.summarizes:
            own["content"] = []
        item = Text({**value, **own}, len(self.listed))
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
            self._done(item, status)

    def _done(self, item: Item, status: str) -> None:
        if self._seals and SIGNED in item.item:
            item.item["encrypted_content"] = sealed(item.item[SIGNED])
        item.finish(status)
        self._told("done", item)

    def _call(self, piece: CallPiece) -> None:
        self._joined.add(piece)
        calls = [*self._joined.calls.values()]
        while calls and not calls[-1].arguments:
            calls.pop()  # its name may not be whole
        for call in calls:
            if not call.name:
                break
            self._show(call)
            if call.arguments and not call.whole:
                break  # OpenAI says one call after the other, and some clients take turns for more calls

    def _show(self, call: JoinedCall) -> None:
        item = self._by_call.get(call.index)
        called = self._called.get(call.name, Called(name=call.name))
        kind = CALL_KINDS[called.type]
        if item is None:
            self._close_growing()
            item_id = self._speech.item_id(kind.id, call.index)
            value: Json = {"id": item_id, "type": kind.type, "status": "in_progress"}
            value["call_id"] = call.id or self._speech.call_id(call.index)
            if kind is SEARCH_CALL:
                value |= {"execution": CLIENTS, "arguments": {}}
            else:
                value |= {"name": called.name, kind.holds: ""}
                value |= {"namespace": called.namespace} if called.namespace else {}
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
                if item["type"] == CUSTOM_CALL.type:
                    item["input"] = input_of(call.text)
                else:
                    search = item["type"] == SEARCH_CALL.type
                    item["arguments"] = object_in(call.text) if search else call.text
                item |= {EXTRA: call.extra} if call.extra is not None else {}

    def _told(self, what: str, item: Item, more: Any = None) -> None:
        """Something happened."""


_PART_NAMES = {
    "text": "output_text",
    "refusal": "refusal",
    "reasoning": "reasoning_text",
    "summary": "reasoning_summary_text",
}


class Stream(Items):
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
        status = status_of(self._finish)
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
        self._event("response.failed", {"response": self._now("failed", error=error_in(body))})
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
                elif item.item["type"] == "image_generation_call":
                    for state in ("in_progress", "generating", "completed"):
                        self._event(f"response.image_generation_call.{state}", at)
                self._event("response.output_item.done", {"output_index": item.index, "item": item.item})
            case "arguments":
                self._event("response.function_call_arguments.delta", {**at, "delta": more})
            case _ if isinstance(item, Text):
                self._told_part(what, at, item, more)

    def _told_part(self, what: str, at: Json, item: Text, more: Any) -> None:
        summary = item.parts[-1]["type"] == "summary_text"
        at["summary_index" if summary else "content_index"] = len(item.parts) - 1
        part_of = "response.reasoning_summary_part" if summary else "response.content_part"
        if what == "part_added":
            self._event(f"{part_of}.added", {**at, "part": item.parts[-1]})
        elif what == "text":
            channel, text, logprobs = more
            told = {**at, "delta": text} | ({"logprobs": logprobs} if channel == "text" else {})
            self._event(f"response.{_PART_NAMES[channel]}.delta", told)
        else:
            channel, part = more
            name = "refusal" if channel == "refusal" else "text"
            told = {**at, name: part[name]} | ({"logprobs": part["logprobs"]} if channel == "text" else {})
            self._event(f"response.{_PART_NAMES[channel]}.done", told)
            self._event(f"{part_of}.done", {**at, "part": part})
