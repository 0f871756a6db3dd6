"""What Anthropic's `POST /v1/messages` looks like, as far as it is read."""

from __future__ import annotations

import msgspec

from airboss.dialects.speech import Json


class Typed(msgspec.Struct):
    """A block of any shape."""

    type: str


class Block(msgspec.Struct, kw_only=True):
    """One block of a content, of a type that chat has words for; of others only the type is read."""

    type: str
    text: str | None = None
    source: Json | None = None
    title: str | None = None
    context: str | None = None
    citations: Json | list[msgspec.Raw] | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    cache_control: Json | None = None


class Turn(msgspec.Struct, kw_only=True):
    """One message. `content` is read twice, for thoughts go on as they came."""

    role: str
    content: str | list[msgspec.Raw]


class Tool(msgspec.Struct, kw_only=True):
    """A tool; one without `type` or of type `custom` is the client's own, and has a name."""

    name: str = ""
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
