"""A recorded request and response as turns that people can read.

Bodies are whatever a client and a provider sent: nothing here trusts their shape. What is not understood is
shown as JSON, what is long is cut and says so, and nothing in a body becomes a link, an image or markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import msgspec

from airboss.console.curl import body_text
from airboss.dialects.recorded import in_chat
from airboss.domain.record import InferenceRecord
from airboss.store.wording import many

BlockKind = Literal["text", "code", "media", "tool_call", "json", "refusal", "reasoning", "empty"]
"""How a block is shown. `media` is a picture, a sound or a file: named, never fetched."""

BLOCK_MAX = 20_000
"""Characters of one block that are shown."""

TURNS_HEAD = 40
TURNS_TAIL = 60
"""Of a longer conversation the first and the last turns are shown."""

PARTS_MAX = 50
"""Content parts of one message, tool calls and answers that are shown."""

FENCE = re.compile(r"^```([\w+#.-]{0,20})[^\n]*\n(.*?)(?:^```[ \t]*$\n?|\Z)", re.MULTILINE | re.DOTALL)


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a turn. `title` names a tool, a language or a medium; `left_out` counts characters cut."""

    kind: BlockKind
    text: str
    title: str | None = None
    left_out: int = 0


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one side said. `answer` is whether it came back, rather than was sent."""

    role: str
    blocks: tuple[Block, ...]
    answer: bool = False
    note: str | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """The turns; `left_out` counts those between the head and the tail that are not shown.

    `error` is what the caller was told in place of an answer; `settings` are the request's other fields.
    """

    head: tuple[Turn, ...]
    tail: tuple[Turn, ...] = ()
    left_out: int = 0
    answers: tuple[Turn, ...] = ()
    error: str | None = None
    settings: tuple[tuple[str, str], ...] = ()


def conversation(record: InferenceRecord) -> Conversation:
    """The conversation of a record; its parts are empty where bodies were not kept."""
    record = in_chat(record)
    sent = tuple(sent_turns(record.request))
    head: tuple[Turn, ...] = sent
    tail: tuple[Turn, ...] = ()
    if len(sent) > TURNS_HEAD + TURNS_TAIL:
        head, tail = sent[:TURNS_HEAD], sent[-TURNS_TAIL:]
    return Conversation(
        head=head,
        tail=tail,
        left_out=len(sent) - len(head) - len(tail),
        answers=tuple(answer_turns(record.response)),
        error=error_text(record.response),
        settings=tuple(settings(record.request)),
    )


def sent_turns(request: Any) -> Iterator[Turn]:
    """What was asked: messages, a prompt, or texts to embed."""
    if request is None:
        return
    if not isinstance(request, dict):
        yield Turn(role="request", blocks=(json_block(request),))
        return
    if isinstance(request.get("messages"), list):
        for message in request["messages"]:
            yield message_turn(message, answer=False)
        return
    for name in ("prompt", "input"):
        if name in request:
            value = request[name]
            texts = (
                value if isinstance(value, list) and all(isinstance(one, str) for one in value) else [value]
            )
            for text in texts[: TURNS_HEAD + TURNS_TAIL + 1]:
                yield Turn(role=name, blocks=tuple(content_blocks(text)))
            return
    yield Turn(role="request", blocks=(json_block(request),))


def answer_turns(response: Any) -> Iterator[Turn]:
    """What came back: one turn a choice."""
    if response is None or error_text(response) is not None:
        return
    choices = response.get("choices") if isinstance(response, dict) else None
    if not isinstance(choices, list):
        if isinstance(response, dict) and isinstance(response.get("data"), list):
            vectors = f"{many(len(response['data']), 'vector')}, in the raw JSON"
            yield Turn(role="embeddings", blocks=(Block(kind="empty", text=vectors),), answer=True)
            return
        yield Turn(role="response", blocks=(json_block(response),), answer=True)
        return
    for index, choice in enumerate(choices[:PARTS_MAX]):
        note = f"answer {index + 1} of {len(choices)}" if len(choices) > 1 else None
        if isinstance(choice, dict) and isinstance(choice.get("text"), str):
            blocks = tuple(text_blocks(choice["text"])) or (Block(kind="empty", text="an empty answer"),)
            yield Turn(role="assistant", blocks=blocks, answer=True, note=note)
            continue
        message = choice.get("message", choice.get("delta")) if isinstance(choice, dict) else choice
        yield message_turn(message, answer=True, note=note)


def message_turn(message: Any, *, answer: bool, note: str | None = None) -> Turn:
    """One message in OpenAI's shape, or whatever stands in its place."""
    if not isinstance(message, dict):
        return Turn(
            role="assistant" if answer else "message", blocks=(json_block(message),), answer=answer, note=note
        )
    role = message.get("role")
    blocks: list[Block] = []
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            blocks.append(cut("reasoning", message[name]))
            break
    content = message.get("content")
    blocks.extend(
        tool_result(content) if role == "tool" and isinstance(content, str) else content_blocks(content)
    )
    if isinstance(message.get("refusal"), str):
        blocks.append(cut("refusal", message["refusal"]))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        blocks.extend(tool_call(call) for call in calls[:PARTS_MAX])
    if not blocks:
        blocks.append(Block(kind="empty", text="an empty answer" if answer else "an empty message"))
    names = [message[name] for name in ("name", "tool_call_id") if isinstance(message.get(name), str)]
    return Turn(
        role=role[:40] if isinstance(role, str) and role else ("assistant" if answer else "no role"),
        blocks=tuple(blocks),
        answer=answer,
        note=note or (" · ".join(names)[:120] or None),
    )


def content_blocks(content: Any) -> Iterator[Block]:
    """Content is a text, a list of parts, nothing, or something else."""
    if content is None or content == "":
        return
    if isinstance(content, str):
        yield from text_blocks(content)
    elif isinstance(content, list):
        for part in content[:PARTS_MAX]:
            yield from part_blocks(part)
        if len(content) > PARTS_MAX:
            yield Block(kind="empty", text=f"{len(content) - PARTS_MAX} more parts are in the raw JSON")
    else:
        yield json_block(content)


def part_blocks(part: Any) -> Iterator[Block]:
    """One part of a list: text, a refusal, a medium, or something else."""
    kind = part.get("type") if isinstance(part, dict) else None
    if (
        isinstance(part, dict)
        and kind in ("text", "input_text", "output_text")
        and isinstance(part.get("text"), str)
    ):
        yield from text_blocks(part["text"])
    elif isinstance(part, dict) and kind == "refusal" and isinstance(part.get("refusal"), str):
        yield cut("refusal", part["refusal"])
    elif isinstance(part, dict) and kind in ("image_url", "input_image", "input_audio", "file", "input_file"):
        yield medium(str(kind), part)
    else:
        yield json_block(part)


def medium(kind: str, part: dict[str, Any]) -> Block:
    """A picture, a sound or a file, named by its address or its size; never loaded."""
    inner = part.get(kind, part)
    address = inner.get("url") if isinstance(inner, dict) else inner
    names = {"image_url": "image", "input_image": "image", "input_audio": "audio"}
    title = names.get(kind, "file")
    if isinstance(address, str) and address.startswith("data:"):
        head = address[5:].partition(",")[0][:60]
        return Block(kind="media", title=title, text=f"{head}, {len(address):,} characters, not shown")
    if isinstance(address, str):
        return Block(kind="media", title=title, text=address[:500], left_out=max(0, len(address) - 500))
    return Block(kind="media", title=title, text="inline data, not shown")


def tool_call(call: Any) -> Block:
    """A call of a tool: its name, and its arguments as they read best."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return json_block(call)
    name, arguments = function.get("name"), function.get("arguments")
    if isinstance(arguments, str) and len(arguments) <= BLOCK_MAX:
        # Broken JSON is what the model wrote: shown as it is.
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            arguments = body_text(msgspec.json.decode(arguments))
    elif not isinstance(arguments, str):
        arguments = body_text(arguments)
    return cut("tool_call", arguments, title=str(name)[:120] if name is not None else "no name")


def tool_result(text: str) -> Iterator[Block]:
    """What a tool gave back: JSON where it is JSON."""
    if text[:1] in ("{", "[") and len(text) <= BLOCK_MAX:
        with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
            yield json_block(msgspec.json.decode(text))
            return
    yield from content_blocks(text)


def text_blocks(text: str) -> Iterator[Block]:
    """A text, with its fenced code apart. Long ones are cut first, so that the work is bounded."""
    shown, left_out = text[:BLOCK_MAX], max(0, len(text) - BLOCK_MAX)
    end = 0
    found: list[Block] = []
    for match in FENCE.finditer(shown):
        if shown[end : match.start()].strip():
            found.append(Block(kind="text", text=shown[end : match.start()].strip("\n")))
        found.append(Block(kind="code", text=match[2].rstrip("\n"), title=match[1] or None))
        end = match.end()
    if shown[end:].strip() or (text and not found):
        found.append(Block(kind="text", text=shown[end:].strip("\n") if found else shown))
    if found and left_out:
        found[-1] = msgspec.structs.replace(found[-1], left_out=left_out)
    yield from found


def cut(kind: BlockKind, text: str, *, title: str | None = None) -> Block:
    """A block of at most `BLOCK_MAX` characters that says what it leaves out."""
    return Block(kind=kind, text=text[:BLOCK_MAX], title=title, left_out=max(0, len(text) - BLOCK_MAX))


def json_block(value: Any) -> Block:
    """Anything, as JSON."""
    return cut("json", body_text(value))


def error_text(response: Any) -> str | None:
    """The message of an error in OpenAI's shape, else None."""
    error = response.get("error") if isinstance(response, dict) else None
    if error is None or (isinstance(response, dict) and response.get("choices")):
        return None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])[:BLOCK_MAX]
    return body_text(error)[:BLOCK_MAX]


def settings(request: Any) -> Iterator[tuple[str, str]]:
    """The request's fields beside what was said, by name, short."""
    if not isinstance(request, dict):
        return
    for name, value in list(request.items())[:PARTS_MAX]:
        if name in ("messages", "prompt", "input", "model", "stream", "user", "metadata"):
            continue
        if name == "tools" and isinstance(value, list):
            yield "tools", ", ".join(tool_name(tool) for tool in value[:20])
            continue
        text = body_text(value, indent=None)
        yield str(name)[:60], text if len(text) <= 160 else text[:160] + " …"


def tool_name(tool: Any) -> str:
    """The name of a tool that was offered."""
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name"))[:60] if isinstance(function, dict) else "?"
