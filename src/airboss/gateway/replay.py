"""A whole answer as a stream's events, and a stream's events as the whole answer. Pure.

Members that nobody here knows pass through both ways: texts of a stream are joined, lists are too, and of
anything else the last one said stands.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from airboss.dialects.chat_said import too_many_calls
from airboss.domain.errors import UpstreamFailed
from airboss.gateway.sse import Splitter, event_data
from airboss.providers.lenient import CallNumbers, Pieces, any_json, arguments_of, unnumbered, without_halves

Json = dict[str, Any]

PIECE_CHARS = 32
"""About so long are the pieces of a text that is streamed again, but for very long ones. They end words."""
PIECES_MAX = 1000
"""A text has no more: each is an event, which has to be written and read again."""
WHOLE = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
STREAMED = {whole: chunk for chunk, whole in WHOLE.items()}
_STREAM = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a stream may begin."""
_TEXTS = frozenset({"content", "reasoning_content", "reasoning", "refusal", "text"})
_STANDS = frozenset({"role", "id", "type", "name"})


class _Calls(dict[int, Json]):
    """Tool calls by number, while they are put together."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = CallNumbers()


_encode = msgspec.json.Encoder(enc_hook=str).encode


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
    head = {**answer, "object": _named(STREAMED, answer, "chat.completion.chunk")}
    for choice in choices:
        for piece in _pieces_of(choice):
            yield _event({**head, "choices": [piece]})
    if with_usage and usage is not None:
        yield _event({**head, "choices": [], "usage": usage})


def _named(names: dict[str, str], answer: Json, usual: str) -> str:
    """What the answer is in its other form; `usual` where what it calls itself is no name."""
    name = answer.get("object")
    return names.get(name, usual) if isinstance(name, str) else usual


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
    calls = fixed.get("tool_calls")
    if isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
        fixed["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
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
    doubled = (len(text) // (PIECE_CHARS * PIECES_MAX)).bit_length()
    for piece in _pieces(PIECE_CHARS << doubled).finditer(text):
        yield piece[0]


@lru_cache(maxsize=32)  # doublings of one length
def _pieces(chars: int) -> re.Pattern[str]:
    return re.compile(rf".{{1,{chars}}}\S*\s*", re.DOTALL)


def whole_of(stream: bytes) -> bytes | None:
    """The whole answer that a stream's events say; None where they are none of an answer of the usual
    shape."""
    payloads = [*_payloads(stream)]
    try:
        whole = _joined(payloads) if all(map(is_usual, payloads)) else None
    except UpstreamFailed:  # of more calls than are put together
        return None
    return whole if whole is not None and is_usual(whole) else None  # an error is not


def _joined(payloads: Iterable[bytes]) -> bytes | None:
    """The whole answer of events, up to one that cannot be read; None where they are none of one. Where one
    is an error it is that alone, with its usage, whatever choices come with it."""
    answer: Json = {}
    choices: dict[int, Json] = {}
    for payload in payloads:
        try:
            chunk = any_json(without_halves(payload))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            break
        if not isinstance(chunk, dict):
            break
        if chunk.get("error"):
            return _encode({name: chunk[name] for name in ("error", "usage") if chunk.get(name)})
        pieces = chunk.pop("choices", None)
        answer |= {k: v for k, v in chunk.items() if k != "usage" or v is not None}
        for number, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if isinstance(piece, dict):
                index = piece.get("index")
                index = index if isinstance(index, int) else number
                _add(choices.setdefault(index, {"index": index}), piece)
    if not choices:
        return None
    answer["object"] = _named(WHOLE, answer, "chat.completion")
    answer["choices"] = [_ended(choices[index]) for index in sorted(choices)]
    return _encode(answer)


def _ended(choice: Json) -> Json:
    """A choice that is put together, with what a whole one has: a list of its calls, a content."""
    message = choice.get("message")
    if message is not None:
        message.setdefault("content", None)
        calls = message.get("tool_calls")
        if isinstance(calls, _Calls):
            message["tool_calls"] = [calls[number] for number in sorted(calls)]
        blocks = message.get("thinking_blocks")
        if isinstance(blocks, list):
            message["thinking_blocks"] = [unnumbered(b) if isinstance(b, dict) else b for b in blocks]
    return choice


def unasked_whole(whole: bytes) -> bytes:
    """The events of a whole answer that came where a stream was asked for; that it is all there is plain from
    its JSON, whether it says why it ended or not. None of one of an odd shape."""
    answer = any_json(without_halves(whole.decode("utf-8", "replace").encode()))
    answer.pop("error", None)  # beside an answer it is none, and in an event it would be one
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
        return b""
    for number, choice in enumerate(choices):
        if not isinstance(choice.get("index"), int):
            choice["index"] = number
        if not isinstance(choice.get("finish_reason"), str):
            choice["finish_reason"] = "stop"
        for name, kind in (("message", dict), ("text", str)):
            if not isinstance(choice.get(name), kind):
                choice.pop(name, None)
    whole = _encode(answer)
    return b"".join(events_of(whole, with_usage=True))


def is_stream(said: bytes) -> bool:
    """Whether a body that was to be whole is a stream's."""
    return not said.startswith(b"{") and said.lstrip().startswith(_STREAM)


def unasked_stream(said: bytes) -> bytes:
    """The whole answer of a stream that came where none was asked for, or the error in it; anything else as
    it came. Raises UpstreamFailed where it was cut."""
    if not is_stream(said):
        return said
    whole = _joined(_payloads(said))
    if whole is None:
        return said
    choices = msgspec.json.decode(whole).get("choices", ())
    reasons = [choice.get("finish_reason") for choice in choices]
    if not all(reason and isinstance(reason, str) for reason in reasons):
        raise UpstreamFailed(
            "the upstream sent a stream, unasked, and ended it without a finish_reason", code="stream_cut"
        )
    return whole


def _payloads(stream: bytes) -> Iterable[bytes]:
    events = Splitter()
    for event in itertools.chain(events.feed(stream), events.feed(events.ending())):
        payload = event_data(event)
        if payload is not None and payload.startswith(b"[DONE]"):
            return
        if payload:
            yield payload


def _add(choice: Json, piece: Json) -> None:
    if choice.get("finish_reason"):
        return  # said before, as in a stream
    for name, value in piece.items():
        if name in {"delta", "message"}:
            if isinstance(value, dict):
                _merge(choice.setdefault("message", {}), value)
        elif name == "text":
            choice.setdefault("text", Pieces()).pieces.append(value if isinstance(value, str) else "")
        elif name == "logprobs" and isinstance(value, dict) and isinstance(choice.get(name), dict):
            _merge(choice[name], value)
        elif name != "index" and (value is not None or name not in choice):
            choice[name] = value


def _merge(into: Json, said: Json) -> None:
    for name, value in said.items():
        before: Any = into.get(name)
        if name == "tool_calls" and isinstance(value, list):
            into[name] = before if isinstance(before, _Calls) else _Calls()
            _merge_calls(into[name], value)
            continue
        if isinstance(before, _Calls):
            continue  # anything but a list is none
        if isinstance(value, str) and isinstance(before, Pieces):
            before.pieces.append(value)
        elif isinstance(value, str) and isinstance(before, str) and name not in _STANDS:
            into[name] = Pieces(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            before += value
        elif isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value)
        elif value is not None or name not in into:
            into[name] = value


def _merge_calls(calls: _Calls, pieces: list[Any]) -> None:
    """Add pieces of tool calls to the calls."""
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        name = function.get("name")
        arguments = function.get("arguments")
        index = calls.numbers.of(piece.get("index"), piece.get("id"), name, arguments)
        if index is None:
            raise too_many_calls()
        new: Json = {"id": None, "type": "function", "function": {"name": "", "arguments": Pieces()}}
        call = calls.setdefault(index, new)
        said = call["function"]
        said["name"] = calls.numbers.name(index)
        if arguments is not None:
            said["arguments"].pieces.append(arguments_of(arguments))
        call |= {key: value for key, value in piece.items() if value and key not in {"index", "function"}}
