"""OpenAI's chat answers, written: whole ones, the chunks of streams, usage and errors. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Json = dict[str, Any]
"""A JSON object."""
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended."""

encode = msgspec.json.Encoder().encode


class ChatWriter:
    """Writes the answer to one request. `id` and `model` are the upstream's, set once they are known;
    `created` is a second since 1970."""

    def __init__(self, created: int) -> None:
        self.id = "chatcmpl"
        self.model = ""
        self.created = created
        self._begun: set[int] = set()

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def chunk(
        self,
        delta: Json,
        *,
        index: int = 0,
        finish: FinishReason | None = None,
        logprobs: Any = None,
        stopped_at: str | None = None,
    ) -> bytes:
        """One event. The first of a choice tells the role. `stopped_at` is the stop sequence that ended it,
        which goes where vLLM has it."""
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", **delta}
        choice: Json = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if stopped_at is not None:
            choice["stop_reason"] = stopped_at
        return encode({**self._head("chat.completion.chunk"), "choices": [choice]})

    def usage_chunk(self, usage: Json) -> bytes:
        """The event with the usage."""
        return encode({**self._head("chat.completion.chunk"), "choices": [], "usage": usage})

    def whole(self, choices: list[Json], usage: Json | None) -> bytes:
        """A whole answer."""
        return encode({**self._head("chat.completion"), "choices": choices, "usage": usage})


def whole_choice(
    *,
    finish: FinishReason,
    content: str | None,
    index: int = 0,
    reasoning: str | None = None,
    tool_calls: list[Json] | None = None,
    logprobs: Any = None,
    extra: Json | None = None,
    stopped_at: str | None = None,
) -> Json:
    """One choice of a whole answer; `extra` are members of the message beyond OpenAI's, `stopped_at` as in
    `ChatWriter.chunk`."""
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if tool_calls:
        message["tool_calls"] = tool_calls
    choice: Json = {"index": index, "message": message | (extra or {}), "logprobs": logprobs}
    choice["finish_reason"] = finish
    if stopped_at is not None:
        choice["stop_reason"] = stopped_at
    return choice


def tool_call(id_: str, name: str, arguments: str) -> Json:
    """One call of a tool; `arguments` is JSON."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def usage_of(
    *,
    uncached: int,
    output: int,
    cached: int = 0,
    written: int = 0,
    written_1h: int = 0,
    reasoning: int = 0,
    tier: str = "",
) -> Json:
    """`usage` from disjoint buckets of input (not cached, read from the cache, written to it) and from
    output, of which `reasoning` is a part, as `written_1h` (kept for an hour) is of what was written. `tier`
    is of service, "" for the usual one."""
    prompt = uncached + cached + written
    read = {"cached_tokens": cached, "cache_write_tokens": written}
    if written_1h:
        read["cache_write_1h_tokens"] = written_1h
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    } | ({"service_tier": tier} if tier else {})


def error_of(
    message: str,
    *,
    type_: str = "upstream_error",
    code: str | int | None = None,
    retry_after_s: float | None = None,
    usage: Json | None = None,
) -> bytes:
    """An error in OpenAI's shape. A number as `code` is the HTTP status of an error inside of a stream.
    `usage` is what was used all the same."""
    error: Json = {"message": message, "type": type_, "code": code, "param": None}
    if retry_after_s is not None:
        error["retry_after_s"] = retry_after_s
    return encode({"error": error} if usage is None else {"error": error, "usage": usage})
