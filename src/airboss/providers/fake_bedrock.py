"""The fake provider as Bedrock: `/model/…/converse` and `/model/…/converse-stream`, in AWS's binary frames.

Its names and rules are written down here once more, and not taken from the translation that they test.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Asked, Call, Event, Json
from airboss.providers.fake_anthropic import as_input, check_grammar
from airboss.providers.fake_faults import Behaviour

THOUGHT = "Let me think about it."
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "content_filtered",
    "tool_calls": "tool_use",
}
_EXCEPTIONS = {400: "validationException", 429: "throttlingException", 503: "serviceUnavailableException"}


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class _Source(_Struct, frozen=True):
    bytes: str


class _Image(_Struct, frozen=True):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: _Source


class _Document(_Struct, frozen=True):
    format: str
    name: str
    source: _Source


CallId = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_.:-]{1,64}$")]
"""Of a call."""


class _Use(_Struct, frozen=True):
    tool_use_id: CallId
    name: str
    input: dict[str, Any]


class _ResultText(_Struct, frozen=True):
    text: str | None = None
    image: _Image | None = None


class _Result(_Struct, frozen=True):
    tool_use_id: CallId
    content: list[_ResultText]


class _Block(_Struct, frozen=True):
    text: str | None = None
    image: _Image | None = None
    document: _Document | None = None
    tool_use: _Use | None = None
    tool_result: _Result | None = None
    reasoning_content: dict[str, Any] | None = None
    cache_point: dict[str, str] | None = None


class _Message(_Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: list[_Block]


class _Limits(_Struct, frozen=True):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None


class _Schema(_Struct, frozen=True):
    json: dict[str, Any]


class _Spec(_Struct, frozen=True):
    name: str
    input_schema: _Schema
    description: str | None = None


class _Tool(_Struct, frozen=True):
    tool_spec: _Spec | None = None
    cache_point: dict[str, str] | None = None


class _ToolConfig(_Struct, frozen=True):
    tools: list[_Tool]
    tool_choice: dict[str, dict[str, str]] | None = None


class _Tier(_Struct, frozen=True):
    type: Literal["priority", "default", "flex", "reserved"]


class _JsonSchema(_Struct, frozen=True):
    schema: str
    name: str | None = None
    description: str | None = None


class _Structure(_Struct, frozen=True):
    json_schema: _JsonSchema


class _TextFormat(_Struct, frozen=True):
    type: Literal["json_schema"]
    structure: _Structure


class _OutputConfig(_Struct, frozen=True):
    text_format: _TextFormat | None = None


class _Request(_Struct, frozen=True):
    messages: list[_Message]
    system: list[_Block] | None = None
    inference_config: _Limits = _Limits()
    tool_config: _ToolConfig | None = None
    additional_model_request_fields: dict[str, Any] | None = None
    additional_model_response_field_paths: list[str] | None = None
    service_tier: _Tier | None = None
    output_config: _OutputConfig | None = None
    guardrail_config: dict[str, str] | None = None
    performance_config: dict[str, str] | None = None
    request_metadata: dict[str, str] | None = None


_request = msgspec.json.Decoder(_Request)


def read_converse(path: str, body: bytes, authorization: str, *, model: str, stream: bool) -> Call:
    """Read a request. Raises InvalidRequest where the real one would."""
    try:
        request = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error
    roles = [message.role for message in request.messages]
    if not roles or roles[0] != "user" or any(a == b for a, b in pairwise(roles)):
        raise InvalidRequest("A conversation must start with a user message and alternate between roles.")
    if any(not message.content for message in request.messages):
        raise InvalidRequest("The content field in the Message object is empty.")
    _check_form(request)
    raw: Json = json.loads(body)
    said = [{"role": "system", "content": raw.get("system", [])}]
    said += [{"role": turn["role"], "content": turn["content"]} for turn in raw["messages"]]
    tools = [tool.tool_spec for tool in request.tool_config.tools] if request.tool_config else []
    asked = msgspec.convert(
        {
            "model": model,
            "messages": said,
            "stream": stream,
            "max_tokens": request.inference_config.max_tokens,
            "tools": [{"function": {"name": tool.name}} for tool in tools if tool is not None],
        },
        Asked,
    )
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    return Call(path=path, asked=asked, id=digest, authorization=authorization, tongue=Bedrock(), raw=raw)


def _check_form(request: _Request) -> None:
    if "format" in (request.additional_model_request_fields or {}).get("output_config", {}):
        raise InvalidRequest("output_config.format: Extra inputs are not permitted")
    wanted = request.output_config.text_format if request.output_config is not None else None
    if wanted is not None:
        check_grammar("outputConfig.textFormat", json.loads(wanted.structure.json_schema.schema))


class Bedrock:
    """How Converse says it."""

    stream_type = "application/vnd.amazon.eventstream"
    framed = True

    def whole(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> bytes:
        """A response."""
        blocks, reason = self._blocks(call, behaviour)
        return self._response(call, behaviour, blocks, _REASONS[finish or reason])

    @staticmethod
    def _response(call: Call, behaviour: Behaviour, blocks: list[Json], reason: str) -> bytes:
        body = {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": reason,
            "usage": _usage(call, behaviour, blocks),
            "metrics": {"latencyMs": 1},
        }
        return json.dumps(body).encode()

    @staticmethod
    def _blocks(call: Call, behaviour: Behaviour) -> tuple[list[Json], str]:
        text, reason = answers.answer(call, behaviour)
        blocks: list[Json] = []
        if "thinking" in call.raw.get("additionalModelRequestFields", {}):
            thought = {"text": THOUGHT, "signature": SIGNATURE}
            blocks.append({"reasoningContent": {"reasoningText": thought}})
        choice = call.raw.get("toolConfig", {}).get("toolChoice", {})
        if "any" in choice or "tool" in choice:
            name = choice.get("tool", {}).get("name") or call.asked.tools[-1].function.name
            use = {"toolUseId": f"tooluse_{call.id}", "name": name, "input": as_input(text)}
            return [*blocks, {"toolUse": use}], "tool_calls"
        if "textFormat" in call.raw.get("outputConfig", {}):
            text = json.dumps(as_input(text))
        return [*blocks, {"text": text}], reason

    def events(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> list[Event]:
        """A response in frames."""
        blocks, reason = self._blocks(call, behaviour)
        return self._events(call, behaviour, blocks, _REASONS[finish or reason], size=5)

    @staticmethod
    def _events(
        call: Call, behaviour: Behaviour, blocks: list[Json], reason: str, *, size: int
    ) -> list[Event]:
        found = [_event("messageStart", "role", {"role": "assistant"})]
        for index, block in enumerate(blocks):
            found += _block_events(index, block, size)
        found.append(_event("messageStop", "finish", {"stopReason": reason}))
        usage = {"usage": _usage(call, behaviour, blocks), "metrics": {"latencyMs": 1}}
        return [*found, _event("metadata", "usage", usage)]

    def tools(self, call: Call, behaviour: Behaviour, texts: list[str], size: int) -> bytes | list[Event]:
        """Calls of the first tool."""
        name = call.asked.tools[0].function.name if call.asked.tools else "tool"
        blocks: list[Json] = [
            {"toolUse": {"toolUseId": f"tooluse_{call.id}{i}", "name": name, "input": json.loads(text)}}
            for i, text in enumerate(texts)
        ]
        if not call.asked.stream:
            return self._response(call, behaviour, blocks, "tool_use")
        return self._events(call, behaviour, blocks, "tool_use", size=size)

    def error(self, status: int, message: str, *, inside: bool = False) -> bytes:
        """An error object; inside of a stream a frame of its own kind."""
        body = json.dumps({"message": message}).encode()
        if not inside:
            return body
        return frame(_EXCEPTIONS.get(status, "internalServerException"), body, exception=True)


def frame(name: str, payload: bytes, *, exception: bool = False) -> bytes:
    """One frame of AWS's event stream."""
    kind = "exception" if exception else "event"
    return framed(
        {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}, payload
    )


def framed(given: Mapping[str, str], payload: bytes) -> bytes:
    """One frame with these headers."""
    headers = b"".join(
        struct.pack(">B", len(key)) + key.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for key, value in given.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    said = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return said + struct.pack(">I", zlib.crc32(said))


def _event(name: str, kind: answers.Kind, payload: Json) -> Event:
    return Event(frame(name, json.dumps(payload).encode()), kind, framed=True)


def _block_events(index: int, block: Json, size: int) -> list[Event]:
    found, deltas = list[Event](), list[Json]()
    if "text" in block:
        deltas = [{"text": piece} for piece in answers.pieces(block["text"])]
    elif "toolUse" in block:
        use = {name: value for name, value in block["toolUse"].items() if name != "input"}
        found.append(
            _event("contentBlockStart", "role", {"start": {"toolUse": use}, "contentBlockIndex": index})
        )
        text = json.dumps(block["toolUse"]["input"])
        deltas = [{"toolUse": {"input": text[at : at + size]}} for at in range(0, len(text), size)]
    else:
        thought = block["reasoningContent"]["reasoningText"]
        deltas = [{"reasoningContent": {"text": piece}} for piece in answers.pieces(thought["text"])]
        deltas.append({"reasoningContent": {"signature": thought["signature"]}})
    found += [
        _event("contentBlockDelta", "content", {"delta": delta, "contentBlockIndex": index})
        for delta in deltas
    ]
    return [*found, _event("contentBlockStop", "role", {"contentBlockIndex": index})]


def _usage(call: Call, behaviour: Behaviour, blocks: list[Json]) -> Json:
    prompt = sum(answers.tokens(answers.flat(message.content)) for message in call.asked.messages)
    output = sum(answers.tokens(block.get("text") or json.dumps(block)) for block in blocks)
    return {
        "inputTokens": prompt,
        "outputTokens": output,
        "totalTokens": prompt + output + behaviour.cached_tokens + behaviour.written_tokens,
        "cacheReadInputTokens": behaviour.cached_tokens,
        "cacheWriteInputTokens": behaviour.written_tokens,
    }
