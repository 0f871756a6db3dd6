"""Answers of Bedrock's Converse, whole and streamed, as OpenAI's chat answers. Pure.

They are Anthropic's with other names: they are renamed here, and read by `anthropic_answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.chat_answer import Json, error_of

_REASONS: Mapping[str, str] = {
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
    "malformed_model_output": "end_turn",
    "malformed_tool_use": "end_turn",
}
STATUS: Mapping[str, int] = {
    "validationException": 400,
    "throttlingException": 429,
    "internalServerException": 500,
    "modelStreamErrorException": 502,
    "serviceUnavailableException": 503,
}
"""The status of an error that comes inside of a stream."""
_TOO_LONG = ("too long", "exceeds the model", "context limit", "maximum context")
_encode = msgspec.json.Encoder().encode


class BedrockReader:
    """Reads one answer, to be called `id`. `answer_tool` as in `AnthropicReader`."""

    def __init__(self, created: int, *, id: str, model: str, answer_tool: str | None) -> None:
        self._model = model
        self._id = id
        self._inner = AnthropicReader(created, answer_tool=answer_tool)
        self._stopped = False
        self._blocks: set[int] = set()

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        said = _object(body)
        output = said.get("output")
        message = output.get("message") if isinstance(output, dict) else None
        if not isinstance(message, dict):
            return self.error(200, body)
        blocks = [found for block in message.get("content", ()) if (found := _whole_block(block)) is not None]
        value = {
            "id": self._id,
            "model": self._model,
            "content": blocks,
            "stop_reason": _reason(said.get("stopReason")),
            "usage": _usage(said.get("usage")),
        }
        return self._inner.whole(_encode(value))

    def event(self, data: bytes) -> list[bytes]:
        """One event, `{"TYPE": …}`."""
        kind, said = next(iter(_object(data).items()), ("", None))
        if not isinstance(said, dict):
            raise UpstreamFailed(f"the upstream's event {kind[:40]!r} is no JSON object")
        if kind in STATUS:
            return [_said_error(str(said.get("message", kind)), STATUS[kind])]
        made = [piece for event in self._renamed(kind, said) for piece in self._inner.event(_encode(event))]
        # The usage comes after the reason, and is the last that is said.
        return made + self._last() if kind == "metadata" else made

    def _renamed(self, kind: str, said: Json) -> list[Json]:  # noqa: PLR0911 - one for each kind of event
        """The event as Anthropic has it; none for what it does not have."""
        index = said.get("contentBlockIndex", 0)
        match kind:
            case "messageStart":
                return [{"type": "message_start", "message": {"id": self._id, "model": self._model}}]
            case "contentBlockStart":
                use = (said.get("start") or {}).get("toolUse") or {}
                block = {"type": "tool_use", "id": use.get("toolUseId", ""), "name": use.get("name", "")}
                return self._begun(index, block)
            case "contentBlockDelta":
                return self._pieces(index, said.get("delta") or {})
            case "contentBlockStop":
                return [{"type": "content_block_stop", "index": index}]
            case "messageStop":
                self._stopped = True
                return [{"type": "message_delta", "delta": {"stop_reason": _reason(said.get("stopReason"))}}]
            case "metadata":
                return [{"type": "message_delta", "usage": _usage(said.get("usage"))}]
        return []

    def _begun(self, index: int, block: Json) -> list[Json]:
        """The start of a block, if it has not begun: those of text and of thoughts begin without a word."""
        if index in self._blocks:
            return []
        self._blocks.add(index)
        return [{"type": "content_block_start", "index": index, "content_block": block}]

    def _pieces(self, index: int, delta: Json) -> list[Json]:
        thought = delta.get("reasoningContent")
        if "toolUse" in delta:
            begun = []
            piece = {"type": "input_json_delta", "partial_json": delta["toolUse"].get("input", "")}
        elif thought is None:
            begun = self._begun(index, {"type": "text"})
            piece = {"type": "text_delta", "text": delta.get("text", "")}
        elif "redactedContent" in thought:
            return self._begun(index, {"type": "redacted_thinking", "data": thought["redactedContent"]})
        else:
            begun = self._begun(index, {"type": "thinking"})
            piece = {"type": "signature_delta", "signature": thought.get("signature", "")}
            if "text" in thought:
                piece = {"type": "thinking_delta", "thinking": thought["text"]}
        return [*begun, {"type": "content_block_delta", "index": index, "delta": piece}]

    def _last(self) -> list[bytes]:
        if not self._stopped:
            return []
        self._stopped = False
        return self._inner.event(b'{"type":"message_stop"}')

    def end(self) -> list[bytes]:
        """The last word, where no usage came after the reason."""
        return self._last()

    def error(self, status: int, body: bytes) -> bytes:
        """An error."""
        try:
            said = _object(body)
        except UpstreamFailed as error:
            return error_of(error.message, type_="api_error", code=502 if status == 200 else None)
        message = said.get("message") or said.get("Message") or f"{body[:200].decode('utf-8', 'replace')!r}"
        return _said_error(str(message), 502 if status == 200 else None, status=status)


def _said_error(message: str, code: int | None, *, status: int | None = None) -> bytes:
    status = code if status is None or status == 200 else status
    type_ = {429: "rate_limit_error", 400: "invalid_request_error"}.get(status or 500, "api_error")
    too_long = status == 400 and any(words in message.lower() for words in _TOO_LONG)
    return error_of(message, type_=type_, code="context_length_exceeded" if too_long else code)


def _reason(said: Any) -> str:
    return _REASONS.get(said, said) if isinstance(said, str) else "end_turn"


def _usage(said: Any) -> Json:
    said = said if isinstance(said, dict) else {}
    return {
        "input_tokens": said.get("inputTokens", 0),
        "output_tokens": said.get("outputTokens", 0),
        "cache_read_input_tokens": said.get("cacheReadInputTokens", 0),
        "cache_creation_input_tokens": said.get("cacheWriteInputTokens", 0),
    }


def _whole_block(block: Json) -> Json | None:
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    if "toolUse" in block:
        use = block["toolUse"]
        return {
            "type": "tool_use",
            "id": use.get("toolUseId", ""),
            "name": use.get("name", ""),
            "input": use.get("input"),
        }
    thought = block.get("reasoningContent")
    if not isinstance(thought, dict):
        return None
    if "redactedContent" in thought:
        return {"type": "redacted_thinking", "data": thought["redactedContent"]}
    text = thought.get("reasoningText") or {}
    return {
        "type": "thinking",
        "thinking": text.get("text", ""),
        "signature": text.get("signature") or "",
    }


def _object(data: bytes) -> Json:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        shown = data[:80].decode("utf-8", "replace")
        raise UpstreamFailed(f"the upstream's answer is not one of Converse; it begins {shown!r}")
    return value
