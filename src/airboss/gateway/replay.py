"""A whole answer as a stream's events, and a stream's events as the whole answer. Pure.

Members that nobody here knows pass through both ways: texts of a stream are joined, lists are too, and of
anything else the last one said stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.gateway.sse import Splitter, event_data

Json = dict[str, Any]

PIECE_CHARS = 32
"""About so long are the pieces of a text that is streamed again; they end with a word."""
WHOLE = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
STREAMED = {whole: chunk for chunk, whole in WHOLE.items()}
_PIECES = re.compile(rf".{{1,{PIECE_CHARS}}}\S*\s*", re.DOTALL)
_TEXTS = frozenset({"content", "reasoning_content", "reasoning", "refusal", "text"})
_STANDS = frozenset({"role", "id", "type", "name"})
_encode = msgspec.json.Encoder().encode


class _Choice(msgspec.Struct):
    index: int = 0
    delta: Json | None = None
    message: Json | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Json | None = None


class _Usual(msgspec.Struct):
    choices: list[_Choice]
    object: str = ""


_usual = msgspec.json.Decoder(_Usual)


def is_usual(said: bytes) -> bool:
    """Whether an answer or an event has OpenAI's shape; clients get odder ones too, as they come."""
    try:
        _usual.decode(said)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def events_of(whole: bytes, *, with_usage: bool) -> Iterator[bytes]:
    """The events of a stream that says the same, without `[DONE]`; `with_usage`: usage in an event of its own
    at the end, as `stream_options.include_usage` asks."""
    answer: Json = msgspec.json.decode(whole)
    usage = answer.pop("usage", None)
    choices = answer.pop("choices", [])
    head = {**answer, "object": STREAMED.get(answer.get("object", ""), "chat.completion.chunk")}
    for choice in choices:
        for piece in _pieces_of(choice):
            yield _event({**head, "choices": [piece]})
    if with_usage and usage is not None:
        yield _event({**head, "choices": [], "usage": usage})


def _event(said: Json) -> bytes:
    return b"data: %s\n\n" % _encode(said)


def _pieces_of(choice: Json) -> Iterator[Json]:
    """The pieces of one choice; the first has all that is not text."""
    index, finish = choice.get("index", 0), choice.get("finish_reason")
    message = choice.get("message")
    rest = {k: v for k, v in choice.items() if k not in {"index", "message", "text", "finish_reason"}}
    last: Json = {"text": ""} if message is None else {"delta": {}}
    for said in _texts(choice.get("text") or "", rest) if message is None else _deltas(message, rest):
        yield {"index": index, **said, "finish_reason": None}
    yield {"index": index, **last, "finish_reason": finish}


def _texts(text: str, rest: Json) -> Iterator[Json]:
    for number, part in enumerate(_cut(text)):
        yield {"text": part} if number else {"text": part, **rest}


def _deltas(message: Json, rest: Json) -> Iterator[Json]:
    fixed = {k: v for k, v in message.items() if k not in _TEXTS or not isinstance(v, str)}
    yield {"delta": fixed, **rest}
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        value = message.get(name)
        if isinstance(value, str):
            for part in _cut(value):
                yield {"delta": {name: part}}


def _cut(text: str) -> Iterator[str]:
    """A text in pieces; an empty one is one."""
    if not text:
        yield ""
    for piece in _PIECES.finditer(text):
        yield piece[0]


def whole_of(stream: bytes) -> bytes | None:
    """The whole answer that a stream's events say; None where they are none of an answer of the usual
    shape."""
    answer: Json = {}
    choices: dict[int, Json] = {}
    for payload in _payloads(stream):
        if not is_usual(payload):
            return None
        try:
            chunk: Json = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):  # a number that we cannot hold, or no UTF-8
            return None
        for name, value in chunk.items():
            if name != "choices" and not (name == "usage" and value is None):
                answer[name] = value
        for piece in chunk["choices"]:
            into = choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0)})
            _add(into, piece)
    if not choices:
        return None
    answer["object"] = WHOLE.get(answer.get("object", ""), "chat.completion")
    answer["choices"] = [choices[index] for index in sorted(choices)]
    return _encode(answer)


def unasked_whole(whole: bytes) -> bytes:
    """The events of a whole answer that came where a stream was asked for; none of one of an odd shape."""
    return b"".join(events_of(whole, with_usage=True)) if is_usual(whole) else b""


def unasked_stream(said: bytes) -> bytes:
    """The whole answer of a stream that came where none was asked for; as it came where it is no stream of
    the usual shape, or calls tools: pieces of calls are not joined here. Raises UpstreamFailed where it was
    cut."""
    if not said.startswith(b"data:"):
        return said
    whole = whole_of(said)
    if whole is None or b'"tool_calls":[' in whole:
        return said
    if not all(choice.get("finish_reason") for choice in msgspec.json.decode(whole)["choices"]):
        raise UpstreamFailed(
            "the upstream sent a stream, unasked, and ended it without a finish_reason", code="stream_cut"
        )
    return whole


def _payloads(stream: bytes) -> Iterable[bytes]:
    for event in Splitter().feed(stream):
        payload = event_data(event)
        if payload == b"[DONE]":
            return
        if payload:
            yield payload


def _add(choice: Json, piece: Json) -> None:
    for name, value in piece.items():
        if name in {"delta", "message"}:
            _merge(choice.setdefault("message", {}), value or {})
        elif name == "text":
            choice["text"] = choice.get("text", "") + (value or "")
        elif name == "logprobs" and isinstance(value, dict) and isinstance(choice.get(name), dict):
            _merge(choice[name], value)
        elif value is not None or name not in choice:
            choice[name] = value


def _merge(into: Json, said: Json) -> None:
    for name, value in said.items():
        before: Any = into.get(name)
        texts = isinstance(value, str) and isinstance(before, str) and name not in _STANDS
        if texts or (isinstance(value, list) and isinstance(before, list)):
            into[name] = before + value
        elif value is not None or name not in into:
            into[name] = value
