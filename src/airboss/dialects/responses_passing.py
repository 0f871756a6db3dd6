"""A client of OpenAI's Responses in front of a provider that has them: its bytes go there, and the answer's
come back, as they are.

Pure. Only what the release says is put among the client's members, and the conversation that the call builds
on: responses are kept here, so that any provider can go on from them. The answer is read as chat all the
same, for record, usage and deadlines. What the client gets are the bytes that were read: they ride with the
chat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airboss.config.tiers import tier_named
from airboss.dialects.chat_said import text_of
from airboss.dialects.heard import NOTHING, OURS, before, carrying, put_parameters
from airboss.dialects.responses_items import EXTRA, SEALED, WAITING, image_url, unnamed_items
from airboss.dialects.responses_request import Asked
from airboss.dialects.responses_tools import CLIENTS, SEARCH, SEARCH_CALL, flat_name
from airboss.dialects.speech import Json, Passing, encode
from airboss.domain.errors import UpstreamFailed
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.providers import lenient
from airboss.providers.chat_answer import (
    ChatWriter,
    FinishReason,
    error_of,
    tool_call,
    usage_of,
    whole_choice,
)
from airboss.providers.cut import beginning
from airboss.providers.dialect import DONE, Outgoing
from airboss.providers.dialects import responses_place
from airboss.providers.usage import Tokens

KINDS = frozenset({"openai", "azure"})
"""Kinds of providers that have the route unless they say otherwise."""
PARAMETERS: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "parallel_tool_calls": "parallel_tool_calls",
}
"""A release's parameters that Responses have, and their names there."""
LAST = frozenset({"response.completed", "response.incomplete"})
"""Events that end a stream well."""
STATUS: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 504,
    **dict.fromkeys(
        (
            "invalid_prompt",
            "data_residency_mismatch",
            "bio_policy",
            "cyber_policy",
            "misalignment_policy_violation",
            "image_content_policy_violation",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "invalid_image_mode",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "image_file_too_large",
            "image_file_not_found",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
        ),
        400,
    ),
}
"""The status of an error that comes inside of an answer, by its code (OpenAI's `ResponseError`). Those of
400 are the caller's to mend."""
_FINISH: Mapping[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_CALLS = frozenset({"function_call", "custom_tool_call", SEARCH_CALL})
_SAID = frozenset({"message", "reasoning"}) | _CALLS - {SEARCH_CALL}
_NULL = b"null"
_OUR_THOUGHTS = re.compile(r"rs_[0-9a-f]{32}(?:_\d+)?")
"""Ids of items of thoughts as they are made here; OpenAI's are longer."""


def speaks(target: Target) -> bool:
    """Whether a target's provider has the route."""
    return target.responses if target.responses is not None else target.kind in KINDS


def pass_on(
    asked: Asked,
    target: Target,
    release: Release,
    lead: Sequence[Mapping[str, str]],
    history: Sequence[msgspec.Raw],
) -> Passing | None:
    """How a request goes on; None where it goes as chat (`Speech.passing`). `history` are the messages of the
    responses that it builds on."""
    parameters = release.params.keys() | release.params_force.keys()
    if not speaks(target) or parameters - PARAMETERS.keys():
        return None
    members = asked.members
    changes: dict[str, bytes | None] = {name: None for name in OURS if name in members}
    first: list[Json] = [dict(turn) for turn in lead]
    if first and asked.request.instructions:
        # They come before all input there, and the release's prompt comes before the client's own.
        first.insert(
            sum(turn["role"] == "system" for turn in lead),
            {"role": "system", "content": asked.request.instructions},
        )
        changes["instructions"] = None
    if asked.request.previous_response_id is not None:
        changes["previous_response_id"] = None
        first += as_input([msgspec.json.decode(each) for each in history])
    given = asked.request.input
    own = given if given is None or isinstance(given, str) else _theirs(given, named=target.kind in KINDS)
    if first:
        said = encode([{"role": "user", "content": own}]) if isinstance(own, str) else encode(own or [])
        changes["input"] = before(first, said)
    elif own is not given and own != given:
        changes["input"] = encode(own)
    put_parameters(changes, members, release, PARAMETERS)
    path, authorise = responses_place(target)
    outgoing = Outgoing(
        path=path,
        body=b"",
        authorise=authorise,
        streams=bool(asked.request.stream),
        reader=PassingReader,
        or_chat=True,
    )
    return Passing(outgoing=outgoing, changes=changes)


def _theirs(given: Sequence[msgspec.Raw], *, named: bool) -> list[msgspec.Raw]:
    """The items of an input that OpenAI knows: without what was said here of another model's. `named`: also
    by their ids, which vLLM gives its own thoughts too, and looks for nowhere."""
    own: list[msgspec.Raw] = []
    for item in given:
        kind = _kind(item)  # of one with pictures no more is read: they are megabytes
        if not (kind == "reasoning" and _is_ours(bytes(item), named=named)):
            own.append(_bare(item) if kind in _CALLS else item)
    return own


def _kind(item: msgspec.Raw) -> str:
    """The type of an item; "" where it has none that can be read."""
    try:
        kind = _typed.decode(item).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return kind if isinstance(kind, str) else ""


def _bare(call: msgspec.Raw) -> msgspec.Raw:
    """A call without what Google says of it."""
    if EXTRA.encode() not in bytes(call):
        return call
    members = lenient.decoded(_item_members, bytes(call))
    return call if members.pop(EXTRA, None) is None else msgspec.Raw(encode(members))


def _is_ours(item: bytes, *, named: bool) -> bool:
    """Whether an item of thoughts was said here for another model: OpenAI looks for what it calls so, and
    finds nothing."""
    said = lenient.decoded(_named, item)
    if said.thinking_blocks is not None or text_of(said.encrypted_content).startswith(SEALED):
        return True
    # Some clients keep no ids: OpenAI's own it knows by what it has encrypted.
    unknown = not said.id and not said.encrypted_content
    return named and (unknown or _OUR_THOUGHTS.fullmatch(text_of(said.id)) is not None)


def as_input(messages: Sequence[Any]) -> list[Json]:
    """Messages as items of an input: without ids, by which OpenAI would look for what it does not keep."""
    found: list[Json] = []
    for item in unnamed_items(messages):
        if text_of(item.get("type")) in WAITING:
            found.append(item)
            continue
        if item.get("type") == "image_generation_call":
            # Only one that OpenAI has kept may be an item of its own: as what the user shows, all know it.
            shown = {"type": "input_image", "detail": "auto", "image_url": image_url(text_of(item["result"]))}
            found.append({"role": "user", "content": [shown]})
            continue
        kept = {name: value for name, value in item.items() if name not in {"id", "status"}}
        content = kept.get("content")
        if kept.get("role") == "assistant" and isinstance(content, list):
            parts = [part for part in content if isinstance(part, dict)]
            texts = [text_of(part.get("text")) or text_of(part.get("refusal")) for part in parts]
            kept["content"] = "".join(texts)
        found.append(kept)
    return found


class _Typed(msgspec.Struct):
    type: Any = ""


class _Named(msgspec.Struct):
    id: Any = ""
    thinking_blocks: Any = None
    encrypted_content: Any = None


_typed = msgspec.json.Decoder(_Typed)
_named = msgspec.json.Decoder(_Named)
_item_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Reason(msgspec.Struct):
    reason: str = ""


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None
    type: Any = None


class _Cached(msgspec.Struct):
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0


class _Reasoned(msgspec.Struct):
    reasoning_tokens: Tokens = 0


class _Usage(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_tokens_details: _Cached | None = None
    output_tokens_details: _Reasoned | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    call_id: str = ""
    name: str = ""
    namespace: str | None = None
    execution: str | None = None
    arguments: Any = ""
    input: str = ""
    id: str = ""
    encrypted_content: Any = None

    @property
    def calls(self) -> bool:
        """Whether it calls one of the client's own tools."""
        return self.type in _CALLS and (self.type != SEARCH_CALL or self.execution == CLIENTS)

    @property
    def called(self) -> str:
        """The name of the function that it calls in chat."""
        return SEARCH if self.type == SEARCH_CALL else flat_name(self.namespace, self.name)

    @property
    def said(self) -> str:
        """What it calls that with, as far as it is there."""
        return lenient.arguments_of(self.arguments) or self.input


class _Response(msgspec.Struct):
    id: str = ""
    object: str = ""
    model: str = ""
    status: str = ""
    output: list[_Item] | None = None
    incomplete_details: _Reason | None = None
    error: _Error | None = None
    usage: _Usage | None = None
    service_tier: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None
    output_index: int = 0
    item: _Item | None = None
    delta: str = ""
    error: Any = None
    code: Any = None
    message: Any = None

    @property
    def cause(self) -> _Error:
        """What one of the type `error` says, inside of it or at its top."""
        if isinstance(self.error, dict):
            inside: _Error = lenient.readable(self.error, _Error)
            return inside
        return _Error(code=self.code, message=self.error or self.message)


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)


class PassingReader:
    """Reads one attempt's answer; what it gives carries the answer as it came (`dialects.heard`)."""

    def __init__(self, created: int) -> None:
        self._write = ChatWriter(created)
        self._usage: _Usage | None = None
        self._tier: Any = None
        self._calls: dict[int, int] = {}
        """The number of a tool call, by the place of its item in the output."""
        self._argued: set[int] = set()
        """Those of them whose arguments have come."""

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        said = _decoded(_response, body)
        if said.object != "response":
            return body
        self._begin(said)
        if said.output is None or said.status == "failed":
            return _failed(said.error, self.told())
        texts, refusals, thoughts, calls = list[str](), list[str](), list[str](), list[Json]()
        blocks: list[Json] = []
        for item in said.output:
            for part in item.content or ():
                texts.append(part.text if part.type == "output_text" else "")
                refusals.append(part.refusal)
                thoughts.append(part.text if part.type == "reasoning_text" else "")
            thoughts += [part.text for part in item.summary or ()]
            blocks += self._thoughts_of(item)
            if item.calls:
                calls.append(tool_call(item.call_id, item.called, item.said))
        text, refusal = "".join(texts), "".join(refusals)
        choice = whole_choice(
            finish=_finish(said, calls=bool(calls)),
            content=text if text or not (calls or refusal) else None,
            reasoning="".join(thoughts) or None,
            tool_calls=calls or None,
            extra={name: each for name, each in (("refusal", refusal), ("thinking_blocks", blocks)) if each},
        )
        return self.carried(self._write.whole([choice], self.told()), body)

    def carried(self, chat: bytes, heard: bytes) -> bytes:
        """What was read, with what it was read from."""
        return carrying(chat, [heard])

    def thought(self, item_id: str, summary: str, encrypted: Any) -> Json | None:  # noqa: ARG002 - it passes
        """What a model thought, as a block of the client's; None where it has it as it came."""
        return None

    def _thoughts_of(self, item: _Item) -> list[Json]:
        if item.type != "reasoning":
            return []
        summary = "".join(part.text for part in item.summary or ())
        block = self.thought(item.id, summary, item.encrypted_content)
        return [] if block is None else [block]

    def _begin(self, said: _Response) -> None:
        self._write.id, self._write.model = said.id or self._write.id, said.model or self._write.model
        self._usage = said.usage or self._usage
        self._tier = said.service_tier or self._tier

    def told(self) -> Json | None:
        """The usage as far as it has been told."""
        used = self._usage
        if used is None or used.input_tokens is None or used.output_tokens is None:
            return None
        read = used.input_tokens_details or _Cached()
        cached = min(read.cached_tokens, used.input_tokens)
        written = min(read.cache_write_tokens, used.input_tokens - cached)
        reasoned = used.output_tokens_details or _Reasoned()
        return usage_of(
            uncached=used.input_tokens - cached - written,
            output=used.output_tokens,
            cached=cached,
            written=written,
            reasoning=min(reasoned.reasoning_tokens, used.output_tokens),
            tier=tier_named(self._tier),
        )

    def event(self, data: bytes) -> list[bytes]:
        """One event. One that chat has no words for still moves the stream on."""
        if data == DONE:
            return []  # some servers end every stream so
        said = _decoded(_event, data)
        if said.response is not None:
            self._begin(said.response)
        if said.type == "error":
            return [_failed(said.cause)]
        if said.type == "response.failed" and said.response is not None:
            return [_failed(said.response.error, self.told())]
        if said.error:  # OpenAI's clients take any event with one for an error; its words are those of chat
            return [encode({"error": said.error})]
        if said.type in LAST and said.response is not None:
            finish = self._write.chunk({}, finish=_finish(said.response, calls=bool(self._calls)))
            usage = self.told()
            more = [self._write.usage_chunk(usage)] if usage is not None else []
            return [self.carried(finish, data), *more, DONE]
        delta = self._delta(said)
        return [self.carried(NOTHING if delta is None else self._write.chunk(delta), data)]

    def _delta(self, said: _Event) -> Json | None:  # noqa: PLR0911 - one for each kind of event
        """What an event says in chat; None where that has no words for it."""
        match said.type:
            case "response.output_text.delta":
                return {"content": said.delta}
            case "response.refusal.delta":
                return {"refusal": said.delta}
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                return {"reasoning_content": said.delta}
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                return self._arguments(said.output_index, said.delta)
            case "response.output_item.added" if said.item is not None and said.item.calls:
                number = self._calls[said.output_index] = len(self._calls)
                call = tool_call(said.item.call_id, said.item.called, "")
                return {"tool_calls": [{"index": number, **call}]}
            case "response.output_item.added" if said.item is not None and said.item.type not in _SAID:
                return {"hosted": said.item.type}
            case "response.output_item.done" if said.item is not None and said.item.type == "reasoning":
                blocks = self._thoughts_of(said.item)
                return {"thinking_blocks": blocks} if blocks else None
            case "response.output_item.done" if said.item is not None and said.item.calls:
                if said.output_index not in self._argued:
                    return self._arguments(said.output_index, said.item.said)
        return None

    def _arguments(self, at: int, text: str) -> Json | None:
        """A piece of a call's arguments, or all of them where they did not come in pieces."""
        number = self._calls.get(at)
        if number is None or not text:
            return None
        self._argued.add(at)
        return {"tool_calls": [{"index": number, "function": {"arguments": text}}]}

    def end(self) -> list[bytes]:
        """Nothing: a stream that ended well has said so."""
        return []

    def error(self, status: int, body: bytes) -> bytes:  # noqa: ARG002 - other dialects look at the status
        """An error: it is OpenAI's already."""
        return body


def _finish(said: _Response, *, calls: bool) -> FinishReason:
    if said.status == "incomplete":
        reason = said.incomplete_details.reason if said.incomplete_details is not None else ""
        return _FINISH.get(reason, "length")
    return "tool_calls" if calls else "stop"


def _failed(error: _Error | None, usage: Json | None = None) -> bytes:
    error = error or _Error()
    message = error.message if isinstance(error.message, str) else "no message"
    code: str | int = STATUS.get(str(error.code), 502)
    if error.code == "context_length_exceeded":
        code = "context_length_exceeded"
    type_ = error.type if isinstance(error.type, str) else str(error.code or "upstream_error")
    if code == 400:
        code, type_ = str(error.code), "invalid_request_error"
    return error_of(message, type_=type_, code=code, usage=usage)


def _decoded(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    try:
        return lenient.decoded(decoder, data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        shown = beginning(data, 80)
        raise UpstreamFailed(
            f"the upstream's answer is no response of OpenAI's; it begins {shown!r}"
        ) from None
