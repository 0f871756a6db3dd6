"""Records of calls in other dialects, read as chat: for whoever evaluates or shows what was said. Pure.

A record has what its client sent and got. Nothing here trusts its shape, and nothing raises: what cannot be
read as chat stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from airboss.dialects.chat_said import list_of, text_of
from airboss.dialects.failed_attempts import answered
from airboss.dialects.messages_request import messages_as_chat
from airboss.dialects.responses_request import as_chat, input_messages, read_responses
from airboss.dialects.speech import Json, encode
from airboss.domain.errors import ApiError
from airboss.domain.record import InferenceRecord
from airboss.providers.anthropic_answer import AnthropicReader

Dialect = Literal["chat", "messages", "responses"]
"""What a client spoke."""

PATHS: Mapping[Dialect, str] = {
    "chat": "/chat/completions",
    "messages": "/messages",
    "responses": "/responses",
}
"""Where each is spoken, under the base URL."""

_UNREADABLE = (ApiError, msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_BLOCKS = frozenset({"tool_use", "tool_result", "image", "document", "thinking", "redacted_thinking"})


def dialect_of(record: InferenceRecord) -> Dialect:
    """What the client of a record spoke, as far as its bodies tell."""
    request, response = record.request, record.response
    if record.operation != "chat" or not isinstance(request, dict):
        return "chat"
    if "messages" not in request:
        return "responses" if "input" in request else "chat"
    if isinstance(response, dict) and text_of(response.get("type")) in {"message", "error"}:
        return "messages"
    blocks = [block for turn in list_of(request["messages"]) for block in _blocks(turn)]
    return "messages" if "system" in request or _BLOCKS & set(blocks) else "chat"


def _blocks(turn: Any) -> list[str]:
    """The types of a turn's blocks."""
    content = turn.get("content") if isinstance(turn, dict) else None
    return [text_of(block.get("type")) for block in list_of(content) if isinstance(block, dict)]


def in_chat(record: InferenceRecord) -> InferenceRecord:
    """The record with its bodies as chat. Of a response that built on others the request has its own input
    alone, and still says so: `previous_response_id`. What was said in attempts that failed is no answer."""
    request, response = record.request, answered(record.response)
    match dialect_of(record):
        case "messages":
            request, response = _messages_request(request), _message(response)
        case "responses":
            request, response = _responses_request(request), _response(response)
        case "chat":
            if response is record.response:
                return record
    return msgspec.structs.replace(record, request=request, response=response)


def _messages_request(request: Any) -> Any:
    try:
        return msgspec.json.decode(messages_as_chat(encode(request), counting=True).body)
    except _UNREADABLE:
        return request


def _message(response: Any) -> Any:
    if not isinstance(response, dict) or response.get("type") != "message":
        return response
    if not isinstance(response.get("content"), list):
        return response
    try:
        chat = msgspec.json.decode(AnthropicReader(0, answer_tool=None).whole(encode(response)))
    except _UNREADABLE:
        return response
    if response.get("stop_reason") is None:
        chat["choices"][0]["finish_reason"] = None  # it was cut
    return chat


def _responses_request(request: Json) -> Any:
    try:
        chat = msgspec.json.decode(as_chat(read_responses(encode(request))))
    except _UNREADABLE:
        return request
    previous = request.get("previous_response_id")
    return chat | ({"previous_response_id": previous} if previous is not None else {})


def _response(response: Any) -> Any:
    if not isinstance(response, dict) or response.get("object") != "response":
        return response
    try:
        # What ran at OpenAI has no words in chat, and is left out.
        said = input_messages([msgspec.Raw(encode(each)) for each in list_of(response.get("output"))], [], [])
    except _UNREADABLE:
        return response
    message: Json = {"role": "assistant", "content": None}
    for each in said:
        for name, value in each.items():
            grows = (
                name != "role"
                and isinstance(value, str | list)
                and isinstance(message.get(name), type(value))
            )
            message[name] = message[name] + value if grows else value or message.get(name)
    details = response.get("incomplete_details")
    reason = text_of(details.get("reason")) if isinstance(details, dict) else ""
    finish = {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason)
    if finish is None and response.get("status") == "completed":
        finish = "tool_calls" if "tool_calls" in message else "stop"
    return {
        "id": response.get("id"),
        "object": "chat.completion",
        "model": response.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
