"""A streamed answer put together again from its pieces. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from airboss.domain.request import Operation
from airboss.providers.compatible import Delta, Reply
from airboss.providers.lenient import CallNumbers, arguments_of, unnumbered
from airboss.providers.usage import Usage, UsageSum

OUTPUT_CHARS_MAX = 8 * 1024 * 1024
"""Characters of one streamed answer that are kept for its record; more are counted, not kept."""
BLOCK_CHARS = 64
"""What a block of thoughts counts for beside what it says: an empty one takes room too."""


Joined = Callable[[str, Sequence[int]], str]
"""Makes of a text what is kept of it, by the places where another attempt went on with it."""


class _AssembledChoice:
    """One choice of a streamed answer, put together."""

    def __init__(self) -> None:
        self.text: dict[str, list[str]] = {}
        self.role: str | None = None
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.call_numbers = CallNumbers()
        self.thoughts: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.finish_reason: str | None = None
        self.more = False
        """Whether it has what nobody goes on from: sound, pictures, a call in OpenAI's older way."""


class Assembly:
    """Puts the pieces of a stream together again, for its record and its usage."""

    __slots__ = (
        "_choices", "_first", "_kept", "_text", "_text_as", "_text_of", "expected", "operation",
        "output_chars", "over", "pieces", "seams", "usage", "usage_sum", "went_on",
    )  # fmt: skip

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._choices: dict[int, _AssembledChoice] = {}
        self._first: Reply | None = None
        self._kept = 0
        self._text: list[str] = []
        """Where the last event that said a text and nothing else added it; others are likely to follow."""
        self._text_of, self._text_as = -1, ""
        self.over = False
        """Whether some choice has said why it ended."""
        self.went_on = False
        """Whether some choice went on after it had said so: nobody can tell when it ends."""
        self.expected = 1
        """How many choices there must be; fewer are not all of an answer."""
        self.pieces = 0
        """Events with text: as many tokens, where a server sends each on its own."""
        self.usage: Usage | None = None
        self.usage_sum: UsageSum | None = None
        """Where given: the upstream reports each answer's usage on its own, and `usage` is their sum."""
        self.output_chars = 0
        self.seams: list[int] = []
        """Where in its only text another attempt went on with what had broken off."""

    def add(self, piece: Reply) -> None:
        """Add one event."""
        if self._first is None:
            self._first = piece
        if piece.usage is not None:
            if self.usage_sum is not None:
                self.usage_sum.add(piece.usage)
                self.usage = self.usage_sum.total()
            else:
                self.usage = piece.usage
        for choice in piece.choices or ():
            into = self._choice(choice.index)
            if choice.finish_reason:
                self.over = True
                into.finish_reason = choice.finish_reason
            if choice.text:
                self._add_text(into, "text", choice.text)
            said = choice.delta or choice.message
            if said is not None:
                self._add_delta(into, said)

    def add_text(self, index: int, field: str, text: str) -> None:
        """Add what an event says that is like one before it, and has nothing but this text of this choice."""
        if not text:
            return
        if index != self._text_of or field != self._text_as:
            self._text_of, self._text_as = index, field
            self._text = self._choice(index).text.setdefault(field, [])
        self._count_text(self._text, field, text)

    def _choice(self, index: int) -> _AssembledChoice:
        into = self._choices.get(index)
        if into is None:
            into = self._choices[index] = _AssembledChoice()
        return into

    def _add_delta(self, into: _AssembledChoice, said: Delta) -> None:
        into.role = said.role or into.role
        if said.content:
            self._add_text(into, "content", said.content)
        if thought := said.thought:
            self._add_text(into, "reasoning_content", thought)
        if said.refusal:
            self._add_text(into, "refusal", said.refusal)
        for thought_block in said.thinking_blocks or ():
            if not self.full:
                self._kept += len(msgspec.json.encode(thought_block)) + BLOCK_CHARS
                into.thoughts.append(unnumbered(thought_block))
        for image in said.images or ():
            if not self.full:
                self._kept += len(msgspec.json.encode(image))
                into.images.append(image)
        for call in said.tool_calls or ():
            self._add_call(into, call)
        if said.function_call or said.audio or said.images:
            into.more = True

    def _add_text(self, into: _AssembledChoice, field: str, text: str) -> None:
        self._count_text(into.text.setdefault(field, []), field, text)

    def _count_text(self, parts: list[str], field: str, text: str) -> None:
        self.pieces += 1
        if field != "reasoning_content":
            self.output_chars += len(text)
        if not self.full:
            self._kept += len(text)
            parts.append(text)

    def _add_call(self, into: _AssembledChoice, call: dict[str, Any]) -> None:
        function, custom = call.get("function"), call.get("custom")
        if not isinstance(function, dict):
            function = {}
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(custom, dict):
            name, arguments = custom.get("name"), custom.get("input")
        index = into.call_numbers.of(call.get("index"), call.get("id"), name, arguments)
        if index is None:
            return
        kept = into.tool_calls.setdefault(
            index, {"id": None, "type": "function", "function": {"name": "", "arguments": []}}
        )
        if isinstance(custom, dict):
            kept["type"] = "custom"
        kept["id"] = kept["id"] or call.get("id")  # as `CallJoin` tells it to clients of other dialects
        if isinstance(more := call.get("extra_content"), dict):
            kept["extra_content"] = more
        said = kept["function"]
        said["name"] = into.call_numbers.name(index)
        if arguments is not None and not self.full:
            arguments = arguments_of(arguments)
            self._kept += len(arguments)
            said["arguments"].append(arguments)

    def produced(self) -> tuple[str, str]:
        """What has been said, tool calls among it, and what has been thought so far, as far as it is kept."""
        said: list[str] = []
        thought: list[str] = []
        for choice in self._choices.values():
            for field, parts in choice.text.items():
                (thought if field == "reasoning_content" else said).extend(parts)
            for call in choice.tool_calls.values():
                said += [call["function"]["name"], *call["function"]["arguments"]]
        return "".join(said), "".join(thought)

    @property
    def only_text(self) -> str:
        """The text of an answer that is one choice of nothing but text; empty where it is anything else."""
        choice = self._choices.get(0)
        if choice is None or len(self._choices) > 1 or choice.tool_calls or choice.finish_reason:
            return ""
        if choice.thoughts:
            return ""
        if self.full or len(choice.text) != 1 or choice.more:
            return ""
        return "".join(choice.text.get("content") or choice.text.get("text") or ())

    @property
    def full(self) -> bool:
        """Whether no more of it is kept, whatever comes."""
        return self._kept >= OUTPUT_CHARS_MAX

    @property
    def first(self) -> Reply | None:
        """The first event, which names the answer."""
        return self._first

    @property
    def usage_short(self) -> bool:
        """Whether fewer answers reported their usage than there are, where each is to report its own."""
        return self.usage_sum is not None and self.usage_sum.reports < len(self._choices)

    @property
    def finish_reason(self) -> str | None:
        """The first choice's."""
        first = self._choices.get(min(self._choices, default=0))
        return first.finish_reason if first else None

    @property
    def open(self) -> list[tuple[int, int]]:
        """The choices that have not ended: their numbers, and in how many pieces they have come."""
        return [
            (index, sum(map(len, each.text.values())) + len(each.tool_calls))
            for index, each in self._choices.items()
            if not each.finish_reason
        ]

    @property
    def finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return bool(self._choices) and all(c.finish_reason for c in self._choices.values())

    @property
    def complete(self) -> bool:
        """Whether it is finished, and nothing of what was asked for is missing."""
        return self.finished and len(self._choices) >= self.expected

    @property
    def settled(self) -> bool:
        """Whether it is complete, whatever becomes of the stream."""
        return self.complete and not self.went_on

    def has_ended(self, piece: Reply) -> bool:
        """Whether all that a piece speaks of had ended before it."""
        known = [self._choices.get(choice.index) for choice in piece.choices or ()]
        return all(choice is not None and choice.finish_reason for choice in known)

    def response(self, joined: Joined | None = None) -> bytes | None:
        """The answer as it would have come without streaming, as JSON; None if nothing came. `joined` makes
        what is kept of a text with seams."""
        first = self._first
        if first is None:
            return None
        chat = self.operation == "chat"
        made = self._message_choice if chat else self._text_choice
        value = {
            "id": first.id,
            "object": "chat.completion" if chat else "text_completion",
            "created": first.created,
            "model": first.model,
            "choices": [made(i, c, self._texts(c, joined)) for i, c in sorted(self._choices.items())],
            "usage": self.usage,
        }
        return msgspec.json.encode(value)

    def _texts(self, choice: _AssembledChoice, joined: Joined | None) -> dict[str, str]:
        texts = {field: "".join(parts) for field, parts in choice.text.items()}
        if joined is not None and self.seams:
            texts |= {name: joined(texts[name], self.seams) for name in ("content", "text") if name in texts}
        return texts

    @staticmethod
    def _message_choice(index: int, choice: _AssembledChoice, texts: dict[str, str]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": choice.role or "assistant", "content": None, **texts}
        if choice.thoughts:
            message["thinking_blocks"] = choice.thoughts
        if choice.images:
            message["images"] = choice.images
        if choice.tool_calls:
            message["tool_calls"] = [_whole_call(call) for _, call in sorted(choice.tool_calls.items())]
        return {"index": index, "message": message, "finish_reason": choice.finish_reason}

    @staticmethod
    def _text_choice(index: int, choice: _AssembledChoice, texts: dict[str, str]) -> dict[str, Any]:
        return {
            "index": index,
            "text": texts.get("text", ""),
            "finish_reason": choice.finish_reason,
        }


def _whole_call(call: dict[str, Any]) -> dict[str, Any]:
    """A call whose pieces have come, a custom tool's with what that is called with."""
    function = call["function"]
    text = "".join(function["arguments"])
    if call["type"] != "custom":
        return call | {"function": function | {"arguments": text}}
    rest = {name: value for name, value in call.items() if name != "function"}
    return rest | {"custom": {"name": function["name"], "input": text}}
