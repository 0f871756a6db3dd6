"""A chat request in Anthropic's words: `POST /v1/messages`. Pure.

What differs, and what becomes of it:

- `max_tokens` is needed: the request's, else ANSWER_TOKENS.
- The system's words stand apart; those that come later in a conversation are moved there too.
- Turns alternate: neighbours of one role are joined. A tool's result is part of the user's turn.
- A schema becomes a tool that must be called, whose input is the answer (`anthropic_answer` turns it back);
  a strict one is said as it is to models that know such.
- `reasoning_effort` becomes thinking (`anthropic_thinking`). A model that thinks wants its own thoughts back,
  signed, before the calls it made: `thinking_blocks` of an earlier answer.
"""

from __future__ import annotations

import base64
import re

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_schema import StrictRoom
from airboss.providers.anthropic_thinking import (
    ANSWER_TOKENS,
    is_adaptive,
    is_unforced,
    native_schema,
    put_limits,
    settle_sampling,
)
from airboss.providers.chat_request import (
    ANSWER_TOOL,
    ChatRequest,
    Json,
    Message,
    OfferedFunction,
    Part,
    Said,
    ToolCall,
    arguments_of,
    data_url,
    fitting_id,
    no_turns,
    offered,
    purpose,
    read_request,
    texts_of,
)
from airboss.providers.cut import cut
from airboss.providers.dialect import Unsaid
from airboss.providers.lenient import unnumbered

_SAID = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
    }
)
_TEXTS = frozenset({"application/json", "application/xml", "application/x-yaml"})
"""Types of files that are text, besides `text/…`."""
_ODD_ID = re.compile(r"[^A-Za-z0-9_-]")


def messages_request(
    raw: bytes,
    unsaid: Unsaid,
    *,
    claude: bool = True,
    strict: bool = True,
    besides: frozenset[str] = frozenset(),
) -> Said:
    """The request; `claude` is whether it is for a model of Anthropic's, `strict` whether tools are held to
    their schemas there, `besides` are members that are said elsewhere. Raises InvalidRequest for what cannot
    be said, and msgspec.ValidationError."""
    request = read_request(raw, said=_SAID | besides, unsaid=unsaid)
    system, turns = _conversation(request, unsaid)
    value: Json = {"model": request.model, "max_tokens": ANSWER_TOKENS, "messages": turns}
    if system:
        value["system"] = system
    for name in ("temperature", "top_p", "top_k"):
        if (number := getattr(request, name)) is not None:
            value[name] = number
    settle_sampling(value, request.model, unsaid)
    if request.stops:
        value["stop_sequences"] = request.stops
    if request.stream:
        value["stream"] = True
    if request.user:
        value["metadata"] = {"user_id": request.user}
    if not claude:
        request.reasoning_effort = None  # which others are told in words of their own
    put_limits(value, request, unsaid)
    native = native_schema(request) if claude else None
    answer_tool = _put_tools(value, request, unsaid, native=native, strict=strict)
    return Said(body=msgspec.json.encode(value), answer_tool=answer_tool)


def _conversation(request: ChatRequest, unsaid: Unsaid) -> tuple[list[Json], list[Json]]:
    system: list[Json] = []
    turns: list[Json] = []
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        if message.role in {"system", "developer"}:
            system += _instructions(message, where, unsaid)
            continue
        role, blocks = _turn(message, where, unsaid)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise no_turns(unsaid)
    return system, turns


def _instructions(message: Message, where: str, unsaid: Unsaid) -> list[Json]:
    """Instructions in as many blocks as the cache has marks in them: what stands behind a mark may change
    from call to call."""
    blocks: list[Json] = []
    for text, mark in texts_of(message, where, unsaid):
        if text and blocks and "cache_control" not in blocks[-1]:
            blocks[-1]["text"].append(text)
        elif text:
            blocks.append({"type": "text", "text": [text]})
        if mark and blocks:
            blocks[-1]["cache_control"] = mark
    if blocks and message.cache_control is not None:
        blocks[-1].setdefault("cache_control", message.cache_control)
    # Joined once: adding each to a text would copy all of it as often.
    return [{**block, "text": "\n".join(block["text"])} for block in blocks]


def _turn(message: Message, where: str, unsaid: Unsaid) -> tuple[str, list[Json]]:
    if message.role == "tool":
        result: Json = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id or "")}
        blocks = _blocks(message, where, unsaid)
        # The whole result can be marked everywhere, what is in it not.
        marks = [mark for block in blocks if (mark := block.pop("cache_control", None)) is not None]
        if blocks:
            result["content"] = blocks
        return "user", [_marked(result, marks[-1] if marks else message.cache_control)]
    if message.role == "assistant":
        blocks = [*map(unnumbered, message.thinking_blocks or ()), *_blocks(message, where, unsaid)]
        if message.images:
            unsaid.add(f"{where}.images", "a model made them")
        if message.refusal:
            blocks.append({"type": "text", "text": message.refusal})
        calls = enumerate(message.tool_calls or ())
        return "assistant", blocks + [_use(call, f"{where}.tool_calls[{n}]") for n, call in calls]
    if message.role != "user":
        unsaid.add(where, f"its role is {cut(message.role, 40)!r}")
        return "user", []
    return "user", _blocks(message, where, unsaid)


def _use(call: ToolCall, where: str) -> Json:
    name = call.function.name
    return {"type": "tool_use", "id": _id(call.id), "name": name, "input": arguments_of(call, where)}


def _id(written: str) -> str:
    """An id of a call in the characters that are taken, and no more of them than Bedrock takes; other
    providers' may have more."""
    return _ODD_ID.sub("_", fitting_id(written)) or "_"


def _blocks(message: Message, where: str, unsaid: Unsaid) -> list[Json]:
    found = []
    for number, part in enumerate(message.parts()):
        block = _block(part, f"{where}.content[{number}]", unsaid)
        if block is not None:
            found.append(_marked(block, part.cache_control))
    if found and message.cache_control is not None:
        found[-1] = _marked(found[-1], message.cache_control)
    return found


def _block(part: Part, where: str, unsaid: Unsaid) -> Json | None:
    text = part.refusal if part.type == "refusal" else part.text
    if part.type in {"text", "refusal"}:
        # An empty text is refused there, and says nothing.
        return {"type": "text", "text": text} if text else None
    if part.type == "image_url" and part.image_url is not None:
        return {"type": "image", "source": _source(part.image_url.url)}
    if part.type == "file" and part.file is not None and part.file.file_data is not None:
        document: Json = {"type": "document", "source": _document(part.file.file_data)}
        if part.file.filename:
            document["title"] = part.file.filename
        return document
    unsaid.add(where, f"its type is {cut(part.type, 40)!r}")
    return None


def _source(url: str) -> Json:
    data = data_url(url)
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": data[0], "data": data[1]}


def _document(url: str) -> Json:
    """A file; those of text go as text, of others their bytes."""
    source = _source(url)
    kind = source.get("media_type", "")
    if not (kind.startswith("text/") or kind in _TEXTS):
        return source
    try:
        text = base64.b64decode(source["data"], validate=True).decode()
    except ValueError:
        raise InvalidRequest(
            f"a file of type {cut(kind, 40)!r} is not base64 of UTF-8; encode it so", param="messages"
        ) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _marked(block: Json, cache_control: Json | None) -> Json:
    return block if cache_control is None else {**block, "cache_control": cache_control}


def _put_tools(
    value: Json, request: ChatRequest, unsaid: Unsaid, *, native: Json | None, strict: bool
) -> str | None:
    tools = []
    room = StrictRoom() if strict and is_adaptive(request.model) else None
    if room is not None and native is not None:
        room.takes(native)
    for tool, function in offered(request, unsaid):
        made = _tool(function, room)
        tools.append(_marked(made, tool.cache_control))
    choice = _choice(request, unsaid) if tools else None
    unforced = is_unforced(request.model)
    must_call = bool(tools) and request.must_call and not unforced
    schema = request.schema
    answer_tool = None
    if native is not None:
        value.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": native}
    elif schema is not None and not must_call:
        answer_tool = ANSWER_TOOL
        tools.append({"name": ANSWER_TOOL, "description": purpose(request), "input_schema": _object(schema)})
        # With tools of the caller's own one of them may come first.
        free = len(tools) > 1 and request.tool_choice != "none"
        choice = {"type": "any"} if free else {"type": "tool", "name": ANSWER_TOOL}
        if unforced:
            choice = {"type": "auto"}  # what the tool is for says that it is to be called
    if tools:
        value["tools"] = tools
    if choice is not None:
        if request.parallel_tool_calls is False and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
        value["tool_choice"] = choice
    return answer_tool


def _tool(function: OfferedFunction, strict: StrictRoom | None) -> Json:
    """A tool, held to its schema where it is to be and there is room for it."""
    made: Json = {
        "name": function.name,
        "input_schema": {"type": "object", "properties": {}, **(function.parameters or {})},
    }
    if function.description:
        made["description"] = function.description
    schema = strict.tool(made["input_schema"]) if strict is not None and function.strict else None
    return made if schema is None else {**made, "input_schema": schema, "strict": True}


def _choice(request: ChatRequest, unsaid: Unsaid) -> Json | None:
    wanted = request.tool_choice
    if request.must_call and is_unforced(request.model):
        unsaid.add("tool_choice", "this one cannot be made to call a tool")
        return None
    if wanted is None or isinstance(wanted, str):
        kinds = {"auto": "auto", "required": "any", "none": "none"}
        if wanted is not None and wanted not in kinds:
            unsaid.add("tool_choice", f"it is {cut(wanted, 40)!r}")
            return None
        if wanted is None and request.parallel_tool_calls is not False:
            return None
        return {"type": kinds[wanted or "auto"]}
    if request.forced_function is None:
        unsaid.add("tool_choice", "it names no function")
        return None
    return {"type": "tool", "name": request.forced_function}


def _object(schema: Json) -> Json:
    """A schema for a tool's input, which is an object. Raises InvalidRequest for one of anything else."""
    kind = schema.get("type", "object")
    if kind != "object":
        raise InvalidRequest(
            f"the schema of 'response_format' is of type {kind!r}; Anthropic's models answer with an object: "
            "put the value into a property",
            param="response_format",
        )
    return {"type": "object", **schema}
