"""Faults that are right, but that a careless reader does not expect: pure, one function a fault."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

from msgspec.structs import replace

from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Call, Event
from airboss.providers.fake_faults import Behaviour
from airboss.providers.fake_wire import (
    JSON,
    LAST_CHUNK,
    SSE,
    End,
    Play,
    Step,
    body_of,
    chunked,
    event_text,
    is_stream,
    joined,
    paced,
    stream,
    streamed,
    well,
    whole,
)

SYNC = zlib.Z_SYNC_FLUSH
TOOL_ARGUMENTS = ({"city": 'Zürich "old" town', "days": 3}, {"city": "Nîmes\n", "days": 1})
FOREIGN = "Räder hoch: 🚀 startet, 飛行 beginnt."


def drip_headers(call: Call, b: Behaviour) -> Iterator[Step]:
    """The head in pieces of four bytes."""
    (*_, answer, _end) = joined(well(call, replace(b, tokens_per_s=None, first_token_s=0.0)))
    assert isinstance(answer, bytes)
    cut = answer.index(b"\r\n\r\n") + 4
    for at in range(0, cut, 4):
        yield answer[at : min(at + 4, cut)]
        yield 0.01 if b.pause_s is None else b.pause_s
    yield answer[cut:]


def gzipped(call: Call, b: Behaviour) -> Iterator[Step]:
    """A compressed answer; each event is flushed, so that it can be read when it comes."""
    encoding = [("content-encoding", "gzip")]
    if not is_stream(call):
        yield from whole(call, b, gzip.compress(body_of(call, b), mtime=0), headers=encoding)
        return
    press = zlib.compressobj(wbits=31)
    yield streamed(call, headers=encoding)
    found = answers.events(call, b)
    yield from paced(b, found, frame=lambda raw: chunked(press.compress(raw) + press.flush(SYNC)))
    yield chunked(press.flush()) + LAST_CHUNK


def close_delimited(call: Call, b: Behaviour) -> Iterator[Step]:
    """HTTP/1.0: only the end of the connection ends the body."""
    content_type = SSE if is_stream(call) else JSON
    yield streamed(call, version="1.0", content_type=content_type)
    if is_stream(call):
        yield from paced(b, answers.events(call, b), frame=bytes)
    else:
        yield body_of(call, b)
    yield End.CLOSE


def byte_writes(call: Call, b: Behaviour) -> Iterator[Step]:
    """Each byte in a write of its own."""
    for step in well(call, b):
        if isinstance(step, bytes):
            for at in range(len(step)):
                yield step[at : at + 1]
                yield b.pause_s or 0.0
        else:
            yield step


def utf8_split(call: Call, b: Behaviour) -> Iterator[Step]:
    """Every long character is cut in two, over writes and chunks."""
    b = b if b.text is not None or b.echo else replace(b, text=FOREIGN)
    pause = 0.01 if b.pause_s is None else b.pause_s
    pieces = [event_text(e) for e in answers.events(call, b)] if is_stream(call) else [body_of(call, b)]
    yield streamed(call, content_type=SSE if is_stream(call) else JSON)
    for piece in pieces:
        at = 0
        for cut in (index for index, byte in enumerate(piece) if byte >= 0xC0):
            yield from (chunked(piece[at : cut + 1]), pause)
            at = cut + 1
        if piece[at:]:
            yield chunked(piece[at:])
    yield LAST_CHUNK


def large_event(call: Call, b: Behaviour) -> Iterator[Step]:
    """One token of a megabyte."""
    return well(call, replace(b, text="x" * (1024 * 1024 if b.size_bytes is None else b.size_bytes)))


def spelled(text: Callable[[Event], bytes]) -> Play:
    """A stream in an unusual but valid spelling; a whole answer is good."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        return stream(call, b, answers.events(call, b), text=text) if is_stream(call) else well(call, b)

    return play


def commented(event: Event) -> bytes:
    """An event with all that a reader must skip, and no blank after the colon."""
    return b": ping\n\nid: 7\nretry: 3000\nevent: message\ndata:%b\n\n" % event.data


def interleaved(call: Call, b: Behaviour) -> Iterator[Step]:
    """Choices that take turns."""
    call = replace(call, asked=replace(call.asked, n=call.asked.n or 2))
    if not is_stream(call):
        return well(call, b)
    return stream(call, b, answers.events(call, b, interleaved=True))


def tools(count: Literal[1, 2], size: int) -> Play:
    """Tool calls; in a stream their arguments come in pieces of `size` characters, in turns."""

    def play(call: Call, b: Behaviour) -> Iterator[Step]:
        name = call.asked.tools[0].function.name if call.asked.tools else "tool"
        texts = [json.dumps(arguments) for arguments in TOOL_ARGUMENTS[:count]]
        if call.tongue is not None:
            said = call.tongue.tools(call, b, texts, size)
            yield from whole(call, b, said) if isinstance(said, bytes) else stream(call, b, said)
            return
        made = [
            {"id": f"call_{call.id}{i}", "type": "function", "function": {"name": name, "arguments": text}}
            for i, text in enumerate(texts)
        ]
        if not is_stream(call):
            message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": made}
            body = json.loads(answers.whole(call, b, finish="tool_calls"))
            body["choices"] = [{**body["choices"][0], "message": message}]
            yield from whole(call, b, json.dumps(body).encode())
            return
        deltas = [
            {"index": i, **one, "function": {"name": name, "arguments": ""}} for i, one in enumerate(made)
        ]
        for at in range(0, max(map(len, texts)), size):
            parts = ((i, text[at : at + size]) for i, text in enumerate(texts))
            deltas += [{"index": i, "function": {"arguments": part}} for i, part in parts if part]
        found = [Event(answers.chunk(call, 0, {"role": "assistant", "content": None}, None), "role")]
        found += [Event(answers.chunk(call, 0, {"tool_calls": [d]}, None), "content") for d in deltas]
        found += [Event(answers.chunk(call, 0, {}, "tool_calls"), "finish")]
        yield from stream(call, b, found + answers.endings(call, b, len(deltas)))

    return play


def informational(call: Call, b: Behaviour) -> Iterator[Step]:
    """Two heads before the head."""
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    yield from well(call, b)


def large_headers(call: Call, b: Behaviour) -> Iterator[Step]:
    """A head of many kilobytes in lines of one."""
    size = 100 * 1024 if b.size_bytes is None else b.size_bytes
    filler = b"".join(b"x-filler-%06d: %b\r\n" % (line, b"f" * 1006) for line in range(-(-size // 1024)))
    for step in well(call, b):
        if isinstance(step, bytes) and step.startswith(b"HTTP/"):
            yield step.replace(b"\r\n", b"\r\n" + filler, 1)
        else:
            yield step


def after_answer(end: End) -> Play:
    """A good answer with an end that it did not announce."""
    return lambda call, b: iter((*well(call, b), end))


def wrong_content_type(call: Call, b: Behaviour) -> Iterator[Step]:
    """A good answer under a wrong name."""
    if is_stream(call):
        return stream(call, b, answers.events(call, b), content_type="text/plain")
    return whole(call, b, body_of(call, b), content_type="text/plain")
