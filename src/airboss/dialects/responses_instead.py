"""A chat request made from another dialect, said as one of OpenAI's Responses: there its models from GPT-5.4
on think and call tools, which in its chat they refuse. Pure.

Nothing is kept at OpenAI: what a model thought comes back encrypted, goes to the client as a thinking block
whose signature holds it, and goes back with the calls that it led to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec

from airboss.dialects.chat_said import OPENAIS, list_of, text_of
from airboss.dialects.heard import NOTHING
from airboss.dialects.plain import THOUGHTS_OF_OPENAIS, effort_of
from airboss.dialects.responses_passing import PassingReader, as_input
from airboss.dialects.speech import Json, encode
from airboss.domain.plan import Target
from airboss.providers.chat_request import fitting_id
from airboss.providers.dialect import Outgoing, Unsaid
from airboss.providers.dialects import responses_place

_NAMES: Mapping[str, str] = {
    "model": "model",
    "stream": "stream",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "service_tier": "service_tier",
    "user": "user",
    "safety_identifier": "safety_identifier",
    "prompt_cache_key": "prompt_cache_key",
    "metadata": "metadata",
}
"""Members of chat that Responses have, and their names there."""
_ELSEWHERE = frozenset(
    {"messages", "tools", "tool_choice", "response_format", "reasoning_effort", "verbosity", "store"}
)
_LEFT_OUT = frozenset({"stream_options", "n"})
"""Members that say nothing there: usage always comes, and one answer."""
_SAMPLING = frozenset({"temperature", "top_p"})
"""Members that a model refuses which thinks."""
_INCLUDED = ("reasoning.encrypted_content",)
_members = msgspec.json.Decoder(dict[str, Any])


def instead(chat: bytes, target: Target) -> Outgoing:
    """What goes upstream in place of `chat`, which is as it would go there. Raises InvalidRequest for what
    Responses have no words for."""
    members = _members.decode(chat)
    unsaid = Unsaid("OpenAI's models that think", drop=target.drop_unsupported)
    said: Json = {"store": False, "include": _INCLUDED, "input": list(_input(members, target))}
    for name, value in members.items():
        if name in _NAMES and value is not None:
            said[_NAMES[name]] = fitting_id(value) if name == "user" else value
        elif name in _SAMPLING:
            if value not in (1, None):
                unsaid.note(name)
        elif name not in _NAMES and name not in _ELSEWHERE | _LEFT_OUT and value is not None:
            unsaid.add(name)
    if members.get("reasoning_effort") is not None:
        said["reasoning"] = {"effort": effort_of(members["reasoning_effort"], target)}
    said["tools"] = [_tool(each) for each in members["tools"]]
    if members.get("tool_choice") is not None:
        said["tool_choice"] = _choice(members["tool_choice"])
    if text := _text(members):
        said["text"] = text
    path, authorise = responses_place(target)
    return Outgoing(
        path=path,
        body=encode(said),
        authorise=authorise,
        streams=bool(members.get("stream")),
        reader=partial(InsteadReader, named=_named(target)),
        dropped=tuple(unsaid.dropped),
        or_chat=True,
    )


def _input(members: Json, target: Target) -> Iterator[Json]:
    mine = _named(target)
    for message in list_of(members.get("messages")):
        for block in list_of(message.get(THOUGHTS_OF_OPENAIS)):
            whose, _, rest = text_of(block.get("signature")).removeprefix(OPENAIS).partition(":")
            item_id, _, encrypted = rest.partition(":")
            if whose == mine and encrypted:
                yield {"type": "reasoning", "id": item_id, "summary": [], "encrypted_content": encrypted}
        for item in as_input([message]):
            yield item | ({"call_id": fitting_id(item["call_id"])} if "call_id" in item else {})


def _named(target: Target) -> str:
    """Whose thoughts these are: nobody else can read them."""
    return blake2b(f"{target.provider}\n{target.upstream_model}".encode(), digest_size=6).hexdigest()


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    strict = function.get("strict") or False  # there it is the default
    return {"type": "function", **function, "strict": strict}


def _choice(choice: Any) -> Any:
    match choice:
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "function", "name": name}
    return choice


def _text(members: Json) -> Json:
    said: Json = {}
    wanted = members.get("response_format")
    match wanted:
        case {"type": "json_schema", "json_schema": dict(schema)}:
            said["format"] = {"type": "json_schema", **schema}
        case dict():
            said["format"] = wanted
    if members.get("verbosity") is not None:
        said["verbosity"] = members["verbosity"]
    return said


class InsteadReader(PassingReader):
    """Reads one attempt's answer as chat alone, with its thoughts as blocks to send back."""

    def __init__(self, created: int, *, named: str) -> None:
        super().__init__(created)
        self._named = named
        self._thoughts = 0

    def event(self, data: bytes) -> list[bytes]:
        """One event; none for one that chat has no words for, as of a stream that has said nothing yet."""
        return [each for each in super().event(data) if each is not NOTHING]

    def carried(self, chat: bytes, heard: bytes) -> bytes:  # noqa: ARG002 - the client does not hear it
        """As chat alone."""
        return chat

    def thought(self, item_id: str, summary: str, encrypted: Any) -> Json | None:
        """As a block."""
        if not isinstance(encrypted, str) or not encrypted:
            return None
        signature = f"{OPENAIS}{self._named}:{item_id}:{encrypted}"
        self._thoughts += 1
        block = {"type": "thinking", "thinking": summary, "signature": signature}
        return {"index": self._thoughts - 1, **block}
