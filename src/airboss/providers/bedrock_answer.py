"""Answers of Bedrock's Converse, whole and streamed, as OpenAI's chat answers. Pure.

They are Anthropic's with other names: they are renamed here, and read by `anthropic_answer`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.providers import lenient
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.chat_answer import Json, error_of
from airboss.providers.cut import beginning
from airboss.providers.usage import Tokens

_REASONS: Mapping[str, str] = {
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}
BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Why an answer is none: what the model wrote could not be read."""
STATUS: Mapping[str, int] = {
    "validation_exception": 400,
    "throttling_exception": 429,
    "internal_server_exception": 500,
    "model_stream_error_exception": 502,
    "service_unavailable_exception": 503,
}
"""The status of an error that comes inside of a stream."""
_TOO_LONG = ("too long", "exceeds the model", "context limit", "maximum context")
_encode = msgspec.json.Encoder().encode


class _Use(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: Any = None


class _Thought(msgspec.Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    """Of a whole answer (`reasoning_text`) or a piece of one (`text`, `signature`)."""

    reasoning_text: _Thought | None = None
    redacted_content: str | None = None
    text: str | None = None
    signature: str | None = None


class _Source(msgspec.Struct):
    """Base64, in a stream a piece at a time."""

    bytes: str = ""


class _Image(msgspec.Struct):
    format: str = "png"
    source: _Source | None = None


class _Said(msgspec.Struct):
    text: str = ""


class _Cited(msgspec.Struct):
    content: list[_Said] = []


class _Block(msgspec.Struct, rename="camel"):
    """A block of an answer, what a stream says at its start, or a piece of it."""

    text: str | None = None
    tool_use: _Use | None = None
    reasoning_content: _Reasoning | None = None
    image: _Image | None = None
    citations_content: _Cited | None = None


class _Written(msgspec.Struct, rename="camel"):
    """Of what was written to the cache, what stays for so long (`5m`, `1h`)."""

    ttl: str = ""
    input_tokens: Tokens = 0


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_write_input_tokens: Tokens | None = None
    cache_details: list[_Written] | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Output(msgspec.Struct):
    message: _Message | None = None


class _More(msgspec.Struct):
    """What Bedrock has no word for, and was asked for by its name at the model."""

    stop_sequence: str | None = None


class _Response(msgspec.Struct, rename="camel"):
    output: _Output | None = None
    stop_reason: str | None = None
    additional_model_response_fields: _More | None = None
    usage: _Usage | None = None
    service_tier: Any = None


class _Piece(msgspec.Struct, rename="camel"):
    """The inside of any event, and of an error."""

    content_block_index: int = 0
    start: _Block | None = None
    delta: _Block | None = None
    stop_reason: str | None = None
    additional_model_response_fields: _More | None = None
    usage: _Usage | None = None
    service_tier: Any = None
    message: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    """One event: one of these."""

    message_start: _Piece | None = None
    content_block_start: _Piece | None = None
    content_block_delta: _Piece | None = None
    content_block_stop: _Piece | None = None
    message_stop: _Piece | None = None
    metadata: _Piece | None = None
    validation_exception: _Piece | None = None
    throttling_exception: _Piece | None = None
    internal_server_exception: _Piece | None = None
    model_stream_error_exception: _Piece | None = None
    service_unavailable_exception: _Piece | None = None
    failed: bool = False


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)
_ODD = "not one of Converse"


class BedrockReader:
    """Reads one answer, to be called `id`. `answer_tool` as in `AnthropicReader`."""

    def __init__(self, created: int, *, id: str, model: str, answer_tool: str | None) -> None:
        self._model = model
        self._id = id
        self._inner = AnthropicReader(created, answer_tool=answer_tool)
        self._stopped = False
        self._broken: str | None = None
        """Why the answer is none, where that has been said."""
        self._blocks: set[int] = set()
        self._images: dict[int, tuple[str, list[bytes]]] = {}
        """Pictures that have begun: their formats and pieces."""
        self._shown = 0

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        said = lenient.answered(_response, body, _ODD)
        if said.output is None or said.output.message is None:
            return self.error(200, body)
        if said.stop_reason in BROKEN:
            self._take_usage(said)
            return _broken(said.stop_reason)
        blocks = [made for block in said.output.message.content if (made := _whole_block(block)) is not None]
        value = {
            "id": self._id,
            "model": self._model,
            "content": blocks,
            "stop_reason": _reason(said.stop_reason),
            "stop_sequence": _stopped_at(said),
            "usage": _usage(said),
        }
        shown = [block.image for block in said.output.message.content if block.image is not None]
        images = [_picture(each.format, [_bytes(each)], number) for number, each in enumerate(shown)]
        return self._inner.whole_with(_encode(value), images)

    def event(self, data: bytes) -> list[bytes]:
        """One event, `{"TYPE": …}`."""
        said = lenient.answered(_event, data, _ODD)
        for kind, status in STATUS.items():
            if (failed := getattr(said, kind)) is not None:
                return [_told(failed.message or kind, status, inside=True)]
        if said.failed:
            return [_told(_failure(data), 502, inside=True)]
        if said.message_stop is not None and said.message_stop.stop_reason in BROKEN:
            self._broken = said.message_stop.stop_reason
            return []  # told with the usage, which comes behind it: it is paid all the same
        if said.metadata is not None and self._broken is not None:
            self._take_usage(said.metadata)
            return self._last()
        made = self._pictured(said)
        if made is None:
            made = [piece for event in self._renamed(said) for piece in self._inner.event(_encode(event))]
        # The usage comes after the reason, and is the last that is said.
        return made + self._last() if said.metadata is not None else made

    def _pictured(self, said: _Event) -> list[bytes] | None:
        """What an event of a picture makes: it, when all of it has come. None of any other event."""
        start, piece, stop = said.content_block_start, said.content_block_delta, said.content_block_stop
        if start is not None and start.start is not None and start.start.image is not None:
            self._images[start.content_block_index] = (start.start.image.format, [])
            return []
        if piece is not None and piece.delta is not None and (image := piece.delta.image) is not None:
            self._images.setdefault(piece.content_block_index, (image.format, []))[1].append(_bytes(image))
            return []
        if stop is None or stop.content_block_index not in self._images:
            return None
        kind, pieces = self._images.pop(stop.content_block_index)
        self._shown += 1
        return [self._inner.show(_picture(kind, pieces, self._shown - 1))]

    def _renamed(self, said: _Event) -> list[Json]:  # noqa: PLR0911 - one for each kind of event
        """The event as Anthropic has it; none for what it does not have."""
        if said.message_start is not None:
            return [{"type": "message_start", "message": {"id": self._id, "model": self._model}}]
        if (start := said.content_block_start) is not None:
            use = start.start.tool_use if start.start is not None else None
            block = {"type": "tool_use", "id": use.tool_use_id, "name": use.name} if use else {"type": "text"}
            return self._begun(start.content_block_index, block)
        if (piece := said.content_block_delta) is not None and piece.delta is not None:
            return self._pieces(piece.content_block_index, piece.delta)
        if (stop := said.content_block_stop) is not None:
            return [{"type": "content_block_stop", "index": stop.content_block_index}]
        if said.message_stop is not None:
            self._stopped = True
            reason = _reason(said.message_stop.stop_reason)
            stopped = {"stop_reason": reason, "stop_sequence": _stopped_at(said.message_stop)}
            return [{"type": "message_delta", "delta": stopped}]
        if said.metadata is not None:
            return [{"type": "message_delta", "usage": _usage(said.metadata)}]
        return []

    def _begun(self, index: int, block: Json) -> list[Json]:
        """The start of a block, if it has not begun: those of text and of thoughts begin without a word."""
        if index in self._blocks:
            return []
        self._blocks.add(index)
        return [{"type": "content_block_start", "index": index, "content_block": block}]

    def _pieces(self, index: int, delta: _Block) -> list[Json]:
        thought = delta.reasoning_content
        if delta.tool_use is not None:
            text = delta.tool_use.input if isinstance(delta.tool_use.input, str) else ""
            begun, piece = [], {"type": "input_json_delta", "partial_json": text}
        elif thought is None:
            begun = self._begun(index, {"type": "text"})
            piece = {"type": "text_delta", "text": delta.text or ""}
        elif thought.redacted_content is not None:
            return self._begun(index, {"type": "redacted_thinking", "data": thought.redacted_content})
        else:
            begun = self._begun(index, {"type": "thinking"})
            piece = {"type": "signature_delta", "signature": thought.signature or ""}
            if thought.text is not None:
                piece = {"type": "thinking_delta", "thinking": thought.text}
        return [*begun, {"type": "content_block_delta", "index": index, "delta": piece}]

    def _take_usage(self, said: _Response | _Piece) -> None:
        self._inner.event(_encode({"type": "message_delta", "usage": _usage(said)}))

    def _last(self) -> list[bytes]:
        if self._broken is not None:
            broken, self._broken = _broken(self._broken), None
            return [broken]
        if not self._stopped:
            return []
        self._stopped = False
        return self._inner.event(b'{"type":"message_stop"}')

    def end(self) -> list[bytes]:
        """The last word, or why there is none, where no usage came after the reason."""
        return self._last()

    def told(self) -> Json | None:
        """The usage, which comes last."""
        return self._inner.told()

    def error(self, status: int, body: bytes) -> bytes:
        """An error."""
        try:
            said = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            said = None
        message = (said.get("message") or said.get("Message")) if isinstance(said, dict) else None
        if not isinstance(message, str):
            message = f"an answer that is no error of AWS's: {beginning(body, 200)!r}"
        return _told(message, 502 if status == 200 else status, inside=status == 200)


def _failure(data: bytes) -> str:
    """What a failure of no known type says."""
    name, said = next(iter(msgspec.json.decode(data).items()))
    return f"{name}: {said.get('message') if isinstance(said, dict) else said}"


def _told(message: str, status: int, *, inside: bool) -> bytes:
    """An error; `inside` of a stream its status is its code."""
    type_ = {429: "rate_limit_error", 400: "invalid_request_error"}.get(status, "api_error")
    if status == 400 and any(words in message.lower() for words in _TOO_LONG):
        return error_of(message, type_=type_, code="context_length_exceeded")
    return error_of(message, type_=type_, code=status if inside else None)


def _broken(reason: str) -> bytes:
    return error_of(f"the answer broke off ({reason}); asking again may help", code=502)


def _reason(said: str | None) -> str:
    return _REASONS.get(said, said) if said is not None else "end_turn"


def _stopped_at(said: _Response | _Piece) -> str | None:
    more = said.additional_model_response_fields
    return more.stop_sequence if more is not None and said.stop_reason == "stop_sequence" else None


def _usage(said: _Response | _Piece) -> Json | None:
    used, tier = said.usage, said.service_tier
    if used is None:
        return None
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_input_tokens": used.cache_read_input_tokens or 0,
        "cache_creation_input_tokens": used.cache_write_input_tokens or 0,
        "cache_creation": {
            "ephemeral_1h_input_tokens": sum(
                each.input_tokens for each in used.cache_details or () if each.ttl == "1h"
            )
        },
        "service_tier": tier.get("type") if isinstance(tier, dict) else None,
    }


def _whole_block(block: _Block) -> Json | None:
    if block.text is not None:
        return {"type": "text", "text": block.text}
    if block.citations_content is not None:
        return {"type": "text", "text": "".join(said.text for said in block.citations_content.content)}
    if block.tool_use is not None:
        use = block.tool_use
        return {"type": "tool_use", "id": use.tool_use_id, "name": use.name, "input": use.input}
    thought = block.reasoning_content
    if thought is None:
        return None
    if thought.redacted_content is not None:
        return {"type": "redacted_thinking", "data": thought.redacted_content}
    said = thought.reasoning_text or _Thought()
    return {"type": "thinking", "thinking": said.text, "signature": said.signature or ""}


def _bytes(image: _Image) -> bytes:
    """The bytes of a picture, or of a piece of one. Raises UpstreamFailed."""
    try:
        return base64.b64decode(image.source.bytes if image.source is not None else "", validate=True)
    except ValueError:
        raise UpstreamFailed("the upstream's image is no base64") from None


def _picture(kind: str, pieces: list[bytes], number: int) -> Json:
    """A picture as a part of a message."""
    url = f"data:image/{kind};base64,{base64.b64encode(b''.join(pieces)).decode()}"
    return {"type": "image_url", "index": number, "image_url": {"url": url}}
