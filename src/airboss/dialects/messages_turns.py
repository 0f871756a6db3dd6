"""Anthropic's turns, said as chat messages. Pure.

A tool's results, which are part of the user's turn, become messages of their own before the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from airboss.dialects.chat_said import GOOGLES, OPENAIS, REASONING
from airboss.dialects.messages_shape import Block, MessagesRequest, Typed
from airboss.dialects.plain import THOUGHTS_OF_OPENAIS, fitting_name
from airboss.dialects.speech import Json, Unsaid, encode
from airboss.domain.errors import InvalidRequest

KNOWN = frozenset(
    {
        *("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"),
        *("tool_reference", "server_tool_use"),
    }
)
"""Types of blocks that chat has words for, or that ride along."""
SEARCHES = "tool_search_tool_"
"""How the searches for tools are called that Anthropic makes."""
_typed = msgspec.json.Decoder(Typed)
_block = msgspec.json.Decoder(Block)


class Turns:
    """The conversation as chat messages."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.rich = False
        self.unsaid: list[Unsaid] = []

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Take note of what cannot be said, and go on without it: it may be passed on as it is."""
        try:
            yield
        except Unsaid as error:
            self.unsaid.append(error)

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


def add_conversation(turns: Turns, request: MessagesRequest) -> None:
    """Say a request's conversation. Raises InvalidRequest and msgspec.ValidationError."""
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


def _read_block(raw: msgspec.Raw, where: str) -> Block:
    try:
        type_ = _typed.decode(raw).type
        if type_ == "search_result":
            return _found(raw)
        return _block.decode(raw) if type_ in KNOWN else Block(type=type_)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{what} - at `$.{where}{at or '`'}") from None


class _Found(msgspec.Struct):
    """A search's result."""

    source: str
    title: str
    content: list[Block]
    citations: Json | None = None
    cache_control: Json | None = None


_search = msgspec.json.Decoder(_Found)


def _found(raw: msgspec.Raw) -> Block:
    """A search's result as a text that says where it is from; as itself where it is to be cited, which
    Anthropic alone can do, and where it has another shape."""
    try:
        found = _search.decode(raw)
    except msgspec.ValidationError:
        return Block(type="search_result")
    if (found.citations or {}).get("enabled"):
        return Block(type="search_result")
    lines = [found.title, found.source, "", *(block.text or "" for block in found.content)]
    return Block(type="text", text="\n".join(lines), cache_control=found.cache_control)


def _system(turns: Turns, said: str | list[Block], where: str) -> str | list[Json]:
    if isinstance(said, str):
        return said
    parts: list[Json] = []
    for number, block in enumerate(said):
        with turns.leaving_out():
            text = _text(block, f"{where}[{number}]")
            parts.append(turns.marked({"type": "text", "text": text}, block.cache_control))
    return _plainest(parts) if parts else ""


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


def _unknown(block: Block, where: str) -> Unsaid:
    return Unsaid(
        f"{where} is of type {block.type[:60]!r} or incomplete, and cannot be sent to other models from "
        "here; send text, image, document, tool_use or tool_result",
        code="content_unsupported",
        param=where,
    )


def _add_user(turns: Turns, blocks: list[Block], where: str) -> None:
    """A user's turn: its tool results first, because they must follow the calls, then the rest of it."""
    rest: list[Json] = []
    before = len(turns.messages)
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
            with turns.leaving_out():
                rest += _parts(turns, block, at)
    if rest or len(turns.messages) == before:
        turns.messages.append({"role": "user", "content": _plainest(rest) if rest else ""})


def _result(turns: Turns, block: Block, where: str) -> str | list[Json]:
    """What a tool gave back. Chat has no mark for a failure, so its text says it."""
    failed = "Error: " if block.is_error else ""
    if not isinstance(block.content, list):
        return failed + (block.content or "")
    parts: list[Json] = [{"type": "text", "text": failed}] if failed else []
    for number, raw in enumerate(block.content):
        at = f"{where}.content[{number}]"
        with turns.leaving_out():
            parts += _parts(turns, _read_block(raw, at), at)
    if all(part.keys() == {"type", "text"} for part in parts):
        return failed + "\n".join(part["text"] for part in parts[bool(failed) :])
    return parts


def _parts(turns: Turns, block: Block, where: str) -> Iterator[Json]:
    if block.type == "text" and block.text is not None:
        yield turns.marked({"type": "text", "text": block.text}, block.cache_control)
    elif block.type == "image":
        part = {"type": "image_url", "image_url": {"url": _url(block, where)}}
        yield turns.marked(part, block.cache_control)
    elif block.type == "tool_reference" and block.tool_name is not None:
        yield {"type": "text", "text": f"The tool {fitting_name(block.tool_name)} can be called now."}
    elif block.type == "document":
        if isinstance(block.citations, dict) and block.citations.get("enabled"):
            said = f"{where}.citations are made by Anthropic alone; leave them out"
            turns.unsaid.append(Unsaid(said, param=f"{where}.citations"))
        if block.context:
            yield {"type": "text", "text": block.context}
        for part in _document(turns, block, where):
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
    raise Unsaid(
        f"{where}.source is neither base64 with media_type and data, nor a url; send one of them",
        code="content_unsupported",
        param=f"{where}.source",
    )


def _document(turns: Turns, block: Block, where: str) -> Iterator[Json]:
    name = block.title or "document.pdf"
    match block.source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            yield {
                "type": "file",
                "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"},
            }
        case {"type": "url", "url": str(url)}:
            yield {"type": "file", "file": {"filename": name, "file_data": url}}
        case {"type": "text", "data": str(text)}:
            yield {"type": "text", "text": f"{block.title}\n\n{text}" if block.title else text}
        case {"type": "content", "content": str(text)}:
            yield {"type": "text", "text": text}
        case {"type": "content", "content": list(listed)}:
            for number, each in enumerate(listed):
                at = f"{where}.source.content[{number}]"
                inner = _read_block(msgspec.Raw(encode(each)), at)
                if inner.type not in {"text", "image"}:
                    raise _unknown(inner, at)
                yield from _parts(turns, inner, at)
        case _:
            raise Unsaid(
                f"{where}.source is neither base64, nor text, nor a url; send the document itself",
                code="content_unsupported",
                param=f"{where}.source",
            )


def _add_assistant(turns: Turns, blocks: list[tuple[Block, msgspec.Raw | None]], where: str) -> None:
    texts: list[str] = []
    calls: list[Json] = []
    thoughts: dict[str, list[Any]] = {}
    mark: Json | None = None
    signed = ""
    for number, (block, raw) in enumerate(blocks):
        at = f"{where}.content[{number}]"
        mark = block.cache_control or mark
        match block.type:
            case "text" if block.text is not None:
                texts.append(block.text)
            case "tool_use":
                calls.append(_call(block, at) | _extra(signed))
                signed = ""
            case "thinking" if (block.signature or "").startswith(GOOGLES):
                signed = (block.signature or "").removeprefix(GOOGLES)
            case "thinking" | "redacted_thinking" if raw is not None:
                _sort(thoughts, block, raw)
            case "server_tool_use" if (block.name or "").startswith(SEARCHES):
                pass  # all tools are offered at once
            case "tool_search_tool_result":
                pass
            case _:
                with turns.leaving_out():
                    raise _unknown(block, at)
    message: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    turns.rich = turns.rich or bool(thoughts) or any("extra_content" in call for call in calls)
    if REASONING in thoughts:
        message[REASONING] = "".join(thoughts.pop(REASONING))
    message |= thoughts
    turns.messages.append(turns.marked(message, mark))


def _extra(signature: str) -> Json:
    """What Google said of a call, in its own words."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _sort(thoughts: dict[str, list[Any]], block: Block, raw: msgspec.Raw) -> None:
    """Put a block of thoughts where those find it whose they are, by its signature."""
    signature = block.signature or ""
    if block.type == "thinking" and signature == REASONING:
        thoughts.setdefault(REASONING, []).append(block.thinking or "")
    elif block.type == "thinking" and signature.startswith(OPENAIS):
        thoughts.setdefault(THOUGHTS_OF_OPENAIS, []).append(raw)
    elif block.type != "thinking" or block.signature != "":  # else nobody's: no model takes them back
        thoughts.setdefault("thinking_blocks", []).append(raw)


def _call(block: Block, where: str) -> Json:
    if block.id is None or block.name is None:
        raise InvalidRequest(f"{where} has no id or no name; a tool_use needs both", param=where)
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        raise InvalidRequest(f"{where}.input is no JSON object; send one", param=f"{where}.input")
    function = {"name": fitting_name(block.name), "arguments": arguments}
    return {"id": block.id, "type": "function", "function": function}
