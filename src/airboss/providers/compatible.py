"""Servers that speak OpenAI's dialect: OpenAI itself, vLLM, SGLang, llama.cpp, Ollama, the fake. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from airboss import __version__
from airboss.domain.errors import ApiError, UpstreamFailed, UpstreamRefused
from airboss.domain.request import Operation
from airboss.providers.cut import beginning, cut
from airboss.providers.faults import QUOTA_USED_UP, USED_UP, fault, is_used_up
from airboss.providers.lenient import any_json, readable, whole_number, without_halves
from airboss.providers.usage import Usage

T = TypeVar("T")

PATHS: Mapping[Operation, str] = {
    "chat": "/chat/completions",
    "text_completion": "/completions",
    "embeddings": "/embeddings",
}


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
    reasoning: str | None = None
    """What newer servers call the same (vLLM, Ollama); some send both."""
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: Any = None
    """OpenAI's older way of one call."""
    audio: Any = None
    thinking_blocks: list[dict[str, Any]] | None = None
    """Not OpenAI's: Anthropic's thoughts, signed, which their model wants back (`anthropic_answer`)."""
    hosted: Any = None
    """Not OpenAI's: the kind of what a provider's own tool has begun to do (`dialects.responses_passing`)."""
    images: list[dict[str, Any]] | None = None
    """Not OpenAI's: pictures that were made, as parts of a message have them, where OpenRouter has them."""
    role: str | None = None

    @property
    def thought(self) -> str | None:
        """What it thinks, by either name."""
        return self.reasoning_content or self.reasoning

    @property
    def says_something(self) -> bool:
        """Whether there is real output in it, and not only a role or an empty piece."""
        return bool(
            self.content
            or self.reasoning_content
            or self.reasoning
            or self.refusal
            or self.tool_calls
            or self.function_call
            or self.audio
            or self.hosted
            or self.images
        )


class Choice(msgspec.Struct):
    """One choice of an answer (`message` or `text`) or of a piece of one (`delta` or `text`)."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


BROKE_OFF = frozenset({"error", "abort", "insufficient_system_resource"})
"""Reasons to stop of what is not whole: Mistral's and OpenRouter's, SGLang's and vLLM's, DeepSeek's."""
_NO_ERROR = frozenset({b"{}", b"[]", b'""', b"false", b"0", b"null"})


class Reply(msgspec.Struct):
    """A whole answer, or one event of a stream."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: msgspec.Raw | None = None
    id: Any = None
    model: Any = None
    created: Any = None
    object: Any = None
    service_tier: Any = None

    @property
    def says_error(self) -> bool:
        """Whether `error` is one, which some servers send empty with every event, or all of it is, as with
        older vLLM."""
        if self.error is None:
            return self.choices is None and self.object == "error"
        return bytes(self.error) not in _NO_ERROR

    @property
    def answers(self) -> bool:
        """Whether there is a whole answer in it: some servers put an error beside a choice without any, and
        choices that are `null` or `{}` break clients."""
        if not self.says_error:
            for choice in self.choices or ():  # not `any`, which asks a generator
                if choice.message is not None or choice.text is not None or choice.finish_reason is not None:
                    return True
            return False
        return any(
            choice.text or (choice.message is not None and choice.message.says_something)
            for choice in self.choices or ()
        )

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
            if said is not None and said.says_something:
                return True
        return False

    @property
    def goes_on(self) -> bool:
        """Whether a piece says more than why its choice ends."""
        return any(
            choice.text or (choice.delta is not None and choice.delta.says_something)
            for choice in self.choices or ()
        )


_reply = msgspec.json.Decoder(Reply)


def read_reply(data: bytes) -> Reply:
    """Read an answer or an event. Raises UpstreamFailed if it is not a JSON object."""
    try:
        try:
            reply = _reply.decode(data)
            return reply if reply.service_tier is None else _told(reply)
        except msgspec.ValidationError:
            return _told(_what_can_be_read(any_json(data)))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # An odd member may hide that what comes after it is no JSON.
        shown = repr(beginning(data, 80))
        if data.lstrip()[:1] == b"{":  # its words may be a part of a key that other events have the rest of
            shown = f"as an object, and is {len(data)} bytes long"
        raise UpstreamFailed(f"the upstream's answer is not JSON; it begins {shown}") from None


def read_event(data: bytes) -> Reply:
    """As `read_reply`, an event: where a character is cut in two, as some servers do, its halves count as one
    each that cannot be shown."""
    try:
        return _told(_reply.decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return read_reply(without_halves(data))


def _told(reply: Reply) -> Reply:
    """The tier of service, which OpenAI says beside the usage that is billed by it, goes with that."""
    if reply.service_tier is not None and reply.usage is not None:
        reply.usage.service_tier = reply.service_tier
    return reply


def _what_can_be_read(value: object) -> Reply:
    """The parts of an oddly shaped answer that are as expected: the rest passes on unread, because a client
    may well know what we do not."""
    if not isinstance(value, dict):
        raise UpstreamFailed(f"the upstream's answer is not a JSON object but {type(value).__name__}")
    reply = Reply(id=value.get("id"), model=value.get("model"), created=value.get("created"))
    reply.usage = _usage(value.get("usage"))
    if value.get("error") is not None:
        reply.error = msgspec.Raw(msgspec.json.encode(value["error"]))
    reply.object, reply.service_tier = value.get("object"), value.get("service_tier")
    if isinstance(value.get("choices"), list):
        reply.choices = []
        for number, said in enumerate(value["choices"]):
            choice = said if isinstance(said, dict) else {}
            reply.choices.append(
                Choice(
                    index=_part(choice.get("index"), int) or number,
                    delta=_delta(choice.get("delta")),
                    message=_delta(choice.get("message")),
                    text=_part(choice.get("text"), str),
                    finish_reason=_part(choice.get("finish_reason"), str),
                )
            )
    return reply


def _delta(value: object) -> Delta | None:
    """What is said, as far as it can be read; a content in parts is its texts (Mistral's, say)."""
    said = _struct(value, Delta)
    if said is not None and isinstance(value, dict) and isinstance(value.get("content"), list):
        parts = [part for part in value["content"] if isinstance(part, dict)]
        said.content = "".join(_text(part.get("text")) for part in parts) or None
        thoughts = [part.get("thinking") for part in parts]
        said.reasoning = "".join(_text(each) for each in thoughts) or said.reasoning
    return said


def _usage(value: object) -> Usage | None:
    """The usage; none where one of its counts cannot be true. Odd details hide no count."""
    if not isinstance(value, dict):
        return None
    value = {name: whole_number(each) for name, each in value.items()}
    said = _struct(value, Usage)
    if said is None:
        return None
    counts = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
    odd = [name for name, count in counts.items() if value.get(name) is not None and value[name] != count]
    return None if odd else said


def _text(value: object) -> str:
    """A text, or the texts of parts."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _struct(value: object, kind: type[T]) -> T | None:
    try:
        return cast("T", readable(value, kind))
    except msgspec.ValidationError:
        return None


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
    object: Any = None
    type: Any = None
    code: Any = None
    param: Any = None


MESSAGE_CHARS = 2000
"""Of an error; more is cut off."""
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z_.-]|\d{1,3}(?!\d)){0,63}|\d{1,6}", re.ASCII)


def name_in(said: object) -> str | None:
    """An error's code or type, or a reason to stop, if it is a name: these stand in records, metrics and
    pages, where what an upstream says again of a request must not, nor what is too long for them."""
    return said if isinstance(said, str) and _NAME.fullmatch(said) else None


def read_error(body: bytes) -> UpstreamError:
    """What an error answer says; never raises. Without a readable message the start of the body is shown."""
    try:
        said = msgspec.convert(any_json(without_halves(body)), ErrorEnvelope | list[ErrorEnvelope])
        # Google's own OpenAI endpoint has errors in a list.
        envelope = said if isinstance(said, ErrorEnvelope) else said[0] if said else ErrorEnvelope()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = " ".join(beginning(body, 200).split())
        return UpstreamError(message=f"an answer that is not JSON: {text!r}" if text else "an empty answer")
    error = envelope.error if isinstance(envelope.error, UpstreamError) else UpstreamError()
    if envelope.object == "error" and envelope.error is None:
        error = UpstreamError(type=envelope.type, code=envelope.code, param=envelope.param)
    message = error.message or envelope.error or envelope.message or envelope.detail
    error.message = message if isinstance(message, str) else f"{beginning(body, 200)!r}"
    return error


_MISSING = re.compile(
    r"\bwith id\b|\b(?:[a-z]{2,8}_|file-)[a-z\d]{6,}.{0,100} (?:not found|does not exist)", re.IGNORECASE
)
_OF_A_MODEL = re.compile(r"\b(?:model|deployment)\b", re.IGNORECASE)
NO_MODEL = ("model_not_found", "DeploymentNotFound")
"""How OpenAI and Azure say that they do not know a model."""


def names_what_is_missing(said: UpstreamError) -> bool:
    """Whether a 404 is about something that the request names (an item, a file, a store of OpenAI's), and
    not about the route or the model."""
    if said.code in NO_MODEL:
        return False
    if isinstance(said.param, str) and said.param:
        return said.param != "model"
    found = _MISSING.search(said.message) if isinstance(said.message, str) else None
    return found is not None and _OF_A_MODEL.search(found.string, 0, found.start()) is None


def as_api_error(provider: str, status: int, said: UpstreamError, *, retry_after_s: float | None) -> ApiError:
    """What an upstream's error is for our caller.

    The caller's mistakes keep the upstream's status and words. The operator's (a key or a model name that the
    provider refuses) and the provider's own become 502 or 503, so that nobody looks in the wrong place.
    """
    message = said.message if isinstance(said.message, str) else "no message"
    message = cut(message, MESSAGE_CHARS)
    code, type_ = name_in(said.code), name_in(said.type)
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
    if status in {400, 413, 422} and code != "context_length_exceeded" and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    missing = status == 404 and names_what_is_missing(said)
    spent = is_used_up(status, code, type_, message)
    if missing or (status in {400, 409, 413, 415, 422} and not spent):
        return UpstreamRefused(
            message,
            upstream_status=status,
            error_type=type_ or "invalid_request_error",
            code=code or ("not_found" if missing else None),
            param=param,
        )
    if status == 429:
        return UpstreamRefused(
            message,
            upstream_status=429,
            error_type=type_ or "rate_limit_error",
            code=QUOTA_USED_UP if spent and code not in USED_UP else code or "rate_limit_exceeded",
            param=param,
            retry_after_s=retry_after_s,
        )
    return fault(provider, status, message, spent=spent, retry_after_s=retry_after_s)


_TOO_LONG = re.compile(
    r"maximum context length|context[ _-](?:length|window|limit|size)|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|token count .{0,40}exceeds"
    r"|exceeds? the (?:maximum|model's|available).{0,40}(?:tokens|context)"
    r"|max_new_tokens` must be|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
"""How providers that have no code for it say that a prompt does not fit."""


def check_whole(provider: str, reply: Reply) -> None:
    """Raise UpstreamFailed where an answer or an event says by its reason to stop that it broke off."""
    for choice in reply.choices or ():
        if choice.finish_reason in BROKE_OFF:
            why = f"provider {provider!r} broke its answer off: finish_reason {choice.finish_reason!r}"
            raise UpstreamFailed(why, code="stream_cut")


def error_in(provider: str, body: bytes) -> ApiError:
    """The error that an answer with status 200 holds, with the status that it names itself."""
    said = read_error(body)
    found = as_api_error(provider, _status_in(said), said, retry_after_s=None)
    if type(found) is UpstreamFailed and found.code == UpstreamFailed.default_code:
        return UpstreamFailed(f"provider {provider!r} failed within an answer: {said.message}")
    return found


def _status_in(said: UpstreamError) -> int:
    """The status that an error would have come with: its code, where that is one, or by its code or type."""
    for name in (said.code, said.type):
        status = int(name) if isinstance(name, str) and _NUMBER.fullmatch(name) else name
        if isinstance(status, int) and 400 <= status < 600:
            return status
        if isinstance(name, str) and name in _STATUS:
            return _STATUS[name]
    return 502


_NUMBER = re.compile(r"[45]\d\d")
_STATUS: Mapping[str, int] = {
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "invalid_api_key": 401,
    **dict.fromkeys(USED_UP, 429),
    "rate_limit_exceeded": 429,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""Of codes and types of OpenAI's and Anthropic's that say it."""


RETRY_AFTER_S_MAX = 7 * 86_400.0
"""Nobody waits longer, whoever asks it."""


def retry_after_s(headers: Mapping[bytes, bytes]) -> float | None:
    """The seconds that a `retry-after-ms` or `retry-after` header asks for, of a date those after the
    answer's own `date`; None for nonsense."""
    for name, per_second in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, b"")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, RETRY_AFTER_S_MAX)
    until, now = (_date(headers.get(name, b"")) for name in (b"retry-after", b"date"))
    if until is None or now is None or until < now:
        return None
    return min((until - now).total_seconds(), RETRY_AFTER_S_MAX)


def _date(said: bytes) -> datetime | None:
    """A date of HTTP's (RFC 9110, 5.6.7), which is in UTC whatever it says."""
    try:
        return parsedate_to_datetime(said.decode("latin-1")).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
