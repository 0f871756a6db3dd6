"""Servers that speak OpenAI's dialect: OpenAI itself, vLLM, SGLang, llama.cpp, Ollama, the fake. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from airboss import __version__
from airboss.domain.errors import ApiError, Unavailable, UpstreamFailed, UpstreamRefused
from airboss.domain.request import Operation
from airboss.providers.usage import Usage, UsageSum

T = TypeVar("T")

PATHS: Mapping[Operation, str] = {
    "chat": "/chat/completions",
    "text_completion": "/completions",
    "embeddings": "/embeddings",
}
OUTPUT_CHARS_MAX = 8 * 1024 * 1024
"""Characters of one streamed answer that are kept for its record; more are counted, not kept."""


@lru_cache(maxsize=1024)
def _standing_head(host: str, base_path: str, operation: Operation, secret: str | None) -> bytes:
    lines = [
        f"POST {base_path}{PATHS[operation]} HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "accept-encoding: identity",
        f"user-agent: airboss/{__version__}",
    ]
    if secret is not None:
        lines.append(f"authorization: Bearer {secret}")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def request_head(
    *,
    host: str,
    base_path: str,
    operation: Operation,
    secret: str | None,
    trace: Mapping[str, str] | None,
    length: int,
) -> bytes:
    """The head of the HTTP request; `secret` is a bearer token. Values have no line ends: config checked."""
    head = _standing_head(host, base_path, operation, secret)
    for name, value in trace.items() if trace is not None else ():
        head += b"%s: %s\r\n" % (name.encode(), value.encode("latin-1"))
    return b"%scontent-length: %d\r\n\r\n" % (head, length)


class Delta(msgspec.Struct):
    """What a message or a piece of one says."""

    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    role: str | None = None


class Choice(msgspec.Struct):
    """One choice of an answer (`message` or `text`) or of a piece of one (`delta` or `text`)."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class Reply(msgspec.Struct):
    """A whole answer, or one event of a stream."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: msgspec.Raw | None = None
    id: Any = None
    model: Any = None
    created: Any = None

    @property
    def finish_reason(self) -> str | None:
        """The first choice's."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def output_chars(self) -> int:
        """How many characters the choices of a whole answer say."""
        chars = 0
        for choice in self.choices or ():
            said = choice.text
            if choice.message is not None:
                said = choice.message.content or choice.message.refusal
            if said:
                chars += len(said)
        return chars

    @property
    def says_something(self) -> bool:
        """Whether there is real output in it, and not only a role or an empty piece."""
        for choice in self.choices or ():
            said = choice.delta or choice.message
            if choice.text or choice.finish_reason:
                return True
            if said is not None and (
                said.content or said.reasoning_content or said.refusal or said.tool_calls
            ):
                return True
        return False


_reply = msgspec.json.Decoder(Reply)


def read_reply(data: bytes) -> Reply:
    """Read an answer or an event. Raises UpstreamFailed if it is not a JSON object."""
    try:
        return _reply.decode(data)
    except msgspec.ValidationError:
        return _what_can_be_read(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        shown = data[:80].decode("utf-8", "replace")
        raise UpstreamFailed(f"the upstream's answer is not JSON; it begins {shown!r}") from None


def _what_can_be_read(value: object) -> Reply:
    """The parts of an oddly shaped answer that are as expected: the rest passes on unread, because a client
    may well know what we do not."""
    if not isinstance(value, dict):
        raise UpstreamFailed(f"the upstream's answer is not a JSON object but {type(value).__name__}")
    reply = Reply(id=value.get("id"), model=value.get("model"), created=value.get("created"))
    reply.usage = _part(value.get("usage"), Usage)
    if value.get("error") is not None:
        reply.error = msgspec.Raw(msgspec.json.encode(value["error"]))
    if isinstance(value.get("choices"), list):
        reply.choices = []
        for number, said in enumerate(value["choices"]):
            choice = said if isinstance(said, dict) else {}
            reply.choices.append(
                Choice(
                    index=_part(choice.get("index"), int) or number,
                    delta=_part(choice.get("delta"), Delta),
                    message=_part(choice.get("message"), Delta),
                    text=_part(choice.get("text"), str),
                    finish_reason=_part(choice.get("finish_reason"), str),
                )
            )
    return reply


def _part(value: object, kind: type[T]) -> T | None:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


class UpstreamError(msgspec.Struct):
    """The inside of an error answer, as servers really send it."""

    message: Any = None
    type: Any = None
    code: Any = None
    param: Any = None
    n_prompt_tokens: Any = None
    """llama.cpp's, where a prompt is too long, as is `n_ctx`."""
    n_ctx: Any = None
    retry_after_s: Any = None
    """What a dialect's body says of it, where the headers say nothing."""


class ErrorEnvelope(msgspec.Struct):
    """`{"error": …}` and the other shapes that servers send: a text, or the members at the top."""

    error: UpstreamError | str | None = None
    message: Any = None
    detail: Any = None


def read_error(body: bytes) -> UpstreamError:
    """What an error answer says; never raises. Without a readable message the start of the body is shown."""
    try:
        envelope = msgspec.json.decode(body, type=ErrorEnvelope)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = " ".join(body[:200].decode("utf-8", "replace").split())
        return UpstreamError(message=f"an answer that is not JSON: {text!r}" if text else "an empty answer")
    if isinstance(envelope.error, UpstreamError):
        return envelope.error
    said = envelope.error or envelope.message or envelope.detail
    return UpstreamError(
        message=said if isinstance(said, str) else f"{body[:200].decode('utf-8', 'replace')!r}"
    )


def as_api_error(provider: str, status: int, said: UpstreamError, *, retry_after_s: float | None) -> ApiError:
    """What an upstream's error is for our caller.

    The caller's mistakes keep the upstream's status and words. The operator's (a key or a model name that the
    provider refuses) and the provider's own become 502 or 503, so that nobody looks in the wrong place.
    """
    message = said.message if isinstance(said.message, str) else "no message"
    message = message[:2000]
    code = said.code if isinstance(said.code, str) else None
    type_ = said.type if isinstance(said.type, str) else None
    param = said.param if isinstance(said.param, str) else None
    if status == 400 and type_ == "exceed_context_size_error":
        return UpstreamRefused(
            f"the prompt has {said.n_prompt_tokens} tokens, and a slot of the model has {said.n_ctx} for "
            "prompt and answer together; send less, or give the model more context_tokens or fewer slots",
            upstream_status=400,
            error_type="invalid_request_error",
            code="context_length_exceeded",
            param="messages" if param is None else param,
        )
    if status in {400, 409, 413, 415, 422}:
        return UpstreamRefused(
            message,
            upstream_status=status,
            error_type=type_ or "invalid_request_error",
            code=code,
            param=param,
        )
    if status == 429:
        return UpstreamRefused(
            message,
            upstream_status=429,
            error_type=type_ or "rate_limit_error",
            code=code or "rate_limit_exceeded",
            param=param,
            retry_after_s=retry_after_s,
        )
    if status in {401, 403}:
        return UpstreamFailed(
            f"provider {provider!r} refused our credentials ({status}): {message}; check its api_key",
            code="upstream_auth",
        )
    if status in {503, 529}:
        return Unavailable(
            f"provider {provider!r} is overloaded ({status}): {message}",
            code="upstream_unavailable",
            retry_after_s=retry_after_s,
        )
    return UpstreamFailed(f"provider {provider!r} answered {status}: {message}")


RETRYABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Answers after which the same request may fare better."""


def retry_after_s(headers: Mapping[bytes, bytes]) -> float | None:
    """The seconds that a `retry-after-ms` or `retry-after` header asks for; None for a date or nonsense."""
    for name, per_second in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, b"")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


class _AssembledChoice:
    """One choice of a streamed answer, put together."""

    def __init__(self) -> None:
        self.text: dict[str, list[str]] = {}
        self.role: str | None = None
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.finish_reason: str | None = None


class Assembly:
    """Puts the pieces of a stream together again, for its record and its usage."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._choices: dict[int, _AssembledChoice] = {}
        self._first: Reply | None = None
        self._kept = 0
        self.usage: Usage | None = None
        self.usage_sum: UsageSum | None = None
        """Where given: the upstream reports each answer's usage on its own, and `usage` is their sum."""
        self.output_chars = 0

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
            into = self._choices.get(choice.index)
            if into is None:
                into = self._choices[choice.index] = _AssembledChoice()
            if choice.finish_reason:
                into.finish_reason = choice.finish_reason
            if choice.text:
                self._add_text(into, "text", choice.text)
            if choice.delta is not None:
                self._add_delta(into, choice.delta)

    def _add_delta(self, into: _AssembledChoice, said: Delta) -> None:
        into.role = said.role or into.role
        if said.content:
            self._add_text(into, "content", said.content)
        if said.reasoning_content:
            self._add_text(into, "reasoning_content", said.reasoning_content)
        if said.refusal:
            self._add_text(into, "refusal", said.refusal)
        for call in said.tool_calls or ():
            self._add_call(into, call)

    def _add_text(self, into: _AssembledChoice, field: str, text: str) -> None:
        if field != "reasoning_content":
            self.output_chars += len(text)
        if self._kept < OUTPUT_CHARS_MAX:
            self._kept += len(text)
            into.text.setdefault(field, []).append(text)

    def _add_call(self, into: _AssembledChoice, call: dict[str, Any]) -> None:
        index = call.get("index")
        kept = into.tool_calls.setdefault(
            index if isinstance(index, int) else len(into.tool_calls),
            {"id": None, "type": "function", "function": {"name": "", "arguments": []}},
        )
        kept["id"] = call.get("id") or kept["id"]
        function = call.get("function")
        if not isinstance(function, dict):
            return
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str):
            kept["function"]["name"] += name
        if isinstance(arguments, str) and self._kept < OUTPUT_CHARS_MAX:
            self._kept += len(arguments)
            kept["function"]["arguments"].append(arguments)

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
    def usage_short(self) -> bool:
        """Whether fewer answers reported their usage than there are, where each is to report its own."""
        return self.usage_sum is not None and self.usage_sum.reports < len(self._choices)

    @property
    def finish_reason(self) -> str | None:
        """The first choice's."""
        first = self._choices.get(min(self._choices, default=0))
        return first.finish_reason if first else None

    @property
    def finished(self) -> bool:
        """Whether every choice that began has said why it ended."""
        return bool(self._choices) and all(c.finish_reason for c in self._choices.values())

    def response(self) -> bytes | None:
        """The answer as it would have come without streaming, as JSON; None if nothing came."""
        first = self._first
        if first is None:
            return None
        chat = self._operation == "chat"
        value = {
            "id": first.id,
            "object": "chat.completion" if chat else "text_completion",
            "created": first.created,
            "model": first.model,
            "choices": [
                self._message_choice(i, c) if chat else self._text_choice(i, c)
                for i, c in sorted(self._choices.items())
            ],
            "usage": self.usage,
        }
        return msgspec.json.encode(value)

    @staticmethod
    def _message_choice(index: int, choice: _AssembledChoice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": choice.role or "assistant", "content": None}
        message |= {field: "".join(parts) for field, parts in choice.text.items()}
        if choice.tool_calls:
            message["tool_calls"] = [
                c | {"function": c["function"] | {"arguments": "".join(c["function"]["arguments"])}}
                for _, c in sorted(choice.tool_calls.items())
            ]
        return {"index": index, "message": message, "finish_reason": choice.finish_reason}

    @staticmethod
    def _text_choice(index: int, choice: _AssembledChoice) -> dict[str, Any]:
        return {
            "index": index,
            "text": "".join(choice.text.get("text", ())),
            "finish_reason": choice.finish_reason,
        }
