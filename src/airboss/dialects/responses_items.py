"""Chat messages said as items of OpenAI's Responses, what a response was made from, and answers kept as such
messages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from airboss.dialects.chat_said import MARK, REASONING, CallJoin, Said, list_of, text_of
from airboss.dialects.responses_custom import CUSTOM, arguments_of, input_of
from airboss.dialects.responses_tools import CLIENTS, NAMED, SEARCH_CALL, SEARCH_OUTPUT, Called
from airboss.dialects.speech import Json

SIGNED = "thinking_blocks"
"""The member of a message, and of an item of thoughts, that has them as their model has signed them."""
SEALED = f"{MARK}thoughts:"
"""How `encrypted_content` begins that holds such thoughts."""
EXTRA = "extra_content"
"""The member of a call that has what Google says of it, and wants back."""
OWN = "responses_items"
"""The member of a kept answer that has its turn in Responses' own words."""
WAITING = frozenset(
    {"mcp_approval_request", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"}
)
"""Types of items that a client answers, and that chat has no words for. Their ids are needed."""
_CHAT_KNOWS = frozenset({"message", "function_call", "function_call_output", "reasoning", "item_reference"})
_BEYOND = frozenset({"phase", "namespace"})
"""Members of items that chat knows, for which it has no words and which OpenAI's models want back."""
_GO_ON = frozenset({"message", "function_call", "custom_tool_call", SEARCH_CALL, SEARCH_OUTPUT}) | WAITING
"""What of an output the next call has."""
_KINDS = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "image_generation_call": "ig",
    "custom_tool_call_output": "ctco",
    SEARCH_CALL: "tsc",
    SEARCH_OUTPUT: "tso",
}


def items_of(messages: Iterable[Any], named: str) -> list[Json]:
    """The items that messages are, in their order; the ids of those without one begin with `named`. What has
    no shape of a message is left out: it was kept by another version."""
    found: list[Json] = []
    for item in unnamed_items(messages):
        made = f"{_KINDS.get(_type(item), 'item')}_{named}_{len(found)}"
        state = {} if _type(item) in WAITING else {"status": "completed"}
        found.append({**state, **item, "id": text_of(item.get("id")) or made})
    return found


def unnamed_items(messages: Iterable[Any]) -> Iterator[Json]:
    """As `items_of`, but of ids and states they have only those that were said."""
    said: list[list[Json]] = []
    for message in messages:
        own = message.get(OWN) if isinstance(message, dict) else None
        match own:
            case {"instead_of": int(before), "items": list(items)}:
                del said[max(len(said) - before, 0) :]
                said.append([item for item in items if isinstance(item, dict)])
            case _:
                said.append(list(_items(message)) if isinstance(message, dict) else [])
    return chain.from_iterable(said)


def _type(item: Json) -> str:
    return text_of(item.get("type", "message"))


def own_items(given: str | Sequence[Any] | None, output: Sequence[Any]) -> list[Json] | None:
    """A turn that a provider of Responses has answered, in its own words, for the next one to build on: what
    was `given` and what came of it. None where chat has words for all that matters of it."""
    turn: Sequence[Any] = given or ()
    if isinstance(given, str):
        turn = [{"type": "message", "role": "user", "content": given}]
    turn = [item for item in turn if isinstance(item, dict) and _type(item) != "reasoning"]
    made = [item for item in output if isinstance(item, dict) and _type(item) in _GO_ON]
    if all(_type(item) in _CHAT_KNOWS and not _BEYOND & item.keys() for item in (*turn, *made)):
        return None
    return [*turn, *made]


def _items(message: Json) -> Iterator[Json]:
    role = text_of(message.get("role"))
    content = message.get("content")
    if role == "tool":
        yield _output(message, content)
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
    for image in list_of(message.get("images")):
        if isinstance(image, dict) and (url := text_of((image.get("image_url") or {}).get("url"))):
            yield {"type": "image_generation_call", "result": url.rpartition(",")[2]}
    for call in list_of(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _call(call, text_of(function.get("name")), text_of(function.get("arguments")))


def _output(message: Json, content: Any) -> Json:
    call, mark = text_of(message.get("tool_call_id")), _mark(message)
    if mark.get("type") == SEARCH_OUTPUT:
        return {**mark, "call_id": call, "execution": CLIENTS}
    output: Any = content
    if isinstance(content, list):
        output = [_part(part) for part in content if isinstance(part, dict)]
    kind = "custom_tool_call_output" if message.get(CUSTOM) else "function_call_output"
    return {"type": kind, "call_id": call, "output": output or ""}


def _call(call: Json, name: str, arguments: str) -> Json:
    call_id, mark = text_of(call.get("id")), _mark(call)
    if mark.get("type") == SEARCH_CALL:
        return {**mark, "call_id": call_id, "execution": CLIENTS, "arguments": object_in(arguments)}
    if call.get(CUSTOM):
        said = {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": input_of(arguments)}
    else:
        said = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    return said | mark


def _mark(value: Json) -> Json:
    mark = value.get(NAMED)
    return mark if isinstance(mark, dict) else {}


def object_in(arguments: str) -> Json:
    """The object that arguments are; an empty one where they are none."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def marked(sent: Sequence[msgspec.Raw], said: Sequence[Json]) -> list[Any]:
    """Messages of a call as they were `sent`, with the marks that those `said` have: a server of chat is not
    told."""
    if len(sent) != len(said) or not any(map(_is_marked, said)):
        return list(sent)
    found: list[Any] = [msgspec.json.decode(each) for each in sent]
    for message, own in zip(found, said, strict=True):
        message.update(_marks(own))
        for call, own_call in zip(message.get("tool_calls", ()), own.get("tool_calls", ()), strict=False):
            call.update(_marks(own_call))
    return found


def _marks(value: Json) -> Json:
    return {name: value[name] for name in (CUSTOM, NAMED) if name in value}


def _is_marked(message: Json) -> bool:
    return bool(_marks(message)) or any(map(_marks, message.get("tool_calls", ())))


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


def said_before(parts: list[Json]) -> Json:
    """An earlier answer, its text in one piece: not every server reads an assistant's parts."""
    refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
    message: Json = {
        "role": "assistant",
        "content": "".join(part["text"] for part in parts if part["type"] == "text"),
    }
    return message | ({"refusal": "".join(refusals)} if refusals else {})


def plainest(parts: list[Json]) -> str | list[Json]:
    """Parts of a content; one text as that: some servers read no other."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def sealed(blocks: Sequence[Json]) -> str:
    """Signed thoughts as `encrypted_content`, the one member that clients keep which know theirs alone."""
    return f"{SEALED}{msgspec.json.encode(blocks).decode()}"


def opened(content: str | None) -> list[Json]:
    """The signed thoughts in such; none in what others have encrypted."""
    if content is None or not content.startswith(SEALED):
        return []
    try:
        return msgspec.json.decode(content.removeprefix(SEALED), type=list[Json])
    except (msgspec.DecodeError, RecursionError):
        return []


def in_words(parts: list[Json]) -> str | list[Json]:
    """What a tool gave back, in one text where it is nothing but texts: as `plainest`."""
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)


def image_url(result: str) -> str:
    """The URL of a picture in base64, whose kind its first bytes tell."""
    kinds = {"/9j/": "jpeg", "UklG": "webp", "R0lG": "gif"}
    return f"data:image/{kinds.get(result[:4], 'png')};base64,{result}"


def is_cut(finish: str | None) -> bool:
    """Whether an answer for which this is the reason to stop is not complete; so is one without any."""
    return finish in {None, "length", "content_filter"}


def as_history(
    said: Said,
    made: Callable[[int], str],
    called: Mapping[str, Called] | None = None,
    *,
    native: bool = False,
) -> Json:
    """A whole answer as the message that later requests have: what servers add beside it stays away. `made`
    is the id that the client was told of a call that has none, by its number. `called` are the items that
    calls are (`responses_tools`); one of a custom tool holds its bare input where a provider of Responses has
    said it (`native`)."""
    none = "" if is_cut(said.finish) else "{}"  # as clients were told
    joined = CallJoin()
    for piece in said.calls:
        joined.add(piece)
    calls: list[Json] = []
    for call in joined.calls.values():
        marks = (called or {}).get(call.name, Called()).marks
        text = arguments_of(call.text) if native and CUSTOM in marks else call.text or none
        function = {"name": call.name, "arguments": text}
        calls.append({"id": call.id or made(call.index), "type": "function", "function": function, **marks})
        if call.extra is not None:
            calls[-1][EXTRA] = call.extra
    message: Json = {"role": "assistant", "content": said.text if said.text or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if said.refusal:
        message["refusal"] = said.refusal
    if said.images:
        message["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in said.images]
    if said.thought_as:
        message[REASONING] = said.reasoning
    if said.thoughts:
        message[SIGNED] = list(said.thoughts)
    return message
