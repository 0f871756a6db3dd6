"""The fake provider as OpenAI's Responses: `/v1/responses`, whole and streamed.

Its names and rules are written down here once more, and not taken from the code that they test. It keeps
nothing: a request that builds on another one's response is refused, as the real one refuses an id that it
does not know. Tools that run at OpenAI are run: a search says so in the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Asked, Call, Event, Json
from airboss.providers.fake_faults import Behaviour

PATH = "/v1/responses"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class _Request(msgspec.Struct, kw_only=True):
    model: str
    input: str | list[Json]
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    tools: list[Json] = []


_request = msgspec.json.Decoder(_Request)


def read_responses(path: str, body: bytes, authorization: str) -> Call:
    """Read a request. Raises InvalidRequest where the real one would."""
    try:
        request = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error
    if request.previous_response_id is not None:
        raise InvalidRequest(
            f"Previous response with id {request.previous_response_id!r} not found.",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    said = [{"role": "system", "content": request.instructions}] if request.instructions else []
    given = request.input
    said += [{"role": "user", "content": given}] if isinstance(given, str) else map(_as_chat, given)
    asked = msgspec.convert(
        {
            "model": request.model,
            "messages": said,
            "stream": request.stream,
            "max_tokens": request.max_output_tokens,
            "tools": [{"function": {"name": tool.get("name", "tool")}} for tool in request.tools],
        },
        Asked,
    )
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    raw: Json = json.loads(body)
    return Call(path=path, asked=asked, id=digest, authorization=authorization, tongue=Responses(), raw=raw)


def _as_chat(item: Json) -> Json:
    match item.get("type", "message"):
        case "message":
            return {"role": item.get("role", ""), "content": item.get("content", "")}
        case "function_call_output":
            return {"role": "tool", "content": item.get("output", "")}
    return {"role": "assistant", "content": ""}


class Responses:
    """How OpenAI's Responses say it."""

    stream_type = "text/event-stream; charset=utf-8"
    framed = False

    def whole(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> bytes:
        """A response."""
        text, reason = answers.answer(call, behaviour)
        items = [*self._before(call, behaviour), self._message(call, text)]
        return json.dumps(self._response(call, behaviour, items, finish or reason)).encode()

    @staticmethod
    def _before(call: Call, behaviour: Behaviour) -> list[Json]:
        """What comes before the answer: thoughts, and searches."""
        items: list[Json] = []
        if behaviour.reasoning_tokens:
            summary = [{"type": "summary_text", "text": "Let me think about it."}]
            items.append({"id": f"rs_{call.id}", "type": "reasoning", "summary": summary})
        for number, tool in enumerate(call.raw.get("tools", ())):
            if str(tool.get("type", "")).startswith("web_search"):
                action = {"type": "search", "query": call.last_user_text[:40]}
                found = {"id": f"ws_{call.id}{number}", "type": "web_search_call", "status": "completed"}
                items.append(found | {"action": action})
        return items

    @staticmethod
    def _message(call: Call, text: str) -> Json:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"id": f"msg_{call.id}", "type": "message", "status": "completed", "role": "assistant"}
        return item | {"content": [part]}

    def _response(self, call: Call, behaviour: Behaviour, items: list[Json], reason: str) -> Json:
        incomplete = _INCOMPLETE.get(reason)
        raw = call.raw
        return {
            "id": f"resp_{call.id}",
            "object": "response",
            "created_at": answers.CREATED,
            "status": "completed" if incomplete is None else "incomplete",
            "background": False,
            "error": None,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "instructions": raw.get("instructions"),
            "max_output_tokens": raw.get("max_output_tokens"),
            "max_tool_calls": raw.get("max_tool_calls"),
            "metadata": raw.get("metadata") or {},
            "model": call.asked.model,
            "output": items,
            "parallel_tool_calls": raw.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": raw.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": "default",
            "store": raw.get("store", True),
            "temperature": raw.get("temperature", 1.0),
            "text": raw.get("text") or {"format": {"type": "text"}},
            "tool_choice": raw.get("tool_choice", "auto"),
            "tools": raw.get("tools", []),
            "top_logprobs": 0,
            "top_p": raw.get("top_p", 1.0),
            "truncation": raw.get("truncation", "disabled"),
            "usage": _usage(call, behaviour, items),
            "user": raw.get("user"),
        }

    def events(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> list[Event]:
        """A response's events."""
        text, reason = answers.answer(call, behaviour)
        items = [*self._before(call, behaviour), self._message(call, text)]
        return list(self._events(call, behaviour, items, finish or reason, size=5))

    def _events(
        self, call: Call, behaviour: Behaviour, items: list[Json], reason: str, *, size: int
    ) -> Iterator[Event]:
        last = self._response(call, behaviour, items, reason)
        begun = last | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        numbers = iter(range(1_000_000_000))

        def event(type_: str, kind: answers.Kind, **members: Any) -> Event:
            data = {"type": type_, "sequence_number": next(numbers), **members}
            return Event(json.dumps(data).encode(), kind, name=type_)

        yield event("response.created", "role", response=begun)
        yield event("response.in_progress", "role", response=begun)
        for index, item in enumerate(items):
            started = item | {"status": "in_progress"}
            empty: Json = {"content": []} if item["type"] == "message" else {}
            empty |= {"arguments": ""} if item["type"] == "function_call" else {}
            yield event("response.output_item.added", "role", output_index=index, item=started | empty)
            at = {"output_index": index, "item_id": item["id"]}
            for name, kind, members in _inside(item, size):
                yield event(f"response.{name}", kind, **at, **members)
            yield event("response.output_item.done", "role", output_index=index, item=item)
        yield event(f"response.{last['status']}", "done", response=last)

    def tools(self, call: Call, behaviour: Behaviour, texts: list[str], size: int) -> bytes | list[Event]:
        """Calls of the first tool."""
        name = call.asked.tools[0].function.name if call.asked.tools else "tool"
        items: list[Json] = [
            {
                "id": f"fc_{call.id}{number}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{call.id}{number}",
                "name": name,
                "arguments": text,
            }
            for number, text in enumerate(texts)
        ]
        if not call.asked.stream:
            return json.dumps(self._response(call, behaviour, items, "tool_calls")).encode()
        return list(self._events(call, behaviour, items, "tool_calls", size=size))

    def error(self, status: int, message: str, *, inside: bool = False) -> bytes:
        """An error; inside of a stream an event of its own."""
        type_ = "server_error" if status >= 500 else "invalid_request_error"
        if inside:
            return json.dumps({"type": "error", "code": type_, "message": message, "param": None}).encode()
        return answers.error_body(message, type=type_, code=None)


def _inside(item: Json, size: int) -> Iterator[tuple[str, answers.Kind, Json]]:
    """The events between an item's beginning and its end."""
    match item["type"]:
        case "message":
            part = item["content"][0]
            yield "content_part.added", "role", {"content_index": 0, "part": part | {"text": ""}}
            for piece in answers.pieces(part["text"]):
                yield "output_text.delta", "content", {"content_index": 0, "delta": piece, "logprobs": []}
            done = {"content_index": 0, "text": part["text"], "logprobs": []}
            yield "output_text.done", "role", done
            yield "content_part.done", "role", {"content_index": 0, "part": part}
        case "function_call":
            text: str = item["arguments"]
            for start in range(0, len(text), size):
                yield "function_call_arguments.delta", "content", {"delta": text[start : start + size]}
            yield "function_call_arguments.done", "role", {"name": item["name"], "arguments": text}
        case "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                yield f"web_search_call.{state}", "role", {}
        case "reasoning":
            text = item["summary"][0]["text"]
            yield "reasoning_summary_text.delta", "content", {"summary_index": 0, "delta": text}


def _usage(call: Call, behaviour: Behaviour, items: list[Json]) -> Json:
    prompt = sum(answers.tokens(answers.flat(message.content)) for message in call.asked.messages)
    said = sum(
        answers.tokens(item["arguments"] if "arguments" in item else item["content"][0]["text"])
        for item in items
        if item["type"] in {"message", "function_call"}
    )
    output = said + behaviour.reasoning_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": behaviour.cached_tokens},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
        "total_tokens": prompt + output,
    }
