"""A chat request made from another dialect, for an upstream that speaks OpenAI's itself. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.dialects.chat_said import REASONING
from airboss.dialects.speech import Json, encode

_OWN = ("thinking_blocks", "cache_control", "extra_content", "responses_items", "responses_custom", "images")
"""Members of messages, parts, tools and calls that only the translations of other dialects know."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_listed = msgspec.json.Decoder(list[dict[str, Any]])


def plain_chat(chat: bytes, kind: str, *, rich: bool) -> bytes:
    """`chat` without what OpenAI does not know, if it is `rich`, and with the limit under the name that its
    newer models want: other servers may know the older one only."""
    renamed = kind in {"openai", "azure"}
    if not (rich or renamed):
        return chat
    members: Json = dict(_members.decode(chat))
    # OpenAI's own refuse thoughts; others may want them back.
    own = frozenset((*_OWN, REASONING) if renamed else _OWN)
    if rich:
        for name in ("messages", "tools"):
            if name in members:
                members[name] = [_without(each, own) for each in _listed.decode(members[name])]
    if renamed and "max_tokens" in members:
        members["max_completion_tokens"] = members.pop("max_tokens")
    return encode(members)


def _without(value: Json, own: frozenset[str]) -> Json:
    kept = {name: each for name, each in value.items() if name not in own}
    for name in ("content", "tool_calls"):
        if isinstance(listed := kept.get(name), list):
            kept[name] = [_without(each, own) if isinstance(each, dict) else each for each in listed]
    return kept
