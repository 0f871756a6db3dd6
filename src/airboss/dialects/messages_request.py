"""Anthropic's `POST /v1/messages`, said as a chat request. Pure.

What differs, and what becomes of it:

- `system` becomes the first message.
- A tool's results, which are part of the user's turn, become messages of their own before the rest of it.
- `thinking` becomes `reasoning_effort`, by its budget. Thoughts of earlier answers ride along as
  `thinking_blocks`, and cache marks as `cache_control`, for upstreams that know them.
- `output_config.format` becomes `response_format`.
- Members that ask for Anthropic's own machinery are refused by name (REFUSED); hints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from airboss.dialects.speech import Json, encode
from airboss.domain.errors import InvalidRequest

HINTS = frozenset({"cache_control", "diagnostics", "service_tier", "betas"})
"""Members that change no answer."""
DROPPED = frozenset({"context_management", "speed"})
"""Members that are left out, and named in a header: agents send them unasked, and answers do without."""
REFUSED = frozenset({"container", "mcp_servers", "inference_geo"})
"""Members that nobody but Anthropic can heed."""
_READ = frozenset(
    {
        "model",
        "max_tokens",
        "messages",
        "system",
        "stop_sequences",
        "stream",
        "tools",
        "tool_choice",
        "metadata",
        "thinking",
        "output_config",
        "output_format",
    }
)
EFFORTS = ((2_048, "low"), (8_192, "medium"))
"""Budgets of thinking up to which an effort is meant; a larger one means `high`."""


class Block(msgspec.Struct, kw_only=True):
    """One block of a content, of any type."""

    type: str
    text: str | None = None
    source: Json | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None
    cache_control: Json | None = None


class Turn(msgspec.Struct, kw_only=True):
    """One message. `content` is read twice, for thoughts go on as they came."""

    role: str
    content: str | list[msgspec.Raw]


class Tool(msgspec.Struct, kw_only=True):
    """A tool; one without `type` or of type `custom` is the client's own."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Json | None = None
    strict: bool | None = None
    cache_control: Json | None = None


class ToolChoice(msgspec.Struct, kw_only=True):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, kw_only=True):
    """`thinking`."""

    type: str
    budget_tokens: int | None = None


class Format(msgspec.Struct, kw_only=True):
    """`output_config.format`."""

    type: str
    schema: Json | None = None


class OutputConfig(msgspec.Struct, kw_only=True):
    """`output_config`."""

    effort: str | None = None
    format: Format | None = None


class MessagesRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/messages`; of a count of tokens `max_tokens` may be missing."""

    model: str
    messages: list[Turn]
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    metadata: Json | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None


_request = msgspec.json.Decoder(MessagesRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_block = msgspec.json.Decoder(Block)


class AsChat(msgspec.Struct, frozen=True, kw_only=True):
    """The chat request. `rich` is whether it has members that OpenAI's dialect does not know; `dropped` names
    what was left out; `begun` is the beginning of the answer, where the last turn is the assistant's."""

    body: bytes
    model: str
    rich: bool
    dropped: tuple[str, ...] = ()
    begun: str = ""


def messages_as_chat(body: bytes, *, counting: bool = False) -> AsChat:
    """The request as chat; `counting` where it is only to be counted. Raises InvalidRequest for what chat
    has no words for, msgspec.ValidationError and msgspec.DecodeError."""
    request = _request.decode(body)
    members = _members.decode(body)
    refused = sorted(
        name for name in REFUSED & members.keys() if bytes(members[name]) not in {b"null", b"[]"}
    )
    if refused:
        raise InvalidRequest(
            f"{refused[0]!r} is served by Anthropic alone; leave it out", code="unsupported", param=refused[0]
        )
    if not request.messages:
        raise InvalidRequest("'messages' is empty; send at least one message", param="messages")
    if not counting:
        _check_limit(request.max_tokens)
    turns = _conversation(request)
    dropped = tuple(sorted(DROPPED & members.keys()))
    value: Json = {
        name: raw
        for name, raw in members.items()
        if name not in _READ and name not in HINTS and name not in DROPPED
    }
    value |= {"model": request.model, "messages": turns.messages}
    if request.max_tokens is not None:
        value["max_tokens"] = request.max_tokens
    if request.stop_sequences:
        value["stop"] = request.stop_sequences
    if request.stream:
        value |= {"stream": True, "stream_options": {"include_usage": True}}
    marked = _put_tools(value, request)
    _put_thinking(value, request)
    _put_labels(value, request.metadata)
    return AsChat(
        body=encode(value),
        model=request.model,
        rich=turns.rich or marked,
        dropped=dropped,
        begun=turns.begun,
    )


def _check_limit(limit: int | None) -> None:
    if limit is None:
        raise InvalidRequest(
            "'max_tokens' is missing; say how many tokens the answer may have", param="max_tokens"
        )
    if limit < 1:
        raise InvalidRequest(f"'max_tokens' is {limit}; it must be 1 or more", param="max_tokens")


class _Turns:
    """The conversation as chat messages."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.rich = False

    @property
    def begun(self) -> str:
        """The text of a last turn that is the assistant's."""
        last = self.messages[-1]
        content = last.get("content")
        return content if last["role"] == "assistant" and isinstance(content, str) else ""

    def marked(self, value: Json, mark: Json | None) -> Json:
        """`value` with a cache mark."""
        if mark is None:
            return value
        self.rich = True
        return {**value, "cache_control": mark}


def _conversation(request: MessagesRequest) -> _Turns:
    turns = _Turns()
    if request.system:
        turns.messages.append({"role": "system", "content": _system(turns, request.system, "system")})
    for number, turn in enumerate(request.messages):
        where = f"messages[{number}]"
        if isinstance(turn.content, str):
            blocks: list[tuple[Block, msgspec.Raw | None]] = [(Block(type="text", text=turn.content), None)]
        else:
            blocks = [
                (_read_block(raw, f"{where}.content[{at}]"), raw) for at, raw in enumerate(turn.content)
            ]
        match turn.role:
            case "user":
                _add_user(turns, [block for block, _ in blocks], where)
            case "assistant":
                _add_assistant(turns, blocks, where)
            case "system":
                said = _system(turns, [block for block, _ in blocks], where)
                turns.messages.append({"role": "system", "content": said})
            case _:
                raise InvalidRequest(
                    f"{where}.role is {turn.role[:40]!r}; it is 'user' or 'assistant'", param=f"{where}.role"
                )
    return turns


def _read_block(raw: msgspec.Raw, where: str) -> Block:
    try:
        return _block.decode(raw)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{what} - at `$.{where}{at or '`'}") from None


def _system(turns: _Turns, said: str | list[Block], where: str) -> str | list[Json]:
    if isinstance(said, str):
        return said
    parts = [
        turns.marked({"type": "text", "text": _text(block, f"{where}[{number}]")}, block.cache_control)
        for number, block in enumerate(said)
    ]
    return _plainest(parts)


def _plainest(parts: list[Json]) -> str | list[Json]:
    """One text without a mark as a text: some servers read no other."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _text(block: Block, where: str) -> str:
    if block.type != "text" or block.text is None:
        raise _unknown(block, where)
    return block.text


def _unknown(block: Block, where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} is of type {block.type[:60]!r} or incomplete, and cannot be sent to other models from "
        "here; send text, image, document, tool_use or tool_result",
        code="content_unsupported",
        param=where,
    )


def _add_user(turns: _Turns, blocks: list[Block], where: str) -> None:
    """A user's turn: its tool results first, because they must follow the calls, then the rest of it."""
    rest: list[Json] = []
    for number, block in enumerate(blocks):
        at = f"{where}.content[{number}]"
        if block.type == "tool_result":
            if block.tool_use_id is None:
                raise InvalidRequest(f"{at}.tool_use_id is missing; add it", param=f"{at}.tool_use_id")
            result: Json = {
                "role": "tool",
                "tool_call_id": block.tool_use_id,
                "content": _result(turns, block, at),
            }
            turns.messages.append(turns.marked(result, block.cache_control))
        else:
            rest += _parts(turns, block, at)
    if rest or not blocks:
        turns.messages.append({"role": "user", "content": _plainest(rest) if rest else ""})


def _result(turns: _Turns, block: Block, where: str) -> str | list[Json]:
    """What a tool gave back. Chat has no mark for a failure, so its text says it."""
    failed = "Error: " if block.is_error else ""
    if not isinstance(block.content, list):
        return failed + (block.content or "")
    parts: list[Json] = [{"type": "text", "text": failed}] if failed else []
    for number, inner in enumerate(block.content):
        parts += _parts(turns, inner, f"{where}.content[{number}]")
    if all(part.keys() == {"type", "text"} for part in parts):
        return failed + "\n".join(part["text"] for part in parts[bool(failed) :])
    return parts


def _parts(turns: _Turns, block: Block, where: str) -> Iterator[Json]:
    if block.type == "text" and block.text is not None:
        yield turns.marked({"type": "text", "text": block.text}, block.cache_control)
    elif block.type == "image":
        part = {"type": "image_url", "image_url": {"url": _url(block, where)}}
        yield turns.marked(part, block.cache_control)
    elif block.type == "document":
        for part in _document(block, where):
            yield turns.marked(part, block.cache_control)
    else:
        raise _unknown(block, where)


def _url(block: Block, where: str) -> str:
    """An image's URL, or its bytes as one."""
    match block.source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return f"data:{kind};base64,{data}"
        case {"type": "url", "url": str(url)}:
            return url
    raise InvalidRequest(
        f"{where}.source is neither base64 with media_type and data, nor a url; send one of them",
        code="content_unsupported",
        param=f"{where}.source",
    )


def _document(block: Block, where: str) -> Iterator[Json]:
    name = block.title or "document.pdf"
    match block.source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            yield {
                "type": "file",
                "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"},
            }
        case {"type": "text", "data": str(text)}:
            yield {"type": "text", "text": f"{block.title}\n\n{text}" if block.title else text}
        case {"type": "content", "content": str(text)}:
            yield {"type": "text", "text": text}
        case _:
            raise InvalidRequest(
                f"{where}.source is neither base64 nor text; send the document itself",
                code="content_unsupported",
                param=f"{where}.source",
            )


def _add_assistant(turns: _Turns, blocks: list[tuple[Block, msgspec.Raw | None]], where: str) -> None:
    texts: list[str] = []
    calls: list[Json] = []
    thoughts: list[msgspec.Raw] = []
    mark: Json | None = None
    for number, (block, raw) in enumerate(blocks):
        at = f"{where}.content[{number}]"
        mark = block.cache_control or mark
        match block.type:
            case "text" if block.text is not None:
                texts.append(block.text)
            case "tool_use":
                calls.append(_call(block, at))
            case "thinking" | "redacted_thinking" if raw is not None:
                thoughts.append(raw)
            case _:
                raise _unknown(block, at)
    message: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        turns.rich = True
        message["thinking_blocks"] = thoughts
    turns.messages.append(turns.marked(message, mark))


def _call(block: Block, where: str) -> Json:
    if block.id is None or block.name is None:
        raise InvalidRequest(f"{where} has no id or no name; a tool_use needs both", param=where)
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        raise InvalidRequest(f"{where}.input is no JSON object; send one", param=f"{where}.input")
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _put_tools(value: Json, request: MessagesRequest) -> bool:
    """Put the tools in. Whether one of them has a cache mark."""
    tools: list[Json] = []
    marked = False
    for number, tool in enumerate(request.tools or ()):
        if tool.type not in {None, "custom"}:
            raise InvalidRequest(
                f"tools[{number}] is of type {str(tool.type)[:60]!r}, which runs at Anthropic; offer tools "
                "of your own, with name and input_schema",
                code="tools_unsupported",
                param=f"tools[{number}].type",
            )
        function: Json = {"name": tool.name, "parameters": tool.input_schema or {"type": "object"}}
        if tool.description is not None:
            function["description"] = tool.description
        if tool.strict is not None:
            function["strict"] = tool.strict
        made: Json = {"type": "function", "function": function}
        if tool.cache_control is not None:
            marked = True
            made["cache_control"] = tool.cache_control
        tools.append(made)
    if tools:
        value["tools"] = tools
    choice = request.tool_choice
    if choice is not None and tools:
        value["tool_choice"] = _choice(choice)
        if choice.disable_parallel_tool_use:
            value["parallel_tool_calls"] = False
    return marked


def _choice(choice: ToolChoice) -> str | Json:
    match choice.type:
        case "auto" | "none":
            return choice.type
        case "any":
            return "required"
        case "tool" if choice.name:
            return {"type": "function", "function": {"name": choice.name}}
    raise InvalidRequest(
        f"'tool_choice' is of type {choice.type[:40]!r}; it is auto, any, none, or tool with a name",
        param="tool_choice",
    )


def _put_thinking(value: Json, request: MessagesRequest) -> None:
    """How much to think, and in which form to answer."""
    config = request.output_config or OutputConfig()
    effort = config.effort
    thinking = request.thinking
    if thinking is not None and thinking.type == "enabled":
        budget = thinking.budget_tokens or 0
        effort = effort or next((name for most, name in EFFORTS if budget <= most), "high")
    if effort is not None and (thinking is None or thinking.type != "disabled"):
        value["reasoning_effort"] = "high" if effort == "max" else effort
    wanted = config.format or request.output_format
    if wanted is None:
        return
    if wanted.type != "json_schema" or wanted.schema is None:
        raise InvalidRequest(
            f"the format of the answer is {wanted.type[:40]!r}; it is json_schema, with a schema",
            param="output_config.format",
        )
    schema = {"name": "answer", "schema": wanted.schema, "strict": True}
    value["response_format"] = {"type": "json_schema", "json_schema": schema}


def _put_labels(value: Json, metadata: dict[str, Any] | None) -> None:
    """`user_id` is the call's user; the rest, where it is text, its session and tags."""
    if not metadata:
        return
    user = metadata.get("user_id")
    if user is not None and not isinstance(user, str):
        raise InvalidRequest("'metadata.user_id' is no text; send one", param="metadata.user_id")
    if user is not None:
        value["user"] = user
    labels = {name: text for name, text in metadata.items() if name != "user_id" and isinstance(text, str)}
    if labels:
        value["metadata"] = labels
