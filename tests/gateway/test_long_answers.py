"""Answers that come in very many pieces: each takes the time of its bytes, not of all that came before it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import uvloop

from airboss.dialects.chat_said import CallJoin, CallPiece
from airboss.dialects.messages_answer import MessagesSpeech
from airboss.dialects.messages_request import AsChat
from airboss.dialects.responses_answer import ResponsesSpeech
from airboss.dialects.responses_request import read_responses
from airboss.domain.errors import ApiError
from airboss.gateway.misnamed import unknown_model
from airboss.gateway.seam import Seam
from airboss.gateway.splice import DEPTH_MAX, too_deep
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.aws_frames import AwsFrames
from airboss.providers.compatible import Reply, read_event
from airboss.providers.completed import Trimmed
from airboss.providers.connection import Headers
from airboss.providers.fake_bedrock import frame
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Origin, Pool
from tests.dialects.said import chunk, piece

PIECES = 20_000


@contextmanager
def quickly(seconds: float = 3.0) -> Iterator[None]:
    """What follows takes no more processor time than that; at the square of its length it took ten times as
    much and more."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def test_a_signature() -> None:
    """Anthropic's, of a thought."""
    reader = AnthropicReader(0, answer_tool=None)
    delta = {"type": "signature_delta", "signature": "s" * 500}
    event = json.dumps({"type": "content_block_delta", "index": 0, "delta": delta}).encode()
    block = {"type": "thinking", "thinking": ""}
    begun = {"type": "content_block_start", "index": 0, "content_block": block}
    with quickly():
        reader.event(json.dumps(begun).encode())
        for _ in range(PIECES):
            reader.event(event)
        (last,) = reader.event(b'{"type":"content_block_stop","index":0}')
    (kept,) = json.loads(last)["choices"][0]["delta"]["thinking_blocks"]
    assert kept["signature"] == "s" * 500 * PIECES


def test_arguments_of_a_call_that_another_waits_for() -> None:
    """Every piece of them ends as an object would."""
    speech = MessagesSpeech(AsChat(body=b"", model="m", rich=False))
    speech.record_id = "r"
    part = '{"b":"}"},' * 20 + "{}"
    with quickly():
        speech.event(chunk(tool_calls=[piece(0, id="a", name="f", arguments='{"a":[')]))
        speech.event(chunk(tool_calls=[piece(1, id="b", name="g", arguments="{")]))
        for _ in range(PIECES // 4):
            speech.event(chunk(tool_calls=[piece(0, arguments=part)]))
            speech.event(chunk(tool_calls=[piece(0, arguments=",")]))
    assert b"content_block_start" not in speech.event(chunk(tool_calls=[piece(0, arguments="{}")]))
    assert b'"name":"g"' in speech.event(chunk(tool_calls=[piece(0, arguments="]}")]))


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["{}"], [True]),
        (["{", "}"], [False, True]),
        (['{"a":"', "}", '"', "}"], [False, False, False, True]),
        (['{"a":"\\', '"}', '"}'], [False, False, True]),
        (['{"a":"\\\\', '"}'], [False, True]),
        (['{"a":[{}', "]}"], [False, True]),
        (["{} ", "\n"], [True, True]),
        (["{}", "{}"], [True, False]),
        (["{}{}"], [False]),
        (["[]"], [False]),
        (["{a}"], [False]),
        (["}", "{}"], [False, False]),
        (['"{}"'], [False]),
        ([" ", "{}"], [False, True]),
    ],
)
def test_where_arguments_end(pieces: list[str], whole: list[bool]) -> None:
    """At the end of the first object, unless something follows it; however they are cut."""
    joined = CallJoin()
    calls = [joined.add(CallPiece(index=0, arguments=each)) for each in pieces]
    assert calls[0] is not None
    again = CallJoin()
    found = []
    for each in pieces:
        call = again.add(CallPiece(index=0, arguments=each))
        assert call is not None
        found.append(call.whole)
    assert found == whole
    assert calls[0].whole == whole[-1]


def test_thoughts_and_texts_by_turns() -> None:
    """Each is an item of a response."""
    asked = read_responses(b'{"model":"m","input":"hi","stream":true}')
    speech = ResponsesSpeech(asked, created_at=0, kept=False)
    speech.record_id = "r"
    events = [chunk(reasoning_content="a"), chunk(content="b")]
    with quickly(5.0):
        for number in range(PIECES):
            speech.event(events[number % 2])
        last = speech.end()
    assert last.count(b'"type":"message"') > PIECES // 2 - 2


def test_frames_of_aws() -> None:
    """A long one in many pieces, and many in one piece."""
    long, short = frame("x", b'"%s"' % (b"x" * (8 << 20))), frame("x", b"{}")
    with quickly():
        frames, found = AwsFrames(), list[bytes]()
        for at in range(0, len(long), 400):
            found += frames.feed(long[at : at + 400])
        assert len(found) == 1
        assert len(frames.feed(short * PIECES)) == PIECES
        assert frames.rest == b""


def test_white_space_that_may_be_the_end() -> None:
    """Of a completion."""
    text = Trimmed()
    with quickly():
        assert text.add(" a") == "a"
        assert not any(text.add(" " * 500) for _ in range(PIECES))
        assert text.add("b ") == " " * 500 * PIECES + "b"


def test_a_beginning_that_is_said_again() -> None:
    """By an upstream that is to go on with it."""
    seam = Seam(Reply(), "word " * PIECES * 20, tokens=1, prompt_tokens=1, blank="", exact=False)
    event = b"data: %s\n\n" % chunk(content="word " * 20)
    with quickly():
        assert not any(seam.joined([event]) for _ in range(PIECES))
        (new,) = seam.joined([b"data: %s\n\n" % chunk(content="new")])
    assert b'"content":"new"' in new


def test_the_name_of_no_model() -> None:
    """A name may be as long as a body."""
    with quickly(0.5):
        error = unknown_model("assistent" + "x" * (8 << 20), ["assistant"])
    assert "assistant" in error.message
    name = "m" * 200
    error = unknown_model(name + "x" * 5_000, [name])
    assert f"nearest: {name!r}" in error.message, "what it begins with is compared, and no more"


class Taken:
    """An answer, and what came of it in each turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.over = loop.create_future()
        self.turns = [0]

    def head(self, status: int, headers: Headers) -> None:
        """The head."""

    def body(self, data: bytes) -> None:
        """A piece."""
        self.turns[-1] += len(data)

    def done(self) -> None:
        """The end."""
        self.over.set_result(None)

    def failed(self, error: ApiError) -> None:
        """No end."""
        self.over.set_exception(error)

    def tick(self) -> None:
        """A turn."""
        self.turns.append(0)
        if not self.over.done():
            self.loop.call_soon(self.tick)


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_answer_leaves_others_their_turn(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """However fast it comes: a few hundred kilobytes are read, and then others are."""
    size = 16 << 20

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        await writer.drain()
        writer.close()

    async def ask() -> Taken:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = Pool(Origin.parse(f"http://127.0.0.1:{port}/v1"), name="p", tls=None, outbox=Outbox())
        answer = Taken(loop)
        connection = await pool.connect(5.0)
        connection.send(b"GET / HTTP/1.1\r\n\r\n", answer)
        answer.tick()
        await asyncio.wait_for(answer.over, 20)
        server.close()
        return answer

    with asyncio.Runner(loop_factory=make) as runner:
        answer = runner.run(ask())
    assert sum(answer.turns) == size
    assert max(answer.turns) <= 600_000


def test_odd_events_are_read_as_quickly_as_others() -> None:
    """What a class looks like is not found out anew for each."""
    said: dict[str, Any] = {"delta": {"content": [{"type": "text", "text": "a"}]}, "finish_reason": 3}
    event = msgspec.json.encode({"choices": [{"index": 0, **said}], "usage": "x"})
    with quickly(1.5):
        for _ in range(PIECES):
            reply = read_event(event)
    assert reply.choices is not None


@pytest.mark.parametrize(("depth", "deep"), [(DEPTH_MAX - 1, False), (DEPTH_MAX, True)])
def test_a_body_that_is_deep_in_many_places(depth: int, deep: bool) -> None:
    """How deep it is, is found in the time of its brackets."""
    places = b",".join([b"[" * depth + b"]" * depth] * 16_000)
    with quickly(0.8):
        assert too_deep(b"[%s]" % places) == deep
