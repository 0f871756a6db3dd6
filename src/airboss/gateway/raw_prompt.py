"""`form = "completion"`: a call is rendered into one raw prompt, which the upstream's `/completions` goes on
with (`releases.render.raw_prompt`). `providers.completed` reads what comes back. Pure."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from airboss.dialects.heard import OURS
from airboss.domain.errors import InvalidRequest
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.gateway.engine_wire import engine_body
from airboss.gateway.splice import asking_usage, join_members, members
from airboss.gateway.wire import Body, ChatBody, CompletionBody, put_params
from airboss.providers.completed import CompletedReader
from airboss.providers.cut import cut
from airboss.providers.dialect import Outgoing, Reader, Unsaid
from airboss.providers.dialects import NAMES, openai_place
from airboss.releases.render import STOPS, Turn, raw_prompt

ANSWER_TOKENS = 1024
"""The most tokens of an answer where neither request nor release says. Hosted servers would give 16: that is
the default of their `/completions`, and no chat client counts on it. A local engine goes on to a stop."""

Values = dict[str, bytes]
"""A request's members, as JSON."""

_CHAT_ONLY = (
    "messages",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "store",
    "web_search_options",
)
_TEXT_ONLY = ("logprobs", "echo", "suffix")
_ASKS_NOTHING = frozenset(
    {b"null", b"false", b"[]", b"{}", b'""', b"0", b'"none"', b'{"type":"text"}', b'["text"]', b'"auto"'}
)
_SILENT = frozenset({"messages", "store", "parallel_tool_calls", "tool_choice", "function_call"})
"""They mean nothing without others that are refused."""
_encode = msgspec.json.Encoder().encode


class _Text(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Text] | None = None
    tool_calls: list[Any] | None = None


_messages = msgspec.json.Decoder(list[_Message])


def raw_outgoing(raw: bytes, parsed: Body, release: Release, target: Target) -> Outgoing:
    """The request that completes a call's raw prompt. Raises InvalidRequest for what such a prompt cannot
    hold, unless the provider drops it, and for a missing prompt variable."""
    values = members(raw)
    for ours in OURS:
        values.pop(ours, None)
    put_params(values, release)
    if target.kind in NAMES:
        raise InvalidRequest(
            f'this deployment\'s release has form = "completion", and {NAMES[target.kind]} take '
            'conversations only; give the release the form "turns" or "system"',
            code="unsupported_by_provider",
        )
    unsaid = Unsaid('a raw prompt (form = "completion")', drop=target.drop_unsupported)
    variables = parsed.prompt_variables or {}
    begun = False
    if isinstance(parsed, ChatBody):
        turns = _turns(values["messages"], unsaid)
        prompts: list[str] = [raw_prompt(release, variables, turns)]
        begun = turns[-1]["role"] == "assistant" and bool(turns[-1]["content"])
    else:
        assert isinstance(parsed, CompletionBody)  # embeddings have no prompt
        prompts = [raw_prompt(release, variables, [_user(text)]) for text in _texts(parsed)]
    _take_out(values, _CHAT_ONLY if isinstance(parsed, ChatBody) else _TEXT_ONLY, unsaid)
    several = isinstance(parsed, CompletionBody) and isinstance(parsed.prompt, list)
    values["model"] = _encode(target.upstream_model)
    values["prompt"] = _encode(prompts if several else prompts[0])
    values["stop"] = _encode([*_stops(values.get("stop", b"null")), *STOPS])
    _limit(values, local=target.kind == "local")
    if parsed.stream:
        values["stream_options"] = asking_usage(values.get("stream_options", b"null"))
    body = join_members(values)
    if target.kind == "local":
        body = engine_body(body, CompletionBody(model=parsed.model, stream=parsed.stream), release=release)
    path, authorise = openai_place(target, "text_completion")
    return Outgoing(
        path=path,
        body=body,
        authorise=authorise,
        streams=bool(parsed.stream) or target.kind == "local",
        reader=partial(_reader, chat=isinstance(parsed, ChatBody), begun=begun),
        dropped=tuple(unsaid.dropped),
    )


def _reader(_created: int, *, chat: bool, begun: bool) -> Reader:
    return CompletedReader(chat=chat, begun=begun)


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _turns(written: bytes, unsaid: Unsaid) -> list[Turn]:
    """The conversation as text."""
    turns = []
    for number, message in enumerate(_messages.decode(written)):
        where = f"messages[{number}]"
        if message.tool_calls or message.role in {"tool", "function"}:
            unsaid.add(where, "a raw prompt has no place for tool calls")
            continue
        texts = [message.content] if isinstance(message.content, str) else []
        for at, part in enumerate(message.content if isinstance(message.content, list) else ()):
            text = part.text if part.type == "text" else part.refusal
            if text is None:
                unsaid.add(f"{where}.content[{at}]", f"its type is {cut(part.type, 40)!r}")
            else:
                texts.append(text)
        turns.append({"role": message.role, "content": "\n".join(texts)})
    return turns or [_user("")]


def _texts(parsed: CompletionBody) -> list[str]:
    prompts = parsed.prompt if isinstance(parsed.prompt, list) else [parsed.prompt]
    texts = [text for text in prompts if isinstance(text, str)]
    if not texts or len(texts) != len(prompts):
        raise InvalidRequest(
            "'prompt' is tokens or empty, and this deployment's release renders text; send text",
            param="prompt",
        )
    return texts


def _take_out(values: Values, names: tuple[str, ...], unsaid: Unsaid) -> None:
    """Take out the members that `/completions` does not know; those that ask for something are refused."""
    for name in names:
        written = values.pop(name, b"null").replace(b" ", b"")
        if name not in _SILENT and written not in _ASKS_NOTHING:
            unsaid.add(name)


def _stops(written: bytes) -> list[str]:
    stop: str | list[str] | None = msgspec.json.decode(written)
    return [stop] if isinstance(stop, str) else stop or []


def _limit(values: Values, *, local: bool) -> None:
    limit = values.pop("max_completion_tokens", b"null")
    if limit != b"null":
        values["max_tokens"] = limit
    elif not local and values.get("max_tokens", b"null") == b"null":
        values["max_tokens"] = b"%d" % ANSWER_TOKENS
