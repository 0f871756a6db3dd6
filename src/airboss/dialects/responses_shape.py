"""The shape of OpenAI's `POST /v1/responses`, as far as chat has words for it. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from airboss.dialects.speech import Json
from airboss.domain.errors import InvalidRequest

T = TypeVar("T")


class Part(msgspec.Struct, kw_only=True):
    """One part of a message's content, or of what a function gave back."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    input_audio: Json | None = None


class Item(msgspec.Struct, kw_only=True):
    """One item of the input, of a type that chat knows; one without a type is a message."""

    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    result: str | None = None
    summary: list[Part] | None = None
    thinking_blocks: list[Json] | None = None
    encrypted_content: str | None = None
    extra_content: Json | None = None
    output: str | list[Part] | None = None


class TextFormat(msgspec.Struct, kw_only=True):
    """`text.format`."""

    type: str
    name: str | None = None
    schema: Json | None = None
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct, kw_only=True):
    """`text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct, kw_only=True):
    """`reasoning`."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    mode: str | None = None
    context: str | None = None

    @property
    def wanted_summary(self) -> str | None:
        """What kind of summary of the thoughts is asked for, by either name."""
        return self.summary or self.generate_summary


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/responses`."""

    model: str
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    truncation: str | None = None


class Loaded(msgspec.Struct, kw_only=True):
    """An item with tools: those that a search has found, or that are there from here on; and the search."""

    call_id: str | None = None
    execution: str | None = None
    arguments: Any = None
    tools: list[msgspec.Raw] = []


class Typed(msgspec.Struct):
    """An item or a tool, as far as its type says what it is."""

    type: str = "message"


def read(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, where: str) -> T:
    """An item or a tool. Raises InvalidRequest."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        what = str(error)
        said = what.replace("`$", f"`{where}") if "`$" in what else f"{what} - at `{where}`"
        raise InvalidRequest(f"{said}; send it as OpenAI has it", param=where) from None


typed = msgspec.json.Decoder(Typed)
