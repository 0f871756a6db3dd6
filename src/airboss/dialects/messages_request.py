"""Anthropic's `POST /v1/messages`, said as a chat request. Pure.

What differs, and what becomes of it:

- `system` becomes the first message.
- `thinking` becomes `reasoning_effort`, by its budget. Thoughts of earlier answers ride along as
  `thinking_blocks`, and cache marks as `cache_control`, for upstreams that know them.
- `output_config.format` becomes `response_format`.
- What asks for Anthropic's own machinery (REFUSED, its tools, blocks that are kept there) is left out and
  named: whoever sends the request on as chat refuses it, unless the provider drops what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.dialects.messages_shape import MessagesRequest, OutputConfig, Tool, ToolChoice
from airboss.dialects.messages_turns import SEARCHES, Turns, add_conversation
from airboss.dialects.plain import NAME_CHARS_MAX, fitting_name
from airboss.dialects.speech import Json, Unsaid, encode
from airboss.domain.errors import InvalidRequest
from airboss.providers.chat_request import ID_CHARS_MAX

HINTS = frozenset({"cache_control", "diagnostics", "service_tier", "betas"})
"""Members that change no answer."""
DROPPED = frozenset({"context_management", "speed", "fallbacks", "fallback_credit_token"})
"""Members that are left out, and named in a header: agents send them unasked, and answers do without."""
REFUSED = frozenset({"container", "mcp_servers", "inference_geo", "compaction", "billing_policy"})
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
NO_THREADS = "thread_unsupported_request"
"""By this Anthropic says, and its SDKs know, that a request is to be sent without a thread."""
EFFORTS = ((2_048, "low"), (8_192, "medium"))
"""Budgets of thinking up to which an effort is meant; a larger one means `high`."""
ADAPTIVE = "high"
"""What a model is left to decide by that is told nothing else, at Anthropic."""


_request = msgspec.json.Decoder(MessagesRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class AsChat(msgspec.Struct, frozen=True, kw_only=True):
    """The chat request. `rich` is whether it has what servers of OpenAI's dialect do not take, `most` whether
    it asks for the effort `max`, `thinks` whether for any, `decides` whether the model is left to decide on
    that, `usual` whether it is so and told the usual effort all the same, `calls` whether it has tools;
    `dropped` names what was left out; `begun` is the beginning of the answer, where the last turn is the
    assistant's. `unsaid` is what chat has no words for, and what is not in `body`. `names` are those of tools
    that were too long, by what they are called there."""

    body: bytes
    model: str
    rich: bool
    dropped: tuple[str, ...] = ()
    most: bool = False
    thinks: bool = False
    decides: bool = False
    usual: bool = False
    calls: bool = False
    begun: str = ""
    unsaid: tuple[Unsaid, ...] = ()
    names: Mapping[str, str] = {}


def messages_as_chat(body: bytes, *, counting: bool = False) -> AsChat:
    """The request as chat; `counting` where it is only to be counted. Raises InvalidRequest for what no
    server takes, msgspec.ValidationError and msgspec.DecodeError."""
    request = _request.decode(body)
    members = _members.decode(body)
    if not request.messages:
        raise InvalidRequest("'messages' is empty; send at least one message", param="messages")
    if not counting:
        _check_limit(request.max_tokens)
    if bytes(members.get("thread", b"null")) != b"null":
        raise InvalidRequest(
            "'thread' is not served here: the conversation would be kept at Anthropic, for every key, and no "
            "other model could go on with it; send all of its messages",
            code=NO_THREADS,
            param="thread",
        )
    turns = Turns()
    for name in sorted(REFUSED & members.keys()):
        if bytes(members[name]) not in {b"null", b"[]"}:
            with turns.leaving_out():
                raise Unsaid(f"{name!r} is served by Anthropic alone; leave it out", param=name)
    add_conversation(turns, request)
    dropped = tuple(sorted(DROPPED & members.keys()))
    value: Json = {
        name: raw for name, raw in members.items() if name not in _READ | HINTS | DROPPED | REFUSED
    }
    value |= {"model": request.model, "messages": turns.messages}
    if request.max_tokens is not None:
        value["max_tokens"] = request.max_tokens
    if request.stop_sequences:
        value["stop"] = request.stop_sequences
    if request.stream:
        value |= {"stream": True, "stream_options": {"include_usage": True}}
    _put_tools(value, request, turns)
    _put_thinking(value, request)
    _put_labels(value, request.metadata)
    return AsChat(
        body=encode(value),
        model=request.model,
        rich=turns.rich or len(str(value.get("user", ""))) > ID_CHARS_MAX,
        dropped=dropped,
        most=value.get("reasoning_effort") == "max",
        thinks="reasoning_effort" in value,
        decides=_is_left_to_decide(request, None),
        usual=_is_left_to_decide(request, ADAPTIVE),
        calls="tools" in value,
        begun=turns.begun,
        unsaid=tuple(turns.unsaid),
        names={
            fitting_name(tool.name): tool.name
            for tool in request.tools or ()
            if len(tool.name) > NAME_CHARS_MAX
        },
    )


def _check_limit(limit: int | None) -> None:
    if limit is None:
        raise InvalidRequest(
            "'max_tokens' is missing; say how many tokens the answer may have", param="max_tokens"
        )
    if limit < 1:
        raise InvalidRequest(f"'max_tokens' is {limit}; it must be 1 or more", param="max_tokens")


def _put_tools(value: Json, request: MessagesRequest, turns: Turns) -> None:
    tools: list[Json] = []
    for number, tool in enumerate(request.tools or ()):
        if (tool.type or "").startswith(SEARCHES):
            continue  # all tools are offered at once
        with turns.leaving_out():
            tools.append(_tool(turns, tool, number))
    if tools:
        value["tools"] = tools
    choice = request.tool_choice
    if choice is not None and tools:
        value["tool_choice"] = _choice(choice)
        if choice.disable_parallel_tool_use:
            value["parallel_tool_calls"] = False


def _tool(turns: Turns, tool: Tool, number: int) -> Json:
    if tool.type not in {None, "custom"}:
        raise Unsaid(
            f"tools[{number}] is of type {str(tool.type)[:60]!r}, which is for Anthropic's models alone; "
            "offer tools of your own, with name and input_schema",
            code="tools_unsupported",
            param=f"tools[{number}].type",
        )
    if not tool.name:
        raise InvalidRequest(f"tools[{number}].name is missing; add it", param=f"tools[{number}].name")
    function: Json = {"name": fitting_name(tool.name), "parameters": tool.input_schema or {"type": "object"}}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return turns.marked({"type": "function", "function": function}, tool.cache_control)


def _choice(choice: ToolChoice) -> str | Json:
    match choice.type:
        case "auto" | "none":
            return choice.type
        case "any":
            return "required"
        case "tool" if choice.name:
            return {"type": "function", "function": {"name": fitting_name(choice.name)}}
    raise InvalidRequest(
        f"'tool_choice' is of type {choice.type[:40]!r}; it is auto, any, none, or tool with a name",
        param="tool_choice",
    )


def _is_left_to_decide(request: MessagesRequest, effort: str | None) -> bool:
    """Whether it is the model's to decide how much it thinks, beside this effort."""
    config = request.output_config or OutputConfig()
    return config.effort == effort and request.thinking is not None and request.thinking.type == "adaptive"


def _put_thinking(value: Json, request: MessagesRequest) -> None:
    """How much to think, and in which form to answer."""
    config = request.output_config or OutputConfig()
    effort = config.effort
    thinking = request.thinking
    if thinking is not None and thinking.type == "enabled":
        budget = thinking.budget_tokens or 0
        effort = effort or next((name for most, name in EFFORTS if budget <= most), "high")
    elif thinking is not None and thinking.type == "adaptive":
        effort = effort or ADAPTIVE
    if effort is not None and (thinking is None or thinking.type != "disabled"):
        value["reasoning_effort"] = effort
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
