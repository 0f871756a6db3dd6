"""Chat answers for tests of what is made of them: whole, and cut into pieces in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def call(number: int, name: str = "look_up", arguments: str = '{"a":1}') -> dict[str, Any]:
    """A tool call."""
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def whole(finish: str | None = "stop", usage: Any = USAGE, **message: Any) -> bytes:
    """A whole chat answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None} | message,
        "finish_reason": finish,
    }
    value = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice], "usage": usage}
    return json.dumps(value).encode()


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> bytes:
    """One event's data."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c", "model": "up", "choices": [choice]}).encode()


def usage_chunk() -> bytes:
    """The event with the usage."""
    return json.dumps({"id": "c", "model": "up", "choices": [], "usage": USAGE}).encode()


def piece(index: int | None, **call_: Any) -> dict[str, Any]:
    """A piece of a tool call: `id`, `name`, `arguments`."""
    function = {name: call_[name] for name in ("name", "arguments") if name in call_}
    named = {"id": call_["id"], "type": "function"} if "id" in call_ else {}
    return {"index": index, **named, "function": function}


def events(data: bytes) -> list[tuple[str, Any]]:
    """The named events of a stream."""
    found = []
    for event in data.decode().split("\n\n"):
        if event.startswith("event: "):
            name, _, said = event.partition("\n")
            found.append((name.removeprefix("event: "), json.loads(said.removeprefix("data: "))))
    return found


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@st.composite
def cut(draw: st.DrawFn, said: str) -> list[str]:
    """A text in pieces."""
    if not said:
        return []
    edges = sorted(draw(st.sets(st.integers(0, len(said)), max_size=4)) | {0, len(said)})
    return [said[a:b] for a, b in pairwise(edges)]


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], str, list[bytes]]:
    """An answer's message, why it ends, and the same as a stream: pieces of parallel calls may interleave."""
    reasoning, content = draw(texts), draw(texts)
    names = draw(st.lists(st.sampled_from(["f", "look_up"]), max_size=3))
    arguments = [json.dumps({"a": draw(texts), "n": draw(st.integers(0, 99))}) for _ in names]
    finish = "tool_calls" if names else draw(st.sampled_from(["stop", "length", "content_filter"]))
    message: dict[str, Any] = {"content": content or None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if names:
        message["tool_calls"] = [
            call(n, name, given) for n, (name, given) in enumerate(zip(names, arguments, strict=True))
        ]
    chunks = [chunk(role="assistant", content="")]
    chunks += [chunk(reasoning_content=each) for each in draw(cut(reasoning))]
    chunks += [chunk(content=each) for each in draw(cut(content))]
    chunks += _calls(draw, names, arguments)
    chunks += [chunk(finish=finish), usage_chunk()]
    return message, finish, chunks


def _calls(draw: st.DrawFn, names: list[str], arguments: list[str]) -> Iterator[bytes]:
    waiting = []
    for number, name in enumerate(names):
        opening = piece(number, id=f"call_{number}", name=name, arguments="")
        waiting.append([opening, *(piece(number, arguments=each) for each in draw(cut(arguments[number])))])
    interleave = draw(st.booleans())
    while any(waiting):
        queues = [queue for queue in waiting if queue]
        queue = draw(st.sampled_from(queues)) if interleave else queues[0]
        if queue[0].get("id") and any(other[0].get("id") for other in queues[: queues.index(queue)]):
            queue = next(other for other in queues if other[0].get("id"))  # calls begin in order
        yield chunk(tool_calls=[queue.pop(0)])
