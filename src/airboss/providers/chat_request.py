"""OpenAI's chat request, as far as it can be said in other dialects. Pure.

Decoding raises msgspec.ValidationError where a member has not the shape that OpenAI gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers.cut import cut
from airboss.providers.dialect import Unsaid

Json = dict[str, Any]
"""A JSON object."""
ANSWER_TOOL = "json_answer"
"""The tool that stands for a schema of the answer."""
ID_CHARS_MAX = 64
"""Of a user at OpenAI, and of a call in its Responses and on Bedrock; others take 128."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body in another dialect. `answer_tool` is the tool whose input is the answer, where a
    schema is wanted and said so."""

    body: bytes
    answer_tool: str | None


class ImageUrl(msgspec.Struct):
    """`image_url`: a URL, or `data:TYPE;base64,DATA`."""

    url: str
    detail: str | None = None


class FileData(msgspec.Struct):
    """`file`: its bytes as `data:TYPE;base64,DATA`, or the name of an upload."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Audio(msgspec.Struct):
    """`input_audio`."""

    data: str
    format: str


class Part(msgspec.Struct):
    """One part of a message's content. `cache_control` is Anthropic's, and passes through to it."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    file: FileData | None = None
    input_audio: Audio | None = None
    cache_control: Json | None = None


class CalledFunction(msgspec.Struct):
    """What a tool call calls; `arguments` is JSON."""

    name: str
    arguments: str = ""


class CalledCustom(msgspec.Struct):
    """What a call of a custom tool calls; `input` is a text."""

    name: str
    input: str = ""


class ToolCall(msgspec.Struct):
    """One call of a tool; one of a custom tool is one of a function of one text, `input`. `extra_content` is
    Google's: `{"google": {"thought_signature": …}}`."""

    id: str
    function: CalledFunction = msgspec.field(default_factory=lambda: CalledFunction(name=""))
    custom: CalledCustom | None = None
    type: str = "function"
    extra_content: Json | None = None

    def __post_init__(self) -> None:
        if self.custom is not None:
            text = msgspec.json.encode({"input": self.custom.input}).decode()
            self.function = CalledFunction(name=self.custom.name, arguments=text)
        elif not self.function.name:
            raise ValueError("Object missing required field `function`")


class Message(msgspec.Struct):
    """One message. `thinking_blocks` are Anthropic's own, with their signatures, as an earlier answer had
    them: a model that thinks wants them back before the calls that it made. `images` are what it drew."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    thinking_blocks: list[Json] | None = None
    images: list[Part] | None = None
    cache_control: Json | None = None

    def parts(self) -> list[Part]:
        """The content as parts; a text is one, nothing is none."""
        if isinstance(self.content, str):
            return [Part(type="text", text=self.content)] if self.content else []
        return self.content or []


class OfferedFunction(msgspec.Struct):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool that the model may call."""

    type: str
    function: OfferedFunction | None = None
    cache_control: Json | None = None


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`."""

    name: str = "answer"
    description: str | None = None
    schema: Json | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: str
    json_schema: JsonSchema | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[Message]
    stream: bool | None = False
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens of an answer."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def stops(self) -> list[str]:
        """Where an answer ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def schema(self) -> Json | None:
        """The schema of a structured answer; one that takes any object for `json_object`; None for text."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.json_schema is not None and wanted.json_schema.schema is not None:
            return wanted.json_schema.schema
        return {"type": "object", "additionalProperties": True}

    @property
    def forced_function(self) -> str | None:
        """The function that `tool_choice` names."""
        choice = self.tool_choice
        if not isinstance(choice, dict) or choice.get("type") != "function":
            return None
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        return name if isinstance(name, str) else None

    @property
    def must_call(self) -> bool:
        """Whether `tool_choice` leaves no answer but a call."""
        return self.tool_choice == "required" or self.forced_function is not None


_TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}
PASSED_OVER = frozenset(
    {
        "stream_options",
        "metadata",
        "user",
        "store",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "function_call",
    }
)
"""Members that change no answer: whose call it is, where it is kept, and hints."""
_NOTHING = frozenset({b"null", b"false", b"[]", b"{}", b'""'})
_ASKED_BY_BEING_THERE = frozenset({"web_search_options"})
"""Members that ask for something without a word in them."""
_DEFAULTS: dict[str, frozenset[bytes]] = {
    "n": frozenset({b"1"}),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "top_logprobs": frozenset({b"0"}),
    "modalities": frozenset({b'["text"]'}),
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "verbosity": frozenset({b'"medium"'}),
}
"""Values that ask for nothing: a client that always sends them is served."""
_FORMATS = frozenset({"text", "json_object", "json_schema"})
"""OpenAI's; others (`grammar`, `regex`) are of servers that decode by them."""
SCHEME_CHARS_MAX = 16
"""Within so many characters a URL has shown that it is one."""
_MEDIA_TYPES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
"""OpenAI takes these too; others know a JPEG by its own name only."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_request = msgspec.json.Decoder(ChatRequest)


def read_request(body: bytes, *, said: frozenset[str], unsaid: Unsaid) -> ChatRequest:
    """The request. Members beyond `said` (what the dialect has words for) go to `unsaid`, unless they ask
    for nothing. Raises msgspec.ValidationError, and what `unsaid` raises."""
    for name, value in _members.decode(body).items():
        if name in said or name in PASSED_OVER or name in {"model", "messages", "stream"}:
            continue
        written = bytes(value).replace(b" ", b"")
        nothing = written in _NOTHING and not (written == b"{}" and name in _ASKED_BY_BEING_THERE)
        if not nothing and written not in _DEFAULTS.get(name, ()):
            unsaid.add(name)
    request = _request.decode(body)
    wanted = request.response_format
    if wanted is not None and wanted.type not in _FORMATS:
        unsaid.add("response_format", f"its type is {cut(wanted.type, 40)!r}")
        request.response_format = None
    _settle_choice(request)
    return request


def _settle_choice(request: ChatRequest) -> None:
    """Leave out the tools that are not among those to choose from, where `tool_choice` names these: with
    OpenAI the others stay so that a cached prompt is found again."""
    match request.tool_choice:
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(listed)},
        }:
            names = {name for each in listed if (name := _name_of(each)) is not None}
            kept = [tool for tool in request.tools or () if tool.function and tool.function.name in names]
            if kept:
                request.tools, request.tool_choice = kept, mode


def _name_of(tool: Any) -> str | None:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    return None


def fitting_id(text: str) -> str:
    """An id of a user or a call in no more than ID_CHARS_MAX characters: a longer one, as Claude Code has for
    its users, by its hash. The record has it whole."""
    if len(text) <= ID_CHARS_MAX:
        return text
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def tier_of(service_tier: str | None, unsaid: Unsaid) -> str | None:
    """The tier of service that is asked for, by the name that Gemini and Bedrock have for it too; others go
    to `unsaid`. None for the usual one."""
    if service_tier in {None, "", "auto", "default"}:
        return None
    tier = _TIERS.get(service_tier or "")
    if tier is None:
        unsaid.add("service_tier", f"it is {cut(str(service_tier), 40)!r}")
    return tier


def offered(request: ChatRequest, unsaid: Unsaid) -> Iterator[tuple[Tool, OfferedFunction]]:
    """The functions that a request offers; tools of other types go to `unsaid`."""
    for number, tool in enumerate(request.tools or ()):
        if tool.type == "function" and tool.function is not None:
            yield tool, tool.function
        else:
            unsaid.add(f"tools[{number}]", f"its type is {cut(tool.type, 40)!r}")


def purpose(request: ChatRequest) -> str:
    """What ANSWER_TOOL is told to be for."""
    wanted = request.response_format.json_schema if request.response_format is not None else None
    about = wanted.description if wanted is not None and wanted.description else "The answer, as JSON."
    return f"{about} Call this tool with the whole answer."


def arguments_of(call: ToolCall, where: str) -> Json:
    """The arguments of a call. Raises InvalidRequest where they are not a JSON object."""
    try:
        value = msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"{where}.function.arguments is {cut(call.function.arguments, 80)!r}; the provider of this "
            "deployment wants a JSON object there",
            param=f"{where}.function.arguments",
        )
    return value


def data_url(url: str) -> tuple[str, str] | None:
    """The media type and the base64 of a `data:` URL; None for any other URL. Raises InvalidRequest for
    what is neither."""
    if "://" in url[:SCHEME_CHARS_MAX] and not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    media_type, *options = head.split(";")
    if not (comma and url.startswith("data:")) or "base64" not in options:
        raise InvalidRequest(f"{cut(url, 40)!r} is not data:TYPE;base64,DATA; encode it so", param="messages")
    return _MEDIA_TYPES.get(media_type.lower(), media_type) or "text/plain", data


def texts_of(
    message: Message, where: str, unsaid: Unsaid, besides: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Json | None]]:
    """The texts of a message that can be text only, each with its `cache_control`; other parts go to
    `unsaid`, unless they are of types that are said `besides`."""
    for number, part in enumerate(message.parts()):
        if part.type in besides:
            continue
        text = part.text if part.type == "text" else part.refusal
        if text is None:
            unsaid.add(f"{where}.content[{number}]", f"its type is {cut(part.type, 40)!r}")
        else:
            yield text, part.cache_control


def plain_text(message: Message, where: str, unsaid: Unsaid, besides: frozenset[str] = frozenset()) -> str:
    """The text of such a message."""
    return "\n".join(text for text, _ in texts_of(message, where, unsaid, besides))


def no_effort(effort: str, known: Iterable[str]) -> InvalidRequest:
    """The error for an effort that is none of those `known`."""
    return InvalidRequest(
        f"'reasoning_effort' is {cut(effort, 40)!r}; it must be one of {', '.join(known)}",
        param="reasoning_effort",
    )


def no_turns(unsaid: Unsaid) -> InvalidRequest:
    """The error for a conversation in which nobody has said anything yet."""
    return InvalidRequest(
        f"'messages' has instructions and nothing else; {unsaid.upstream} want a message of the user's: "
        "add one",
        param="messages",
    )
