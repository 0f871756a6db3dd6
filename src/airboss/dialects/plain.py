"""A chat request made from another dialect, for an upstream that speaks OpenAI's itself. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from airboss.dialects.chat_said import REASONING
from airboss.dialects.speech import Json, encode
from airboss.domain.plan import Target
from airboss.providers.anthropic_thinking import is_adaptive
from airboss.providers.chat_request import ID_CHARS_MAX, fitting_id

THOUGHTS_OF_OPENAIS = "openai_thoughts"
"""The member of a message that has what a model of OpenAI's thought before it, as blocks."""
_OWN = (
    *("thinking_blocks", "cache_control", "extra_content", "images", THOUGHTS_OF_OPENAIS),
    *("responses_items", "responses_custom", "responses_named"),
)
"""Members of messages, parts, tools and calls that only the translations of other dialects know."""
_SAID_BY_OTHERS = ("thinking_blocks", "extra_content", "images", REASONING)
"""Members of an answer that no model of OpenAI's has: thoughts, what signs them or a call, and pictures."""
NAME_CHARS_MAX = 64
"""Of a tool, at OpenAI and Bedrock; Anthropic takes twice as many."""
_WANT_THOUGHTS = ("deepseek.com", "moonshot.ai", "moonshot.cn", "kimi.com", "z.ai", "bigmodel.cn")
"""Where thoughts are wanted back."""
_ARE_THEIRS = re.compile(r"deepseek|kimi|\bglm\b", re.IGNORECASE)
"""Names of models that want their thoughts back wherever they run."""
_REFUSE_THOUGHTS = ("groq.com", "cerebras.ai", "mistral.ai", "openai.com", "azure.com")
"""Where a request that has any is refused, whatever model it is for."""
_SIGN_CALLS = ("googleapis.com",)
"""Where calls are signed, and wanted back so (`extra_content`)."""
_OPENAIS = ("openai.com", "openai.azure.com")
"""OpenAI's own models, by whatever kind of provider they are reached."""
_TAKE_MAX = ("deepseek.com",)
"""Where an effort may be `max`."""
_GPT = re.compile(r"\bgpt-(\d)(?:\.(\d+))?(?!\d)", re.IGNORECASE)
_GPT_THINKING, _GPT_MAX, _GPT_XHIGH, _GPT_UNTHINKING = (5, 0), (5, 6), (5, 2), (5, 4)
"""The first of OpenAI's models that think, whose effort may be `max`, and `xhigh`, and that refuse tools in
chat unless told not to think."""
_GEMINI_THINKING = re.compile(r"gemini-(?:2\.5|[3-9])(?!.*image)")
_TOLD_ON_BEDROCK = re.compile(r"openai\.gpt|deepseek\.v3")
"""Of other makers than Anthropic. With its most effort Nova takes no limit of the answer, which all have."""
_O = re.compile(r"\bo[1-9]\b")
"""OpenAI's models that think and are no GPT."""
_INSTRUCT = frozenset({"system", "developer"})
_SHOWN = (b'"type":"image_url"', b'"type":"file"', b'"type":"input_audio"')
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_listed = msgspec.json.Decoder(list[dict[str, Any]])


def plain_chat(chat: bytes, target: Target, *, rich: bool, most: bool = False, thinks: bool = True) -> bytes:
    """`chat` without what OpenAI does not know, if it is `rich`, and with the limit under the name that its
    newer models want: other servers may know the older one only. `most` is whether it asks for the effort
    `max`, which not all models know; `thinks` False leaves out how much to think."""
    renamed = target.kind in {"openai", "azure"}
    if thinks and not (rich or renamed or most):
        return chat
    members: Json = dict(_members.decode(chat))
    if rich:
        own = _not_for(target)
        for name in ("messages", "tools"):
            if name in members:
                members[name] = [_without(each, own) for each in _listed.decode(members[name])]
    if most:
        members["reasoning_effort"] = _most(target)
    if not thinks:
        members.pop("reasoning_effort", None)
    if "tools" in members and calls_unthinking(target):
        members["reasoning_effort"] = "none"
    if "user" in members and len(bytes(members["user"])) > ID_CHARS_MAX:
        members["user"] = fitting_id(msgspec.json.decode(members["user"], type=str))
    if renamed and "max_tokens" in members:
        members["max_completion_tokens"] = members.pop("max_tokens")
    return encode(members)


def arranged(chat: bytes, target: Target) -> bytes:
    """A chat's messages, as they go upstream, in the order in which they are taken there: what a tool shows
    behind its results, and all instructions first."""
    shows = b'"tool"' in chat and any(mark in chat for mark in _SHOWN)
    several = b'"role":"developer"' in chat or chat.count(b'"role":"system"') > 1
    leads = several and not (target.kind in {"openai", "azure"} or is_at(target, _OPENAIS))
    if not (shows or leads):
        return chat
    members: Json = dict(_members.decode(chat))
    messages = _listed.decode(members["messages"])
    if shows:
        messages = _shown_by_the_user(messages)
    members["messages"] = _instructed_first(messages) if leads else messages
    return encode(members)


def _instructed_first(messages: list[Json]) -> list[Json]:
    """All instructions in one message, the first. Many models' templates know no `developer`, and refuse a
    second system message, or one that is not the first; OpenAI takes them as they come."""
    told = [message for message in messages if message.get("role") in _INSTRUCT]
    contents = [message.get("content") or "" for message in told]
    if not told:
        return messages
    content: Any = "\n\n".join(each for each in contents if isinstance(each, str) and each)
    if not all(isinstance(each, str) for each in contents):
        parts = [[{"type": "text", "text": each}] if isinstance(each, str) else each for each in contents]
        content = [part for each in parts for part in each]
    others = [message for message in messages if message.get("role") not in _INSTRUCT]
    return [{"role": "system", "content": content}, *others]


def without_others(chat: bytes, target: Target) -> bytes:
    """A client's own chat without what the model of another dialect has put into its turns, where this one's
    provider would refuse the request for it."""
    refuses = target.kind in {"openai", "azure"} or is_at(target, _REFUSE_THOUGHTS)
    if not refuses or not any(b'"%s"' % name.encode() in chat for name in _SAID_BY_OTHERS):
        return chat
    members: Json = dict(_members.decode(chat))
    try:
        messages = _listed.decode(members["messages"])
    except msgspec.DecodeError:
        return chat  # with half of a character, which goes as it came
    others = frozenset(_SAID_BY_OTHERS)
    turns = (_without(each, others) if each.get("role") == "assistant" else each for each in messages)
    return encode(members | {"messages": list(turns)})


def _not_for(target: Target) -> frozenset[str]:
    """Members of _OWN, and thoughts, that a target is not sent."""
    wanted = {"extra_content"} if is_at(target, _SIGN_CALLS) else set()
    if target.kind == "local" or _wants_thoughts(target):
        wanted.add(REASONING)
    return frozenset({*_OWN, REASONING} - wanted)


def fitting_name(name: str) -> str:
    """A tool's name as OpenAI and Bedrock take it: the end of a longer one, as agents have of their MCP
    servers, by its hash."""
    if len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{name[: NAME_CHARS_MAX - len(digest) - 1]}_{digest}"


def calls_unthinking(target: Target) -> bool:
    """Whether a model calls tools in OpenAI's chat only where it does not think: there they think and call in
    Responses alone, and refuse the request even where it asks for no effort."""
    return target.kind in {"openai", "azure"} and _version(target) >= _GPT_UNTHINKING


def never_thinks(target: Target) -> bool:
    """Whether a model of OpenAI's refuses to be told how much to think, as those before GPT-5 do."""
    return target.kind in {"openai", "azure"} and (0, 0) < _version(target) < _GPT_THINKING


def is_claude(target: Target) -> bool:
    """Whether a model is one of Anthropic's, all of which can be told how much to think."""
    return target.kind == "anthropic" or (target.kind == "bedrock" and "anthropic" in target.upstream_model)


def may_be_left_to(target: Target) -> bool:
    """Whether a model is known to take it that it is to think as it sees fit; others may refuse the call."""
    if target.kind in {"openai", "azure", "openai-compatible", "local"}:
        return _version(target) >= _GPT_THINKING or _O.search(target.upstream_model) is not None
    if target.kind == "gemini":
        return _GEMINI_THINKING.search(target.upstream_model) is not None
    if not is_claude(target):
        return _TOLD_ON_BEDROCK.search(target.upstream_model) is not None
    return is_adaptive(target.upstream_model)


def without_effort(chat: bytes) -> bytes:
    """A chat that does not say how much to think."""
    members: Json = dict(_members.decode(chat))
    members.pop("reasoning_effort", None)
    return encode(members)


def _version(target: Target) -> tuple[int, int]:
    """Of a model of OpenAI's, by its name."""
    named = _GPT.search(target.upstream_model)
    return (int(named[1]), int(named[2] or 0)) if named else (0, 0)


def effort_of(effort: str, target: Target) -> str:
    """An effort as a target knows it."""
    return _most(target) if effort == "max" else effort


def _most(target: Target) -> str:
    """The most effort that a model is known to take: what all that think know is `high`."""
    if is_at(target, _TAKE_MAX):
        return "max"
    version = _version(target)
    if version >= _GPT_MAX:
        return "max"
    return "xhigh" if version >= _GPT_XHIGH or "codex-max" in target.upstream_model else "high"


def _shown_by_the_user(messages: Sequence[Json]) -> list[Json]:
    """What tools gave back besides words, said by the user behind their results: OpenAI takes text alone in
    these."""
    said: list[Json] = []
    shown: list[Json] = []
    for message in messages:
        if message.get("role") == "tool":
            words, rest = _apart(message)
            said.append(words)
            shown += rest
            continue
        if shown and message.get("role") != "user":
            said.append({"role": "user", "content": shown})
        elif shown:
            content = message.get("content") or []
            own = [{"type": "text", "text": content}] if isinstance(content, str) else content
            said.append(message | {"content": [*shown, *own]})
        if not shown or message.get("role") != "user":
            said.append(message)
        shown = []
    return said + ([{"role": "user", "content": shown}] if shown else [])


def _apart(message: Json) -> tuple[Json, list[Json]]:
    """A tool's result in words alone, and what else it shows."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    rest = [part for part in parts if part.get("type") != "text"]
    if not rest:
        return message, []
    words = "\n".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    named = {"type": "text", "text": f"Shown by call {message.get('tool_call_id')}:"}
    return message | {"content": words or "Shown below."}, [named, *rest]


def _wants_thoughts(target: Target) -> bool:
    if is_at(target, _WANT_THOUGHTS):
        return True
    named = target.kind == "openai-compatible" and _ARE_THEIRS.search(target.upstream_model)
    return bool(named) and not any(_is_under(url, _REFUSE_THOUGHTS) for url in target.base_urls)


def is_at(target: Target, domains: Sequence[str]) -> bool:
    """Whether all of its URLs are of one of these domains."""
    return all(_is_under(url, domains) for url in target.base_urls)


def _is_under(url: str, domains: Sequence[str]) -> bool:
    host = urlsplit(url).hostname or ""
    return any(f".{host}".endswith(f".{each}") for each in domains)


def _without(value: Json, own: frozenset[str]) -> Json:
    kept = {name: each for name, each in value.items() if name not in own}
    for name in ("content", "tool_calls"):
        if isinstance(listed := kept.get(name), list):
            kept[name] = [_without(each, own) if isinstance(each, dict) else each for each in listed]
    return kept
