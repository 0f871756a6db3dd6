"""OpenAI's dialect: what a request must look like, and what every error looks like. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, TypeVar

import msgspec

from airboss.dialects.heard import OURS
from airboss.domain.errors import ApiError, InvalidRequest
from airboss.domain.release import ProviderKind, Release
from airboss.domain.request import Operation
from airboss.gateway.multipart import Part
from airboss.gateway.outline import free_of_controls, outline, plain_ends, what_is_said
from airboss.gateway.splice import (
    DEPTH_MAX,
    FLOOD,
    LONG,
    MEMBERS_MAX,
    asking_usage,
    has_too_many,
    in_pieces,
    insert_member,
    join_members,
    long_member,
    member_spans,
    members,
    remember,
    repeated_member,
    replace,
    replace_model,
    stands_in,
    too_deep,
)
from airboss.providers.cut import NAME_CHARS_MAX, brief, cut
from airboss.providers.outbox import Pieces
from airboss.releases.render import Turn, leading_messages
from airboss.releases.variant import Variant
from airboss.store.usage import LABEL_CHARS_MAX, LABELS_KEPT_MAX

_encode = msgspec.json.Encoder().encode
_ASKING = b'"stream_options":' + asking_usage(b"null")
"""Of a stream's request that says nothing of it."""

TAGS_MAX = 64
TOP_LOGPROBS_MAX = 20
"""OpenAI's own; a local engine asked for millions gives them, in seconds and hundreds of megabytes."""


Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number that those who read it after us can hold."""


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class ContentPart(msgspec.Struct):
    """One part of a message's content; `type` is `text`, `image_url`, `input_audio` and so on."""

    type: str


class Message(msgspec.Struct):
    """One message; only what every model needs is looked at. In a long body what is said may be left out
    (`outline.what_is_said`)."""

    role: str
    content: str | list[ContentPart] | None = None


class Body(msgspec.Struct, kw_only=True):
    """The members that every operation shares. Types are checked here so that no upstream has to;
    ranges are the model's to know. Members not named here pass through unread."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    """OpenAI's newer name for `user`, which counts where both are there."""
    metadata: dict[str, str] | None = None
    n: Whole | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: Whole | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    api_key: object = None
    """Not OpenAI's: what clients of other gateways send a provider's key in (`gateway.credentials`)."""
    prompt_variables: dict[str, str] | None = None
    """Ours, not OpenAI's: what the variables of the release's prompt hold. Never sent on."""
    release_variant: Variant | None = None
    """Ours too, and for our own calls alone: another prompt for the release that the call names."""


class ChatBody(Body, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[Message]
    store: bool | None = None
    max_completion_tokens: Whole | None = None
    logprobs: bool | None = None
    top_logprobs: Whole | None = None
    response_format: dict[str, msgspec.Raw] | None = None
    tools: list[dict[str, msgspec.Raw]] | None = None
    functions: list[dict[str, msgspec.Raw]] | None = None
    tool_choice: str | dict[str, msgspec.Raw] | None = None
    parallel_tool_calls: bool | None = None


class CompletionBody(Body, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[str | int | list[int]] | None = None
    logprobs: Whole | None = None
    echo: bool | None = None
    best_of: Whole | None = None
    suffix: str | None = None


class EmbeddingsBody(Body, kw_only=True):
    """`POST /v1/embeddings`."""

    input: str | list[str | int | list[int]]
    dimensions: Whole | None = None
    encoding_format: str | None = None


class RelayedBody(Body, kw_only=True):
    """A request to a route of OpenAI's that is passed on (`gateway.relay`). `model` is the deployment that it
    goes by; `names_model` whether the client named that. `path` is under `/v1`, query included. `recorded` is
    JSON. `again`: it may be sent twice. `free`: it costs nothing. `makes`: a model makes the answer. `kept`:
    the answer is whatever somebody has put there."""

    method: str
    path: str
    names_model: bool
    again: bool
    free: bool
    makes: bool
    kept: bool
    head: bool = False
    """The client wants what a GET has, without the body."""
    form: list[Part] | None = None
    """The fields of a body that is a form."""
    recorded: bytes = b"null"
    text: bytes | None = None
    """The whole body, where it is JSON whose texts a policy can read and change; it then goes upstream."""


T = TypeVar("T")
_DECODERS: dict[Operation, msgspec.json.Decoder[Body]] = {
    "embeddings": msgspec.json.Decoder(EmbeddingsBody),
    "chat": msgspec.json.Decoder(ChatBody),
    "text_completion": msgspec.json.Decoder(CompletionBody),
}
_read_chat = msgspec.json.Decoder(ChatBody).decode
_read_anything = msgspec.json.Decoder(msgspec.Raw).decode
_HALF_CHARACTER = re.compile(
    rb"(?<!\\)(?:\\\\)*+(\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
"""An escape for one of two halves, without the other."""
_AT = re.compile(r" - at `(\$[^`]*)`$")
_ROLE = re.compile(r"^Invalid enum value .*\brole`$")
_MISSING = re.compile(r"required field `(\w+)`")


def parse_body(operation: Operation, body: bytes) -> Body:
    """Read a request's body once. Raises InvalidRequest, which names the member and what was seen."""
    long_chat = operation == "chat" and len(body) >= LONG
    parsed = read_body(_read_long_chat if long_chat else _DECODERS[operation].decode, body)
    _check(parsed)
    return parsed


def _read_long_chat(body: bytes) -> Body:
    """As any chat, but by the body's outline: nobody reads all that a message says, and whoever passes it on
    has the body."""
    try:
        known = outline(body, plain_ends(body))
        if known.cuts and not free_of_controls(body, known.cuts):
            _read_anything(body)  # to say where it is no JSON
        if len(known.text) >= 2 * LONG:
            known = known.without(what_is_said(known.text))
        read = _read_chat(known.text)
    except msgspec.MsgspecError:
        return _read_chat(body)  # which says what is wrong, and where
    remember(known)
    # What is cut elsewhere may be a prompt's variable, or whatever else is read whole.
    if known.cuts and not stands_in("messages", known.cuts, body):
        return _read_chat(body)
    return read


def read_body(decode: Callable[[bytes], T], body: bytes) -> T:
    """A JSON body as `decode` reads it. Raises InvalidRequest, which names the member and what was seen."""
    if not body:
        raise InvalidRequest("the body is empty; send a JSON object with 'model' and the input")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}"
            ) from None
    if len(body) >= FLOOD and has_too_many(body):
        raise InvalidRequest(f"the body has more than {MEMBERS_MAX} members; send fewer")
    try:
        parsed = decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except msgspec.DecodeError as error:
        half = _HALF_CHARACTER.search(body) if b"\\u" in body else None
        seen = f"{half[1].decode()} is half of a character" if half is not None else error
        raise InvalidRequest(f"the body is not valid JSON: {seen}", code="invalid_json") from None
    except RecursionError:
        raise _nested() from None
    if len(body) > DEPTH_MAX and too_deep(body):
        raise _nested()
    if (name := repeated_member(body)) is not None:
        raise _twice(name)
    return parsed


def refuse_repeated(body: bytes) -> None:
    """Raise InvalidRequest where the object `body` has a member twice: we could read one of them, and an
    upstream the other."""
    name = repeated_member(body)
    if name is not None:
        raise _twice(name)


def _twice(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name[:60]!r} was sent twice; send it once", code="invalid_json", param=name[:60])


def _nested() -> InvalidRequest:
    return InvalidRequest(
        f"the body is nested more than {DEPTH_MAX} levels deep; flatten it", code="invalid_json"
    )


def invalid(message: str) -> InvalidRequest:
    """The error for a `msgspec.ValidationError`'s message, which names the member that is at fault."""
    missing = _MISSING.search(message)
    if missing is not None:
        where = _AT.search(message)
        inside = where[1][2:] if where else ""
        said = f"{missing[1]!r} is missing{f' in {inside}' if inside else ''}; add it"
        return InvalidRequest(said, param=f"{inside}.{missing[1]}" if inside else missing[1])
    at = _AT.search(message)
    if at is None:
        return InvalidRequest(f"the body is not what this route takes: {message[:1].lower()}{message[1:]}")
    param = at[1].removeprefix("$.")
    known = "; it is system, developer, user, assistant or tool" if _ROLE.search(message) else ""
    if param == "metadata[...]":
        param = "metadata"
        known = "; its values are texts, as with OpenAI: of several tags each has a name of its own"
    return InvalidRequest(
        f"{param!r}: {message[: at.start()][:1].lower()}{message[1 : at.start()]}{known}", param=param
    )


def _check(body: Body) -> None:
    if not body.model:
        raise InvalidRequest("'model' is empty; name a deployment, GET /v1/models lists them", param="model")
    if isinstance(body, ChatBody):
        if not body.messages:
            raise InvalidRequest("'messages' is empty; send at least one message", param="messages")
    elif isinstance(body, CompletionBody):
        if body.prompt is None:
            raise InvalidRequest("'prompt' is missing; add it", param="prompt")
    elif isinstance(body, EmbeddingsBody):
        _check_embeddings(body)
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(
            "'stream_options' is only for streams; set 'stream' to true", param="stream_options"
        )
    _check_ranges(body)
    if body.user is None:
        body.user = body.safety_identifier
    if body.user or body.metadata:
        check_labels(body.user, body.metadata or {})


def _check_embeddings(body: EmbeddingsBody) -> None:
    if not body.input:
        raise InvalidRequest("'input' is empty; send a text, or a list of texts", param="input")
    if body.stream:
        raise InvalidRequest("embeddings are not streamed; leave out 'stream'", param="stream")
    if body.dimensions is not None:
        check_range("dimensions", body.dimensions, 1)


def _check_ranges(body: Body) -> None:
    """Numbers that no model can make sense of; what is sensible is the model's to know."""
    if body.n is not None:
        check_range("n", body.n, 1, 128)
    if body.max_tokens is not None:
        check_range("max_tokens", body.max_tokens, 0)
    if body.temperature is not None:
        check_range("temperature", body.temperature, 0)
    if body.top_p is not None:
        check_range("top_p", body.top_p, 0, 1)
    if not isinstance(body, ChatBody):
        return
    if body.max_completion_tokens is not None:
        check_range("max_completion_tokens", body.max_completion_tokens, 0)
    if body.top_logprobs is not None:
        check_range("top_logprobs", body.top_logprobs, 0, TOP_LOGPROBS_MAX)


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raise InvalidRequest, with the code that OpenAI has for it, where a number is out of its range."""
    if not least <= value <= most:
        kind = "integer" if isinstance(value, int) else "decimal"
        code = f"{kind}_below_min_value" if value < least else f"{kind}_above_max_value"
        seen = value if isinstance(value, int) else f"{value:g}"
        wanted = f"{least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
        raise InvalidRequest(f"{name!r} is {seen}; it must be {wanted}", code=code, param=name)


def check_labels(user: str | None, tags: Mapping[str, str]) -> None:
    """Raise InvalidRequest for more of them than a record has room for."""
    size = len(user or "") + sum(len(k) + len(v) for k, v in tags.items())
    if size > LABEL_CHARS_MAX:
        raise InvalidRequest(f"'user' and 'metadata' are over {LABEL_CHARS_MAX} characters; shorten them")
    if size > LABEL_CHARS_MAX // 4 and (kept := len(_encode(tags).decode())) > LABELS_KEPT_MAX:
        raise InvalidRequest(
            f"'metadata' is {kept} characters as it is kept, at most {LABELS_KEPT_MAX}: control characters "
            "take six each; leave them out",
            param="metadata",
        )
    if len(tags) > TAGS_MAX:
        raise InvalidRequest(
            f"'metadata' has {len(tags)} members, at most {TAGS_MAX} are taken", param="metadata"
        )


def upstream_body(body: bytes, parsed: Body, *, model: str, release: Release) -> bytes:
    """What is sent upstream: the client's bytes with the upstream's model name, what the release says, and a
    stream's usage asked for where the client did not. Raises InvalidRequest for a missing prompt variable."""
    ours = parsed.prompt_variables is not None or parsed.release_variant is not None
    if ours or says_something(release):
        changed = _rendered(body, parsed, model=model, release=release)
    else:
        changed = replace_model(body, _encode(model))
    return _with_usage(changed, parsed) if parsed.stream and not wants_usage(parsed) else changed


def without_labels(body: bytes, parsed: Body, kind: ProviderKind, release: Release) -> bytes:
    """The request without `metadata` where OpenAI would refuse it for that. There it labels what is stored:
    without `store` a chat with it is a 400, and so is any completion or embedding. Our record has it."""
    if parsed.metadata is None or kind not in ("openai", "azure"):
        return body
    asked = parsed.store if isinstance(parsed, ChatBody) else None
    stored = release.params_force.get("store", asked if asked is not None else release.params.get("store"))
    if isinstance(parsed, ChatBody) and stored:
        return body
    return join_members({name: value for name, value in members(body).items() if name != "metadata"})


def plain_body(body: bytes, parsed: Body, *, model: str) -> bytes | Pieces:
    """The same where the release says nothing, and the client nothing that is for us. Of a long body nothing
    is copied where little changes."""
    asks_usage = parsed.stream and not wants_usage(parsed)
    if len(body) >= LONG:
        changes = {"model": _encode(model)}
        if asks_usage:
            changes["stream_options"] = asking_usage(long_member(body, "stream_options") or b"null")
        pieces = in_pieces(body, changes)
        if pieces is not None:
            return pieces
    changed = body if parsed.model == model else replace_model(body, _encode(model))
    return _with_usage(changed, parsed) if asks_usage else changed


def _with_usage(body: bytes, parsed: Body) -> bytes:
    """A stream's request that asks for the stream's usage."""
    told = parsed.stream_options is not None or b'"stream_options"' in body or b"\\u00" in body
    spans = member_spans(body).get(b'"stream_options"', []) if told else []
    if spans:
        return replace(body, [(span, asking_usage(body[slice(*span)])) for span in spans])
    return insert_member(body, _ASKING)


def says_something(release: Release) -> bool:
    """Whether a release changes more of a request than the model's name."""
    return bool(release.prompt is not None or release.examples or release.params or release.params_force)


def _rendered(body: bytes, parsed: Body, *, model: str, release: Release) -> bytes:
    """The body with the release in it; members that the release does not touch keep their bytes."""
    values = members(body)
    for ours in OURS:
        values.pop(ours, None)
    values["model"] = _encode(model)
    lead = leading_messages(release, parsed.prompt_variables or {})
    if lead and isinstance(parsed, ChatBody):
        values["messages"] = b"%s,%s" % (_encode(lead)[:-1], values["messages"].lstrip()[1:])
    elif lead and isinstance(parsed, CompletionBody):
        values["prompt"] = _encode(_led(parsed.prompt, lead))
    put_params(values, release)
    return join_members(values)


def put_params(values: dict[str, bytes], release: Release) -> None:
    """Put a release's parameters among a request's members."""
    said = {name for name, value in values.items() if value != b"null"}
    for name, value in release.params.items():
        if not said & SYNONYMS.get(name, {name}):
            values[name] = _encode(value)
    for name, value in release.params_force.items():
        for synonym in SYNONYMS.get(name, ()):
            values.pop(synonym, None)
        values[name] = _encode(value)


def _led(prompt: str | list[str | int | list[int]] | None, lead: list[Turn]) -> str | list[str]:
    """A text prompt with the release's messages before it, as text."""
    before = "\n\n".join(turn["content"] for turn in lead)
    if isinstance(prompt, str):
        return f"{before}\n\n{prompt}"
    texts = [text for text in prompt or () if isinstance(text, str)]
    if len(texts) != len(prompt or ()):
        raise InvalidRequest(
            "'prompt' is tokens, and this deployment's release puts text before it; send text", param="prompt"
        )
    return [f"{before}\n\n{text}" for text in texts]


SYNONYMS: Mapping[str, frozenset[str]] = {
    name: frozenset({"max_tokens", "max_completion_tokens"})
    for name in ("max_tokens", "max_completion_tokens")
}
"""Parameters that say the same under two names: a request that has either has both."""


def asks_several(parsed: Body) -> bool:
    """Whether more than one answer is asked for: by `n`, or by a list of prompts."""
    prompt = parsed.prompt if isinstance(parsed, CompletionBody) else None
    prompts = (
        isinstance(prompt, list) and any(not isinstance(part, int) for part in prompt) and len(prompt) > 1
    )
    return (parsed.n or 1) > 1 or prompts


def wants_usage(parsed: Body) -> bool:
    """Whether the client itself asked for the usage chunk of a stream."""
    return bool(parsed.stream and parsed.stream_options and parsed.stream_options.include_usage)


class ErrorDetail(msgspec.Struct):
    """The inside of OpenAI's error shape."""

    message: str
    type: str
    code: str | None
    param: str | None


class ErrorBody(msgspec.Struct):
    """OpenAI's error shape."""

    error: ErrorDetail


def error_body(error: ApiError) -> bytes:
    """The one body that every error has."""
    return _encode(ErrorBody(error_detail(error)))


def error_detail(error: ApiError) -> ErrorDetail:
    """The inside of it. Text that is not valid Unicode is replaced, never refused."""
    message = brief(error.message.encode("utf-8", "replace").decode())
    type_ = getattr(error, "upstream_type", None) or error.type
    return ErrorDetail(message, type_, error.code, error.param and cut(error.param, NAME_CHARS_MAX))


def error_event(error: ApiError) -> bytes:
    """The same in a stream; no `[DONE]` follows it."""
    return b"data: %s\n\n" % error_body(error)
