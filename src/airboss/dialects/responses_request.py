"""OpenAI's `POST /v1/responses`, said as a chat request. Pure.

`instructions` become the first message, and are this call's alone: a later one that builds on it has its own.
Items become messages; calls of functions that follow one another are one message's, and custom tools are
functions of one text. What only OpenAI's
servers can do (built-in tools, items of theirs, stored prompts) is left out and named: whoever sends the
request on as chat refuses it, unless the provider drops what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from airboss.dialects.chat_said import REASONING
from airboss.dialects.responses_custom import CUSTOM, arguments_of
from airboss.dialects.responses_items import EXTRA, SIGNED, image_url, in_words, opened, plainest, said_before
from airboss.dialects.responses_shape import (
    Item,
    Loaded,
    Part,
    Reasoning,
    ResponsesRequest,
    Text,
    read,
    typed,
)
from airboss.dialects.responses_tools import (
    CLIENTS,
    CUSTOM_CALL,
    NAMED,
    SEARCH,
    SEARCH_CALL,
    SEARCH_OUTPUT,
    Called,
    Offered,
    called_as,
    called_by,
    choice_of,
    each_of,
    flat_name,
    found_in,
    function,
    names_of,
)
from airboss.dialects.speech import Json, Unsaid, encode
from airboss.domain.errors import InvalidRequest

HINTS = frozenset(
    {"max_tool_calls", "truncation", "prompt_cache_options", "access_programs", "image", "client_metadata"}
)
"""Members that change no answer here: built-in tools are refused, and what does not fit is an error."""
REFUSED = frozenset({"background", "conversation", "background_options"})
"""Members that nobody heeds here: what they begin would be kept elsewhere, and for every key."""
THEIRS = frozenset({"prompt", "context_management", "moderation"})
"""Members that OpenAI alone can heed."""
INCLUDED = frozenset({"message.output_text.logprobs"})
ENCRYPTED = "reasoning.encrypted_content"
"""What clients ask for that keep a conversation themselves."""
_ASKS_NOTHING = frozenset({b"null", b"false", b"[]"})
_READ = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "store",
        "previous_response_id",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "max_output_tokens",
        "include",
        "top_logprobs",
    }
)


_THOUGHT = frozenset({"role", REASONING, SIGNED})
"""The members of a message that has nothing but thoughts yet."""
_request = msgspec.json.Decoder(ResponsesRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(Item)
_loaded = msgspec.json.Decoder(Loaded)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read and checked. `members` are all of it as written, `messages` its input as chat; `unsaid`
    is what chat has no words for, and what is not in there, `loaded` the tools that stand in its input."""

    request: ResponsesRequest
    members: dict[str, msgspec.Raw]
    messages: list[Json]
    unsaid: list[Unsaid]
    loaded: list[Offered]

    @property
    def store(self) -> bool:
        """Whether the client wants its response kept; it does unless it says otherwise."""
        return self.request.store is not False

    @property
    def seals(self) -> bool:
        """Whether thoughts are wanted so that the client can keep them."""
        return ENCRYPTED in (self.request.include or ())

    def tools(self, history: Sequence[Any] = ()) -> Iterator[Offered]:
        """The tools that a model may call, after this history."""
        yield from each_of(self.request.tools or (), "tools")
        yield from self.loaded
        yield from found_in(history)

    def called(self, history: Sequence[Any] = ()) -> Mapping[str, Called]:
        """The items that calls of them are (`responses_tools.called_by`)."""
        return called_by(self.tools(history))


def read_responses(body: bytes) -> Asked:
    """Read a request. Raises InvalidRequest for what cannot be served, msgspec.ValidationError and
    msgspec.DecodeError."""
    request = _request.decode(body)
    members = _members.decode(body)
    for name in sorted(REFUSED & members.keys()):
        if bytes(members[name]) not in _ASKS_NOTHING:
            raise InvalidRequest(
                f"{name!r} is not served: it would be kept at OpenAI, for every key; leave it out",
                code="unsupported",
                param=name,
            )
    unsaid = [
        Unsaid(f"{name!r} is served by OpenAI alone; leave it out", param=name)
        for name in sorted(THEIRS & members.keys())
        if bytes(members[name]) not in _ASKS_NOTHING
    ]
    for name in request.include or ():
        if name not in INCLUDED and name != ENCRYPTED:
            said = f"'include' asks for {name[:80]!r}; there is {', '.join(sorted(INCLUDED))}"
            unsaid.append(Unsaid(said, param="include"))
    unsaid += _thinking_of_theirs(request.reasoning or Reasoning())
    if request.truncation not in {None, "disabled", "auto"}:
        raise InvalidRequest(
            f"'truncation' is {request.truncation!r}; it is 'auto' or 'disabled'", param="truncation"
        )
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise InvalidRequest(
            f"'max_output_tokens' is {request.max_output_tokens}; it must be 1 or more",
            param="max_output_tokens",
        )
    loaded: list[Offered] = []
    messages = input_messages(request.input, unsaid, loaded)
    if not messages and not unsaid:
        raise InvalidRequest("'input' is missing or empty; send a text or items", param="input")
    return Asked(request=request, members=members, messages=messages, unsaid=unsaid, loaded=loaded)


def as_chat(asked: Asked, history: Sequence[Any] = ()) -> bytes:
    """The chat request, after `history`: the messages of the responses that it builds on, as JSON values.
    Raises InvalidRequest."""
    request = asked.request
    left_out = _READ | HINTS | REFUSED | THEIRS
    value: Json = {name: raw for name, raw in asked.members.items() if name not in left_out}
    value["model"] = request.model
    said = [*instructions(request), *history, *asked.messages]
    value["messages"] = said or [{"role": "user", "content": ""}]  # it is all in what chat cannot say
    if request.max_output_tokens is not None:
        value["max_tokens"] = request.max_output_tokens
    if request.stream:
        value |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.top_logprobs is not None or INCLUDED & set(request.include or ()):
        value["logprobs"] = True
        if request.top_logprobs is not None:
            value["top_logprobs"] = request.top_logprobs
    if request.reasoning is not None and request.reasoning.effort is not None:
        value["reasoning_effort"] = request.reasoning.effort
    _put_text(value, request.text)
    _put_tools(value, asked, history)
    return encode(value)


def _thinking_of_theirs(wanted: Reasoning) -> Iterator[Unsaid]:
    """What is asked of thinking besides its effort; thoughts of earlier turns are not given back here."""
    for name, said in (("mode", wanted.mode), ("context", wanted.context)):
        if said not in {None, "standard", "auto", "current_turn"}:
            what = f"'reasoning.{name}' is {str(said)[:40]!r}, which OpenAI alone can heed; leave it out"
            yield Unsaid(what, param=f"reasoning.{name}")


class _Conversation(msgspec.Struct):
    messages: list[msgspec.Raw]


def history_in(chat: bytes, asked: Asked, length: int) -> list[msgspec.Raw]:
    """The history of this length in a chat request that `as_chat` has made."""
    before = len(instructions(asked.request))
    return msgspec.json.decode(chat, type=_Conversation).messages[before : before + length]


def instructions(request: ResponsesRequest) -> list[Json]:
    """The message that the instructions are; none where there are none."""
    return [{"role": "system", "content": request.instructions}] if request.instructions else []


def _put_text(value: Json, text: Text | None) -> None:
    if text is None:
        return
    if text.verbosity is not None:
        value["verbosity"] = text.verbosity
    wanted = text.format
    if wanted is None or wanted.type == "text":
        return
    if wanted.type == "json_object":
        value["response_format"] = {"type": "json_object"}
        return
    if wanted.type != "json_schema" or wanted.schema is None:
        raise InvalidRequest(
            f"'text.format' is of type {wanted.type[:40]!r}; it is text, json_object, or json_schema with "
            "a schema",
            param="text.format",
        )
    named: Json = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.strict is not None:
        named["strict"] = wanted.strict
    if wanted.description is not None:
        named["description"] = wanted.description
    value["response_format"] = {"type": "json_schema", "json_schema": named}


def _put_tools(value: Json, asked: Asked, history: Sequence[Any]) -> None:
    tools: dict[str, Json] = {}
    for offered in asked.tools(history):
        with _leaving_out(asked.unsaid):
            said = function(offered, asked.unsaid)
            if said is not None:
                tools.setdefault(said["name"], {"type": "function", "function": said})
    if not tools:
        value.pop("parallel_tool_calls", None)  # nothing to be parallel with, and OpenAI refuses it alone
        return
    value["tools"] = [*tools.values()]
    choice = asked.request.tool_choice
    if isinstance(choice, str):
        value["tool_choice"] = choice
    elif choice is not None:
        with _leaving_out(asked.unsaid):
            value["tools"], value["tool_choice"] = choice_of(choice, value["tools"])


def input_messages(
    given: str | Iterable[msgspec.Raw] | None, unsaid: list[Unsaid], loaded: list[Offered]
) -> list[Json]:
    """The input as chat messages; what chat has no words for is left out, and put into `unsaid`, tools that
    stand in it into `loaded`. Raises InvalidRequest."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[Json] = []
    for number, raw in enumerate(given or ()):
        with _leaving_out(unsaid):
            _add_item(messages, raw, f"input[{number}]", loaded)
    said = [message for message in messages if not message.keys() <= _THOUGHT]
    for message in said:
        if REASONING in message:
            message[REASONING] = "".join(message[REASONING])
    return said


@contextmanager
def _leaving_out(unsaid: list[Unsaid]) -> Iterator[None]:
    """Take note of what cannot be said, and go on without it: it may be passed on as it is."""
    try:
        yield
    except Unsaid as error:
        unsaid.append(error)


def _add_item(messages: list[Json], raw: msgspec.Raw, where: str, loaded: list[Offered]) -> None:
    """Raises Unsaid for what chat has no words for."""
    type_ = read(typed, raw, where).type
    match type_:
        case "message" if (item := read(_items, raw, where)).role is not None:
            said = _message(item, where)
            if said["role"] == "assistant" and messages and messages[-1].keys() <= _THOUGHT:
                said = messages.pop() | said
            messages.append(said)
        case "function_call" | "custom_tool_call":
            _add_call(messages, read(_items, raw, where), where)
        case "function_call_output" | "custom_tool_call_output":
            messages.append(_output(read(_items, raw, where), where))
        case "image_generation_call" if (item := read(_items, raw, where)).result is not None:
            shown = {"type": "image_url", "image_url": {"url": image_url(item.result)}}
            messages.append({"role": "assistant", "content": "", "images": [shown]})
        case "reasoning":
            _add_thoughts(messages, read(_items, raw, where))
        case "additional_tools" | "tool_search_call" | "tool_search_output":
            more = read(_loaded, raw, where)
            tools = [*each_of(more.tools, f"{where}.tools")]
            loaded += tools
            if more.call_id is not None and more.execution == CLIENTS:
                _add_search(messages, type_, more, tools)
        case "item_reference":
            raise Unsaid(
                f"{where} refers to an item kept elsewhere; send the item, or previous_response_id",
                param=where,
            )
        case _:
            raise Unsaid(
                f"{where} is of type {type_[:60]!r} or has no role; send messages, calls of "
                "functions and custom tools, and their outputs",
                code="content_unsupported",
                param=where,
            )


def _message(item: Item, where: str) -> Json:
    if item.role not in {"user", "assistant", "system", "developer"}:
        raise InvalidRequest(
            f"{where}.role is {str(item.role)[:40]!r}; it is user, assistant, system or developer",
            param=f"{where}.role",
        )
    content = item.content or ""
    if isinstance(content, str):
        return {"role": item.role, "content": content}
    parts = [_part(part, f"{where}.content[{number}]") for number, part in enumerate(content)]
    if item.role == "assistant":
        return said_before(parts)
    return {"role": item.role, "content": plainest(parts)}


def _part(part: Part, where: str) -> Json:
    data = part.file_data or part.file_url
    match part.type:
        case "input_text" | "output_text" | "text" if part.text is not None:
            return {"type": "text", "text": part.text}
        case "refusal" if part.refusal is not None:
            return {"type": "refusal", "refusal": part.refusal}
        case "input_image" if part.image_url is not None:
            detail = {"detail": part.detail} if part.detail is not None else {}
            return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}
        case "input_file" if data is not None or part.file_id is not None:
            named = {"file_data": data, "file_id": part.file_id, "filename": part.filename}
            return {"type": "file", "file": {name: each for name, each in named.items() if each is not None}}
        case "input_audio" if part.input_audio is not None:
            return {"type": "input_audio", "input_audio": part.input_audio}
    raise Unsaid(
        f"{where} is of type {part.type[:60]!r} or incomplete; send input_text, input_image with image_url, "
        "or input_file with file_data or file_url",
        code="content_unsupported",
        param=where,
    )


def _add_call(messages: list[Json], item: Item, where: str) -> None:
    if item.call_id is None or item.name is None:
        raise InvalidRequest(f"{where} has no call_id or no name; a {item.type} needs both", param=where)
    custom = item.type == CUSTOM_CALL
    arguments = arguments_of(item.input or "") if custom else item.arguments or "{}"
    more = called_as(item.type, item.namespace, item.name).marks
    if item.extra_content is not None:
        more[EXTRA] = item.extra_content
    _call(messages, item.call_id, flat_name(item.namespace, item.name), arguments, more)


def _call(messages: list[Json], call_id: str, name: str, arguments: str, more: Json) -> None:
    called = {"name": name, "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": called, **more}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("content", None)
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _add_search(messages: list[Json], type_: str, item: Loaded, tools: list[Offered]) -> None:
    """A search for tools that the client makes: a call of a function, and the names of what it has found."""
    if type_ == SEARCH_CALL:
        arguments = encode(item.arguments if isinstance(item.arguments, dict) else {}).decode()
        _call(messages, item.call_id or "", SEARCH, arguments, Called(type=SEARCH_CALL).marks)
    elif type_ == SEARCH_OUTPUT:
        names = names_of(tools)
        content = f"Tools that can be called now: {', '.join(names)}" if names else "No tools were found."
        mark = {"type": SEARCH_OUTPUT, "tools": item.tools}
        messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content, NAMED: mark})


def _add_thoughts(messages: list[Json], item: Item) -> None:
    """What a model thought, for those that want it back with their calls (`plain`)."""
    parts = item.content if isinstance(item.content, list) and item.content else item.summary or ()
    text = "".join(part.text or "" for part in parts)
    signed = item.thinking_blocks or opened(item.encrypted_content)
    if (text or signed) and (not messages or messages[-1]["role"] != "assistant"):
        messages.append({"role": "assistant"})
    if text:
        messages[-1].setdefault(REASONING, []).append(text)  # joined once: there may be many
    if signed:
        messages[-1].setdefault(SIGNED, []).extend(signed)


def _output(item: Item, where: str) -> Json:
    if item.call_id is None or item.output is None:
        raise InvalidRequest(f"{where} has no call_id or no output; a {item.type} needs both", param=where)
    content: str | list[Json]
    if isinstance(item.output, str):
        content = item.output
    else:
        content = in_words(
            [_part(part, f"{where}.output[{number}]") for number, part in enumerate(item.output)]
        )
    custom = {CUSTOM: True} if item.type == "custom_tool_call_output" else {}
    return {"role": "tool", "tool_call_id": item.call_id, "content": content, **custom}
