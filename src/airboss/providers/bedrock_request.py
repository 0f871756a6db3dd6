"""A chat request in the words of Bedrock's Converse. Pure.

Its shape is Anthropic's with other names, and so is what differs (`anthropic_request`). What only some of its
models know goes as `additionalModelRequestFields`, in the words of who made them: `top_k`, and how much to
think.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.chat_request import Json, Said, no_effort, tier_of
from airboss.providers.cut import cut
from airboss.providers.dialect import Unsaid

_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
LEVELS: Mapping[str, str | None] = {
    "none": None,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""Efforts as models of Amazon's, OpenAI's open ones and DeepSeek's name them."""
_GPT = re.compile(r"openai\.gpt-\d")
_LEVELLED = re.compile(r"gpt-oss|deepseek\.v3")
OWN = ("guardrailConfig", "performanceConfig", "requestMetadata")
"""Members of Converse's own, which go on as they came."""
_SAID_HERE = frozenset({"service_tier", *OWN})
"""Members that Anthropic has no words for, and Converse has."""
NAME_CHARS_MAX = 180
"""Of a document's name, of the 200 that are taken: a number may follow."""


class _Asked(msgspec.Struct):
    """What the request says of itself, as far as it is looked at here."""

    model: str
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it says how long the answer may be."""
        return self.max_tokens is not None or self.max_completion_tokens is not None


_asked = msgspec.json.Decoder(_Asked)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def converse_request(raw: bytes, unsaid: Unsaid) -> Said:
    """The request. Raises InvalidRequest for what cannot be said, and msgspec.ValidationError."""
    asked = _asked.decode(raw)
    claude = "anthropic" in asked.model
    first = messages_request(raw, unsaid, claude=claude, strict=False, besides=_SAID_HERE)
    members = _members.decode(raw)
    said: Json = msgspec.json.decode(first.body)
    limits = _limits(said, limited=claude or asked.is_limited)
    value: Json = {
        **{name: members[name] for name in OWN if name in members},
        "messages": [
            {"role": turn["role"], "content": _blocks(turn["content"], unsaid)} for turn in said["messages"]
        ],
    }
    if limits:
        value["inferenceConfig"] = limits
    if (tier := tier_of(asked.service_tier, unsaid)) is not None:
        value["serviceTier"] = {"type": tier}
    _tell_documents_apart(block for turn in value["messages"] for block in turn["content"])
    if "system" in said:
        value["system"] = _blocks(said["system"], unsaid)
    _put_form(value, said)
    if more := _of_anthropics(said) if claude else _of_others(asked, said, unsaid):
        value["additionalModelRequestFields"] = more
    if claude and "stop_sequences" in said:
        value["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
    if "tools" in said and said.get("tool_choice") != {"type": "none"}:
        value["toolConfig"] = _tools(said, unsaid)
    elif called := _called(block for turn in said["messages"] for block in turn["content"]):
        value["toolConfig"] = {"tools": called}
    return Said(body=msgspec.json.encode(value), answer_tool=first.answer_tool)


def _of_anthropics(said: Json) -> Json:
    """What Anthropic's models are told beside what Converse has words for."""
    return {name: said[name] for name in ("top_k", "thinking", "output_config") if said.get(name)}


def _of_others(asked: _Asked, said: Json, unsaid: Unsaid) -> Json:
    """What other makers' models are told beside what Converse has words for."""
    fields: Json = {}
    if "top_k" in said:
        nova = "amazon.nova" in asked.model
        fields = {"inferenceConfig": {"topK": said["top_k"]}} if nova else {"top_k": said["top_k"]}
    effort = asked.reasoning_effort
    if effort is None:
        return fields
    if effort not in LEVELS:
        raise no_effort(effort, LEVELS)
    level = LEVELS[effort]
    if _GPT.search(asked.model):
        fields["reasoning"] = {"effort": effort}
    elif _LEVELLED.search(asked.model):
        fields["reasoning_effort"] = level or "low"  # they always think
    elif "amazon.nova-2" in asked.model and level is not None:
        fields["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": level}
    elif level is not None:
        unsaid.add("reasoning_effort", "it is not known how this model is told of it")
    return fields


def _put_form(value: Json, said: Json) -> None:
    """Move the answer's schema out of Anthropic's words, which Converse refuses, into its own."""
    form = said.get("output_config", {}).pop("format", None)
    if form is not None:
        schema = {"schema": msgspec.json.encode(form["schema"]).decode()}
        told = {"type": "json_schema", "structure": {"jsonSchema": schema}}
        value["outputConfig"] = {"textFormat": told}


def _limits(said: Json, *, limited: bool) -> Json:
    # Without one a model may say as much as it can, which is less than any guess with some, with others more.
    limits: Json = {"maxTokens": said["max_tokens"]} if limited else {}
    for theirs, ours in (
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("stopSequences", "stop_sequences"),
    ):
        if ours in said:
            limits[theirs] = said[ours]
    return limits


def _blocks(blocks: list[Json], unsaid: Unsaid) -> list[Json]:
    found: list[Json] = []
    for block in blocks:
        try:
            found.append(_block(block, unsaid))
        except (KeyError, TypeError, AttributeError):  # of a client's own making, for they go on as they came
            raise InvalidRequest(
                "a thinking block is not as Anthropic has it; send it back as it came, or leave it out",
                param="messages",
            ) from None
        if mark := block.get("cache_control"):
            found.append(_point(mark))
    return found


def _point(mark: Json) -> Json:
    """A mark of Anthropic's, `{"type": "ephemeral", "ttl": "1h"}`."""
    ttl = {"ttl": mark["ttl"]} if isinstance(mark.get("ttl"), str) else {}
    return {"cachePoint": {"type": "default", **ttl}}


def _block(block: Json, unsaid: Unsaid) -> Json:  # noqa: PLR0911 - one for each kind of block
    match block.get("type"):
        case "text":
            return {"text": block["text"]}
        case "image":
            kind, data = _bytes(block["source"], "an image")
            return {"image": {"format": kind.partition("/")[2], "source": {"bytes": data}}}
        case "document":
            return {"document": _document(block["source"], block.get("title") or "")}
        case "tool_use":
            use = {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}
            return {"toolUse": use}
        case "tool_result":
            content = _blocks(block.get("content") or [{"type": "text", "text": " "}], unsaid)
            return {"toolResult": {"toolUseId": block["tool_use_id"], "content": content}}
        case "thinking":
            # Other makers' models sign nothing, and refuse a signature.
            signed = {"signature": block["signature"]} if block.get("signature") else {}
            return {"reasoningContent": {"reasoningText": {"text": block.get("thinking", ""), **signed}}}
        case "redacted_thinking":
            return {"reasoningContent": {"redactedContent": block.get("data", "")}}
    raise InvalidRequest(
        f"a thinking block is of type {cut(str(block.get('type')), 40)!r}, which Bedrock does not know; "
        "leave it out",
        param="messages",
    )


def _document(source: Json, title: str) -> Json:
    if source["type"] == "text":
        kind = mimetypes.guess_type(title)[0] or "text/plain"
        data = base64.b64encode(source["data"].encode()).decode()
    else:
        kind, data = _bytes(source, "a file")
    # Names may hold few characters there, no two spaces in a row, and the model sees them.
    name = " ".join(_NOT_IN_NAMES.sub("-", title)[:NAME_CHARS_MAX].split())
    return {"format": _DOCUMENTS.get(kind, "txt"), "name": name or "document", "source": {"bytes": data}}


def _tell_documents_apart(blocks: Iterable[Json]) -> None:
    """Number the documents whose names have been before: a conversation may have each name once."""
    taken: dict[str, int] = {}
    for document in _documents(blocks):
        name = document["name"]
        while document["name"] in taken:
            taken[name] += 1
            document["name"] = f"{name} {taken[name]}"
        taken[document["name"]] = 1


def _documents(blocks: Iterable[Json]) -> Iterator[Json]:
    for block in blocks:
        if "document" in block:
            yield block["document"]
        if "toolResult" in block:
            yield from _documents(block["toolResult"]["content"])


def _called(blocks: Iterable[Json]) -> list[Json]:
    """The tools that were called before, for a request that offers none: a conversation with calls is taken
    with a list of tools only."""
    names = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
    schema = {"json": {"type": "object", "properties": {}}}
    return [
        {"toolSpec": {"name": name, "description": "No longer to be called.", "inputSchema": schema}}
        for name in names
    ]


def _bytes(source: Json, what: str) -> tuple[str, str]:
    if source["type"] != "base64":
        raise InvalidRequest(
            f"{what} is a URL, which Bedrock does not fetch; send it as data:TYPE;base64,DATA",
            code="unsupported_by_provider",
            param="messages",
        )
    return source["media_type"], source["data"]


def _tools(said: Json, unsaid: Unsaid) -> Json:
    specs: list[Json] = []
    for tool in said["tools"]:
        spec: Json = {"name": tool["name"], "inputSchema": {"json": tool["input_schema"]}}
        if tool.get("description"):
            spec["description"] = tool["description"]
        specs.append({"toolSpec": spec})
        if mark := tool.get("cache_control"):
            specs.append(_point(mark))
    config: Json = {"tools": specs}
    choice: dict[str, Any] | None = said.get("tool_choice")
    if choice is None:
        return config
    if choice.get("disable_parallel_tool_use") and choice["type"] != "tool":
        unsaid.note("parallel_tool_calls")  # as to Gemini
    match choice["type"]:
        case "tool":
            config["toolChoice"] = {"tool": {"name": choice["name"]}}
        case kind:
            config["toolChoice"] = {kind: {}}
    return config
