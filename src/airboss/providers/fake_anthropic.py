"""The fake provider as Anthropic: `/v1/messages`, whole and streamed, as strict as the real one.

Its names and rules are written down here once more, and not taken from the translation that they test.
Thinking that is asked for is shown; a tool that must be called is called, with the text as its input.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Asked, Call, Event, Json
from airboss.providers.fake_faults import Behaviour

THOUGHT = "Let me think about it."
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
_ID = re.compile(r"[A-Za-z0-9_-]+")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cache_control: dict[str, Any] | None = None


class _Text(_Strict, frozen=True, tag_field="type", tag="text", kw_only=True):
    text: str


class _Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["base64", "url", "text", "content", "file"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: str | list[dict[str, Any]] | None = None
    file_id: str | None = None


class _Image(_Strict, frozen=True, tag_field="type", tag="image", kw_only=True):
    source: _Source


class _Document(_Strict, frozen=True, tag_field="type", tag="document", kw_only=True):
    source: _Source
    title: str | None = None


class _Use(_Strict, frozen=True, tag_field="type", tag="tool_use", kw_only=True):
    id: str
    name: str
    input: dict[str, Any]


class _Result(_Strict, frozen=True, tag_field="type", tag="tool_result", kw_only=True):
    tool_use_id: str
    content: str | list[_Text | _Image] = ""
    is_error: bool = False


class _Thinking(_Strict, frozen=True, tag_field="type", tag="thinking", kw_only=True):
    thinking: str
    signature: str


class _Redacted(_Strict, frozen=True, tag_field="type", tag="redacted_thinking", kw_only=True):
    data: str


_Block = _Text | _Image | _Document | _Use | _Result | _Thinking | _Redacted


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


class _Tool(_Strict, frozen=True, kw_only=True):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool = False
    type: Literal["custom"] | None = None
    eager_input_streaming: bool | None = None
    defer_loading: bool = False
    allowed_callers: list[str] | None = None
    input_examples: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: int = 0
    display: str | None = None


class _Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: str
    max_tokens: int
    messages: list[_Message]
    system: str | list[_Text] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool = False
    metadata: dict[str, str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    thinking: _Budget | None = None
    output_config: _Output | None = None


_request = msgspec.json.Decoder(_Request)
_NO_GRAMMAR = frozenset(
    {"minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "uniqueItems", "oneOf"}
)


def read_messages(path: str, body: bytes, authorization: str) -> Call:
    """Read a request. Raises InvalidRequest where the real one would."""
    try:
        request = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error
    check(request)
    raw: Json = json.loads(body)
    said = [{"role": "system", "content": raw.get("system", "")}, *map(_as_openai, raw["messages"])]
    asked = msgspec.convert(
        {
            "model": request.model,
            "messages": said,
            "stream": request.stream,
            "max_tokens": request.max_tokens,
            "tools": [{"function": {"name": tool.name}} for tool in request.tools or ()],
        },
        Asked,
    )
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    return Call(path=path, asked=asked, id=digest, authorization=authorization, tongue=Anthropic(), raw=raw)


def _as_openai(turn: Json) -> Json:
    content = turn["content"]
    if isinstance(content, list):
        content = [block for block in content if block["type"] == "text"]
    return {"role": turn["role"], "content": content}


def check(request: _Request) -> None:
    """The rules that types cannot say."""
    if not request.messages:
        raise InvalidRequest("messages: at least one message is required")
    if request.max_tokens < 1:
        raise InvalidRequest("max_tokens: must be greater than or equal to 1")
    open_uses: set[str] = set()
    for number, message in enumerate(request.messages):
        blocks = [] if isinstance(message.content, str) else message.content
        if not message.content:
            raise InvalidRequest(f"messages.{number}: all messages must have non-empty content")
        for block in blocks:
            if isinstance(block, _Text) and not block.text:
                raise InvalidRequest(f"messages.{number}: text content blocks must be non-empty")
            if isinstance(block, _Use) and not _ID.fullmatch(block.id):
                raise InvalidRequest(f"messages.{number}: id {block.id!r} should match '^[a-zA-Z0-9_-]+$'")
        results = {block.tool_use_id for block in blocks if isinstance(block, _Result)}
        if results != open_uses:
            raise InvalidRequest(
                f"messages.{number}: each `tool_use` block must have a corresponding `tool_result` block in "
                f"the next message; open {sorted(open_uses)}, answered {sorted(results)}"
            )
        open_uses = {block.id for block in blocks if isinstance(block, _Use)}
    _check_thinking(request)
    _check_strict(request)


def _check_strict(request: _Request) -> None:
    for tool in request.tools or ():
        if tool.strict:
            check_grammar(f"tools: {tool.name}", tool.input_schema)
    if request.output_config is not None and request.output_config.format is not None:
        check_grammar("output_config.format", request.output_config.format.schema)


def check_grammar(where: str, schema: Any) -> None:
    """What has no place in a strict schema."""
    if not isinstance(schema, dict):
        return
    if odd := _NO_GRAMMAR & schema.keys():
        raise InvalidRequest(f"{where}: properties {', '.join(sorted(odd))} are not supported")
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise InvalidRequest(f"{where}: for 'object' type, 'additionalProperties' must be set to false")
    for inner in (*schema.get("properties", {}).values(), schema.get("items")):
        check_grammar(where, inner)


def _check_thinking(request: _Request) -> None:
    budget = request.thinking
    if budget is None or budget.type == "disabled":
        return
    if budget.type == "enabled" and not 1024 <= budget.budget_tokens < request.max_tokens:
        raise InvalidRequest("thinking.budget_tokens: at least 1024, and less than max_tokens")
    if request.temperature not in {None, 1} or request.top_k is not None:
        raise InvalidRequest("temperature may only be set to 1 when thinking is enabled")
    if request.tool_choice is not None and request.tool_choice.type in {"any", "tool"}:
        raise InvalidRequest("Thinking may not be enabled when tool_choice forces tool use.")
    last = next((m for m in reversed(request.messages) if m.role == "assistant"), None)
    if last is None or isinstance(last.content, str):
        return
    if any(isinstance(block, _Use) for block in last.content) and not isinstance(
        last.content[0], _Thinking | _Redacted
    ):
        raise InvalidRequest("Expected `thinking` or `redacted_thinking`, but found `tool_use`.")


class Anthropic:
    """How Anthropic says it."""

    stream_type = "text/event-stream; charset=utf-8"
    framed = False

    def whole(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> bytes:
        """A message."""
        blocks, reason = self._blocks(call, behaviour)
        return self._message(call, behaviour, blocks, _REASONS[finish or reason])

    @staticmethod
    def _message(call: Call, behaviour: Behaviour, blocks: list[Json], reason: str) -> bytes:
        body = {
            "id": f"msg_{call.id}",
            "type": "message",
            "role": "assistant",
            "model": call.asked.model,
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": _usage(call, behaviour, _size(blocks)),
        }
        return json.dumps(body).encode()

    @staticmethod
    def _blocks(call: Call, behaviour: Behaviour) -> tuple[list[Json], str]:
        text, reason = answers.answer(call, behaviour)
        blocks: list[Json] = []
        if (call.raw.get("thinking") or {}).get("type") in {"enabled", "adaptive"}:
            blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE})
        choice = call.raw.get("tool_choice") or {}
        if choice.get("type") in {"any", "tool"}:
            name = choice.get("name") or call.raw["tools"][-1]["name"]
            blocks.append(
                {"type": "tool_use", "id": f"toolu_{call.id}", "name": name, "input": as_input(text)}
            )
            return blocks, "tool_calls"
        if "format" in (call.raw.get("output_config") or {}):
            text = json.dumps(as_input(text))
        return [*blocks, {"type": "text", "text": text}], reason

    def events(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> list[Event]:
        """A message's events."""
        blocks, reason = self._blocks(call, behaviour)
        return self._events(call, behaviour, blocks, _REASONS[finish or reason], size=5)

    def _events(
        self, call: Call, behaviour: Behaviour, blocks: list[Json], reason: str, *, size: int
    ) -> list[Event]:
        used = _usage(call, behaviour, _size(blocks))
        begun = json.loads(self._message(call, behaviour, [], ""))
        begun |= {"stop_reason": None, "usage": {**used, "output_tokens": 1, "output_tokens_details": None}}
        found = [_event("message_start", "role", message=begun), _event("ping", "role")]
        for index, block in enumerate(blocks):
            found += _block_events(index, block, size)
        delta = {"stop_reason": reason, "stop_sequence": None}
        usage = {name: count for name, count in used.items() if name != "cache_creation"}
        found.append(_event("message_delta", "finish", delta=delta, usage=usage))
        return [*found, _event("message_stop", "done")]

    def tools(self, call: Call, behaviour: Behaviour, texts: list[str], size: int) -> bytes | list[Event]:
        """Calls of the first tool."""
        name = call.asked.tools[0].function.name if call.asked.tools else "tool"
        blocks = [block for block in self._blocks(call, behaviour)[0] if block["type"] == "thinking"]
        blocks += [
            {"type": "tool_use", "id": f"toolu_{call.id}{i}", "name": name, "input": json.loads(text)}
            for i, text in enumerate(texts)
        ]
        if not call.asked.stream:
            return self._message(call, behaviour, blocks, "tool_use")
        return self._events(call, behaviour, blocks, "tool_use", size=size)

    def error(self, status: int, message: str, *, inside: bool = False) -> bytes:  # noqa: ARG002 - the same
        """An error object."""
        type_ = _TYPES.get(status, "api_error")
        return json.dumps({"type": "error", "error": {"type": type_, "message": message}}).encode()


def as_input(text: str) -> Json:
    """A text as the input of a tool: itself, if it is an object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"text": text}


def _usage(call: Call, behaviour: Behaviour, output: int) -> Json:
    """Disjoint: what is read from the cache or written to it is not in `input_tokens`."""
    prompt = sum(answers.tokens(answers.flat(message.content)) for message in call.asked.messages)
    return {
        "input_tokens": prompt,
        "cache_read_input_tokens": behaviour.cached_tokens,
        "cache_creation_input_tokens": behaviour.written_tokens,
        "output_tokens": output + behaviour.reasoning_tokens,
        "output_tokens_details": {"thinking_tokens": behaviour.reasoning_tokens},
    }


def _size(blocks: list[Json]) -> int:
    return sum(answers.tokens(block.get("text") or json.dumps(block.get("input", ""))) for block in blocks)


def _block_events(index: int, block: Json, size: int) -> list[Event]:
    begun, deltas = dict(block), list[Json]()
    match block["type"]:
        case "text":
            begun["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in answers.pieces(block["text"])]
        case "thinking":
            begun |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": p} for p in answers.pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            begun["input"] = {}
            text = json.dumps(block["input"]) if block["input"] else ""
            parts = [text[at : at + size] for at in range(0, len(text), size)]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ["", *parts]]
    found = [_event("content_block_start", "role", index=index, content_block=begun)]
    found += [_event("content_block_delta", "content", index=index, delta=delta) for delta in deltas]
    return [*found, _event("content_block_stop", "role", index=index)]


def _event(type_: str, kind: answers.Kind, **members: Any) -> Event:
    return Event(json.dumps({"type": type_, **members}).encode(), kind, name=type_)
