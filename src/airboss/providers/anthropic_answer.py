"""Answers of Anthropic's Messages, whole and streamed, as OpenAI's chat answers. Pure.

Thoughts become `reasoning_content`, and, signed as they were, `thinking_blocks`, to be sent back.
Input tokens are told in three parts that do not overlap: not cached, read from the cache, written to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.config.tiers import tier_named
from airboss.domain.errors import UpstreamFailed
from airboss.providers import lenient
from airboss.providers.chat_answer import (
    ChatWriter,
    FinishReason,
    Json,
    encode,
    error_of,
    tool_call,
    usage_of,
    whole_choice,
)
from airboss.providers.compatible import read_error
from airboss.providers.dialect import DONE
from airboss.providers.usage import Tokens

FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STATUS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status of an error that comes inside of a stream, by its type."""
BESIDE = frozenset({"compaction", "advisor_message"})
"""Steps whose tokens are billed and are not in the totals of `usage`. An adviser has a price of its own,
which nothing tells: the model's is nearer than none."""
_TOO_LONG = ("prompt is too long", "exceed context limit", "input is too long")
_FILTERED = "blocked by content filtering policy"
"""How a refusal by its filter is told from a mistake of the caller's: by nothing else."""


class _Output(msgspec.Struct):
    thinking_tokens: Tokens = 0


class _Written(msgspec.Struct):
    """Of what was written to the cache, what stays for an hour."""

    ephemeral_1h_input_tokens: Tokens = 0


class _Counts(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_creation: _Written | None = None


class _Step(_Counts):
    """What one of the steps that an answer took has used."""

    type: str = ""


class _Usage(_Counts):
    output_tokens_details: _Output | None = None
    iterations: list[_Step] | None = None
    service_tier: Any = None
    speed: Any = None


class _Block(msgspec.Struct):
    """A block of an answer, or what a stream says at its start."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: _Usage | None = None
    type: str = "message"


class _Event(msgspec.Struct):
    type: str | None = None
    error: Any = None
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)
_ODD = "no message of Anthropic's"


class _Open:
    """A block of a stream that has not ended."""

    def __init__(self, block: _Block, call: int) -> None:
        self.block = block
        self.call = call
        """The number of a tool call."""
        self.said = False
        self.thought: list[str] = []
        self.signature = [block.signature]


class AnthropicReader:
    """Reads one answer. `answer_tool` is the tool whose input is the answer's text (`anthropic_request`)."""

    def __init__(self, created: int, *, answer_tool: str | None) -> None:
        self._write = ChatWriter(created)
        self._answer_tool = answer_tool
        self._usage = _Usage()
        self._open: dict[int, _Open] = {}
        self._calls = self._thoughts = 0
        self._answered = False
        self._finished = False
        self._output_told = False
        """Whether that was said of a stream but at its start, where there is none yet."""
        self._usage_said: Json | None = None

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        return self.whole_with(body, [])

    def whole_with(self, body: bytes, images: list[Json]) -> bytes:
        """A whole answer that has these pictures besides, as parts of a message."""
        said = lenient.answered(_message, body, _ODD)
        if said.type == "error" or said.content is None:
            return self.error(200, body)
        self._write.id, self._write.model = said.id, said.model
        text, thoughts, blocks, calls = "", "", list[Json](), list[Json]()
        for block in said.content:
            if block.type == "text":
                text += block.text
            elif block.type in {"thinking", "redacted_thinking"}:
                thoughts += block.thinking
                blocks.append(_kept(block, block.thinking, block.signature))
            elif block.type == "tool_use" and block.name == self._answer_tool:
                self._answered = True
                text += encode(block.input).decode()
            elif block.type == "tool_use":
                calls.append(tool_call(block.id, block.name, encode(block.input or {}).decode()))
        self._calls = len(calls)
        choice = whole_choice(
            finish=self._reason(said.stop_reason),
            content=text if text or not (calls or images) else None,
            reasoning=thoughts or None,
            tool_calls=calls or None,
            extra={name: each for name, each in (("thinking_blocks", blocks), ("images", images)) if each},
            stopped_at=said.stop_sequence,
        )
        self._take_usage(said.usage)
        return self._write.whole([choice], self.told())

    def _reason(self, said: str | None) -> FinishReason:
        reason = FINISH.get(said or "", "stop")
        if reason == "tool_calls" and self._answered:
            return "stop"
        # Some models of Bedrock's call a tool and say that their turn has ended.
        return "tool_calls" if said == "end_turn" and self._calls else reason

    def _take_usage(self, usage: _Usage | None) -> None:
        """A later report replaces what an earlier one said of the same."""
        for name in _Usage.__struct_fields__ if usage is not None else ():
            if (told := getattr(usage, name)) is not None:
                setattr(self._usage, name, told)

    def _told(self) -> Json:
        parts: list[_Counts] = [self._usage]
        parts += [each for each in self._usage.iterations or () if each.type in BESIDE]
        return usage_of(
            uncached=sum(each.input_tokens or 0 for each in parts),
            output=sum(each.output_tokens or 0 for each in parts),
            cached=sum(each.cache_read_input_tokens or 0 for each in parts),
            written=sum(each.cache_creation_input_tokens or 0 for each in parts),
            written_1h=sum(
                each.cache_creation.ephemeral_1h_input_tokens
                for each in parts
                if each.cache_creation is not None
            ),
            reasoning=self._usage.output_tokens_details.thinking_tokens
            if self._usage.output_tokens_details is not None
            else 0,
            tier=tier_named(self._usage.speed, self._usage.service_tier),
        )

    def told(self) -> Json | None:
        """The usage as far as it has been told."""
        return None if None in {self._usage.input_tokens, self._usage.output_tokens} else self._told()

    def event(self, data: bytes) -> list[bytes]:  # noqa: PLR0911 - one for each kind of event
        """One event."""
        said = lenient.answered(_event, data, _ODD)
        if said.type is None and not said.error:
            raise lenient.not_answered(data, _ODD)
        match said.type:
            case "message_start" if said.message is not None:
                self._write.id, self._write.model = said.message.id, said.message.model
                self._take_usage(said.message.usage)
                return [self._write.chunk({"content": None})]
            case "content_block_start" if said.content_block is not None:
                return self._begin(said.index, said.content_block)
            case "content_block_delta" if said.delta is not None:
                return self._piece(said.index, said.delta)
            case "content_block_stop":
                return self._close(said.index)
            case "message_delta":
                self._take_usage(said.usage)
                self._output_told |= said.usage is not None and said.usage.output_tokens is not None
                return self._ending(said.delta)
            case "message_stop" if self._finished:
                return [*self._usage_if_new(), DONE]
            case "error" | None:  # a proxy before it says no type
                return [self.error(200, data)]
        return []  # pings, and what a later version adds

    def _ending(self, delta: _Delta | None) -> list[bytes]:
        """Why it ends, said at once: what comes behind that is no more of the answer, and may get lost."""
        made = []
        if delta is not None and delta.stop_reason is not None and not self._finished:
            self._finished = True
            reason = self._reason(delta.stop_reason)
            made.append(self._write.chunk({}, finish=reason, stopped_at=delta.stop_sequence))
        return made + self._usage_if_new() if self._finished else made

    def _usage_if_new(self) -> list[bytes]:
        usage = self.told() if self._output_told else None
        if usage is None or usage == self._usage_said:
            return []
        self._usage_said = usage
        return [self._write.usage_chunk(usage)]

    def _begin(self, index: int, block: _Block) -> list[bytes]:
        opened = self._open[index] = _Open(block, self._calls)
        if block.type == "tool_use" and block.name != self._answer_tool:
            self._calls += 1
            call = {"index": opened.call, **tool_call(block.id, block.name, "")}
            return [self._write.chunk({"tool_calls": [call]})]
        if block.type == "text" and block.text:
            return [self._write.chunk({"content": block.text})]
        return []

    def _piece(self, index: int, delta: _Delta) -> list[bytes]:
        opened = self._open.get(index)
        if opened is None:
            raise UpstreamFailed(f"the upstream's stream has a piece of block {index}, which has not begun")
        match delta.type:
            case "text_delta" if delta.text:
                return [self._write.chunk({"content": delta.text})]
            case "thinking_delta" if delta.thinking:
                opened.thought.append(delta.thinking)
                return [self._write.chunk({"reasoning_content": delta.thinking})]
            case "signature_delta":
                opened.signature.append(delta.signature)
            case "input_json_delta" if delta.partial_json and opened.block.type == "tool_use":
                opened.said = True
                return [self._arguments(opened, delta.partial_json)]
        return []

    def _arguments(self, opened: _Open, text: str) -> bytes:
        if opened.block.name == self._answer_tool:
            self._answered = True
            return self._write.chunk({"content": text})
        piece = {"index": opened.call, "function": {"arguments": text}}
        return self._write.chunk({"tool_calls": [piece]})

    def show(self, image: Json) -> bytes:
        """The piece that shows a picture, a part of a message."""
        return self._write.chunk({"images": [image]})

    def _close(self, index: int) -> list[bytes]:
        opened = self._open.pop(index, None)
        if opened is None:
            return []
        block = opened.block
        if block.type == "tool_use" and not opened.said:
            # A call without arguments; as JSON that is an object too.
            return [self._arguments(opened, encode(block.input or {}).decode())]
        if block.type in {"thinking", "redacted_thinking"}:
            kept = _kept(block, "".join(opened.thought), "".join(opened.signature))
            # OpenAI's clients put lists of a stream together by it.
            numbered = {"index": self._thoughts, **kept}
            self._thoughts += 1
            return [self._write.chunk({"thinking_blocks": [numbered]})]
        return []

    def end(self) -> list[bytes]:
        """Nothing: a stream that ended well has said so."""
        return []

    def error(self, status: int, body: bytes) -> bytes:
        """An error; inside of a stream its status is its code."""
        said = read_error(body)
        message = said.message if isinstance(said.message, str) else "no message"
        type_ = said.type if isinstance(said.type, str) else ""
        own = said.code if isinstance(said.code, str | int) else 502
        code: str | int | None = STATUS.get(type_, own) if status == 200 else None
        if any(words in message.lower() for words in _TOO_LONG):
            code = "context_length_exceeded"
        elif _FILTERED in message.lower():
            code = "content_filter"
        return error_of(message, type_=type_ or "api_error", code=code)


def _kept(block: _Block, thought: str, signature: str) -> Json:
    if block.type == "redacted_thinking":
        return {"type": block.type, "data": block.data}
    return {"type": "thinking", "thinking": thought, "signature": signature}
