"""Chat messages said as items of OpenAI's Responses, what a response was made from, and answers kept as such
messages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from airboss.dialects.chat_said import CallJoin, list_of, read_said, text_of
from airboss.dialects.speech import Json


def items_of(messages: Iterable[Any], named: str) -> list[Json]:
    """The items that messages are, in their order; the ids of those without one begin with `named`. What has
    no shape of a message is left out: it was kept by another version."""
    items: list[Json] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        for item in _items(message):
            items.append(
                {"id": f"{_KINDS[item['type']]}_{named}_{len(items)}", "status": "completed", **item}
            )
    return items


_KINDS = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}


def _items(message: Json) -> Iterator[Json]:
    role = text_of(message.get("role"))
    content = message.get("content")
    if role == "tool":
        output: Any = content
        if isinstance(content, list):
            output = [_part(part) for part in content if isinstance(part, dict)]
        call = text_of(message.get("tool_call_id"))
        yield {"type": "function_call_output", "call_id": call, "output": output or ""}
        return
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list_of(content)
    if role != "assistant":
        said = [_part(part) for part in parts if isinstance(part, dict)]
        yield {"type": "message", "role": role, "content": said}
        return
    said = [
        {"type": "output_text", "text": text_of(part.get("text")), "annotations": [], "logprobs": []}
        for part in parts
        if isinstance(part, dict) and part.get("text")
    ]
    if refusal := text_of(message.get("refusal")):
        said.append({"type": "refusal", "refusal": refusal})
    if said:
        yield {"type": "message", "role": role, "content": said}
    for call in list_of(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield {
                "type": "function_call",
                "call_id": text_of(call.get("id")),
                "name": text_of(function.get("name")),
                "arguments": text_of(function.get("arguments")),
            }


def _part(part: Json) -> Json:
    """A part of a message that is not the assistant's."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url), **more}}:
            return {
                "type": "input_image",
                "image_url": url,
                "detail": more.get("detail", "auto"),
                "file_id": None,
            }
        case {"type": "file", "file": dict(file)}:
            return {"type": "input_file", **file}
        case {"type": "input_audio"}:
            return part
    return {"type": "input_text", "text": text_of(part.get("text"))}


def as_history(chat: bytes, made: Callable[[int], str]) -> Json:
    """A whole chat answer as the message that later requests have: what servers add beside it stays away.
    `made` is the id that the client was told of a call that has none, by its number."""
    said = read_said(chat)
    joined = CallJoin()
    for piece in said.calls:
        joined.add(piece)
    calls: list[Json] = []
    for call in joined.calls.values():
        function = {"name": call.name, "arguments": call.text}
        calls.append({"id": call.id or made(call.index), "type": "function", "function": function})
        if call.extra is not None:
            calls[-1]["extra_content"] = call.extra
    message: Json = {"role": "assistant", "content": said.text if said.text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if said.refusal:
        message["refusal"] = said.refusal
    if said.thoughts:
        message["thinking_blocks"] = list(said.thoughts)
    return message
