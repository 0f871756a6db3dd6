"""Upstreams that say an answer oddly, and answers that cannot be said in the client's dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, error_in_stream, is_whole, recorded_text, say, text

DIALECTS = ("messages", "responses")


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, as OpenAI's dialect and as Anthropic's."""
    plans = (
        deployment(upstream.url, continuation="off"),
        deployment(upstream.url, name="twice", aliases=(), continuation="off", retry=Retry(attempts=2)),
        deployment(upstream.url, name="claude", aliases=(), kind="anthropic", continuation="off"),
    )
    with Gateway(tmp_path_factory.mktemp("odd"), *plans) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(upstream: SaidUpstream) -> None:
    """Nothing is told from before."""
    upstream.raw, upstream.events, upstream.body, upstream.done = None, [], {}, True
    upstream.write_bytes = 1 << 20


def asked(gateway: Gateway, dialect: str, **body: Any) -> httpx2.Response:
    """One call in any dialect."""
    return gateway.chat(**body) if dialect == "chat" else say(gateway, dialect, **body)


def whole(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice], "usage": usage} | more


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_answer_without_a_reason_to_stop(
    gateway: Gateway, upstream: SaidUpstream, dialect: str
) -> None:
    """It has come to its end: clients, record and what is kept say so."""
    upstream.body = whole({"content": "One."})
    upstream.body["choices"][0]["finish_reason"] = None
    response = say(gateway, dialect)
    wanted = {"messages": ("stop_reason", "end_turn"), "responses": ("status", "completed")}[dialect]
    recorded = gateway.closed(response.headers["x-request-id"])["response"]
    assert response.json()[wanted[0]] == recorded[wanted[0]] == wanted[1]


@pytest.mark.parametrize("write_bytes", [1, 2, 1 << 20])
@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
def test_a_mark_of_the_byte_order_before_a_stream(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, write_bytes: int
) -> None:
    """Nobody has it, and nothing of the first event is lost."""
    upstream.stream([{"role": "assistant", "content": "One "}, {"content": "two."}])
    said = upstream.said()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    marked = b"\xef\xbb\xbf" + said
    pieces = [marked[:3][at : at + write_bytes] for at in range(0, 3, write_bytes)] + [marked[3:]]
    chunks = [b"%x\r\n%s\r\n" % (len(each), each) for each in pieces]
    upstream.raw = head + b"".join(chunks) + b"0\r\n\r\n"
    response = asked(gateway, dialect, stream=True)
    assert b"\xef\xbb\xbf" not in response.content
    if dialect == "chat":
        assert response.content.startswith(b"data: {")
        assert response.text.count("One ") == 1
    else:
        assert text(dialect, response, stream=True) == "One two."


@pytest.mark.parametrize("head", [b"transfer-encoding: identity\r\n", b"connection: close\r\n"])
def test_an_answer_up_to_the_end_of_its_connection(
    gateway: Gateway, upstream: SaidUpstream, head: bytes
) -> None:
    """Without a length, whatever else is said of its coding."""
    body = json.dumps(whole({"content": "Up to the end."})).encode()
    upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%s\r\n" % head + body
    response = gateway.chat()
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == "Up to the end."


@pytest.mark.parametrize("model", ["gpt-4o", "claude"])
@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
def test_half_of_a_character_in_a_whole_answer(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, model: str
) -> None:
    """Clients of the upstream's own dialect get it as it came, others U+FFFD; and so does the record."""
    said = json.dumps(whole({"content": "Half \ud83d."})).encode()
    if model == "claude":
        part = {"type": "text", "text": "Half \ud83d."}
        message = {"id": "m", "type": "message", "model": "c", "content": [part], "stop_reason": "end_turn"}
        said = json.dumps(message).encode()
    upstream.body = said
    response = asked(gateway, dialect, model=model)
    assert response.status_code == 200, response.text
    own = (model, dialect) in {("gpt-4o", "chat"), ("claude", "messages")}
    assert (response.content == said) == own
    found = json.loads(response.content)
    if not own:
        assert "Half \ufffd." in json.dumps(found, ensure_ascii=False)
    closed = gateway.closed(response.headers["x-request-id"])
    assert closed["status"] == "ok"
    json.dumps(closed, ensure_ascii=False).encode()  # else nobody could write it


FAILED = {"message": "the backend is on fire", "type": "server_error", "code": None, "param": None}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", [None, {"index": 0, "message": {"role": "assistant", "content": ""}}])
def test_an_error_beside_no_answer(
    gateway: Gateway, upstream: SaidUpstream, choice: Any, stream: bool
) -> None:
    """It is one; beside an answer it is none of the client's business."""
    upstream.body = whole({}, error=FAILED, choices=[] if choice is None else [choice])
    failed = gateway.chat(stream=stream)
    assert failed.status_code == 502, failed.text
    assert "the backend is on fire" in failed.json()["error"]["message"]
    upstream.body = whole({"content": "Well."}, error=FAILED)
    response = gateway.chat(stream=stream)
    assert (response.status_code, "Well." in response.text) == (200, True)


@pytest.mark.parametrize("choice", [None, {}, {"index": 0}, {"index": 1, "message": None}], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_a_choice_of_nothing_is_no_answer(
    gateway: Gateway, upstream: SaidUpstream, choice: Any, stream: bool
) -> None:
    """Clients read its message, and would break at it."""
    upstream.body = whole({}, choices=[choice])
    response = gateway.chat(stream=stream)
    assert response.status_code == 502, response.text
    assert gateway.closed(response.headers["x-request-id"])["status"] == "error"


def calls(number: int) -> list[dict[str, Any]]:
    """Calls of a tool."""
    return [
        {"id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": "{}"}}
        for n in range(number)
    ]


@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
@pytest.mark.parametrize("together", [False, True])
def test_more_calls_than_are_put_together_in_a_stream(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, together: bool
) -> None:
    """Chat has them all; in another dialect the stream ends with an error, and never looks complete."""
    made = [{"index": n, **call} for n, call in enumerate(calls(129))]
    upstream.stream([{"role": "assistant"}, *([{"tool_calls": made}] if together else [])], finish=None)
    if not together:
        upstream.stream([{"tool_calls": [each]} for each in made], finish="tool_calls")
    else:
        upstream.stream([{"role": "assistant", "content": "So:"}, {"tool_calls": made}], finish="tool_calls")
    response = asked(gateway, dialect, stream=True)
    closed = gateway.closed(response.headers["x-request-id"])
    if dialect == "chat":
        assert '"f128"' in response.text
        assert closed["status"] == "ok"
        return
    failed = error_in_stream(dialect, response) if response.status_code == 200 else error(dialect, response)
    assert response.status_code == 502 or not is_whole(dialect, response)
    assert "more than 128 tool calls" in failed["message"]
    assert (closed["status"], closed["error_type"]) == ("error", "answer_too_large")


@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
def test_more_calls_than_are_put_together_in_a_whole_answer(
    gateway: Gateway, upstream: SaidUpstream, dialect: str
) -> None:
    """The same: an error in the dialect's shape."""
    upstream.body = whole({"content": None, "tool_calls": calls(129)})
    response = asked(gateway, dialect)
    closed = gateway.closed(response.headers["x-request-id"])
    if dialect == "chat":
        assert len(response.json()["choices"][0]["message"]["tool_calls"]) == 129
        assert closed["status"] == "ok"
        return
    assert response.status_code == 502
    assert "more than 128 tool calls" in error(dialect, response)["message"]
    assert (closed["status"], closed["error_type"]) == ("error", "answer_too_large")
    upstream.body = whole({"content": None, "tool_calls": calls(128)})
    assert asked(gateway, dialect).status_code == 200


@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
def test_what_an_upstream_says_of_an_error_in_a_stream_is_recorded(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, tmp_path: Path
) -> None:
    """Beside what came before it, bounded, and without secrets."""
    words = f"the backend is on fire, said preset-secret {'x' * 5000}"
    upstream.stream([{"role": "assistant", "content": "One "}, {"content": "two"}], finish=None)
    upstream.events = [*upstream.events[:2], json.dumps({"error": FAILED | {"message": words}})]
    response = asked(gateway, dialect, stream=True)
    closed = gateway.closed(response.headers["x-request-id"])
    assert closed["status"] == "error"
    kept = closed["response"]
    said = kept["choices"][0]["message"]["content"] if dialect == "chat" else recorded_text(dialect, kept)
    assert said == "One two"
    assert "the backend is on fire" in kept["error"]["message"]
    assert len(kept["error"]["message"]) < 2500
    assert "preset-secret" not in json.dumps(kept)
    assert "[REDACTED]" in kept["error"]["message"]


INSIDE: dict[str, tuple[dict[str, Any], int, str | None, int]] = {
    "a number": ({"message": "no", "code": 429}, 429, "rate_limit_exceeded", 2),
    "a number in words": ({"message": "no", "code": "429"}, 429, "429", 2),
    "too much": ({"message": "no", "code": "rate_limit_exceeded"}, 429, "rate_limit_exceeded", 2),
    "used up": ({"message": "no", "code": "insufficient_quota"}, 429, "insufficient_quota", 1),
    "too long": (
        {"message": "no", "type": "invalid_request_error", "code": "context_length_exceeded"},
        400,
        "context_length_exceeded",
        1,
    ),
    "too long, in words": (
        {"message": "prompt is too long", "type": "invalid_request_error"},
        400,
        "context_length_exceeded",
        1,
    ),
    "filtered": ({"message": "no", "code": "content_filter"}, 400, "content_filter", 1),
    "wrong": ({"message": "no", "type": "invalid_request_error"}, 400, None, 1),
    "overloaded": ({"message": "no", "type": "overloaded_error"}, 503, "upstream_unavailable", 2),
    "nothing more": ({"message": "no", "type": "server_error"}, 502, "upstream_error", 2),
    "all of it": (
        {"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 400},
        400,
        None,
        1,
    ),
}
"""Errors inside of an answer with status 200: their status and code then, and how often is asked."""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", INSIDE)
def test_an_error_inside_of_an_answer(
    gateway: Gateway, upstream: SaidUpstream, name: str, stream: bool
) -> None:
    """It is what it would have been as a status: for the client, and for who is asked next."""
    said, status, code, times = INSIDE[name]
    upstream.seen.clear()
    upstream.body = said if name == "all of it" else {"error": said}
    upstream.events = [json.dumps(upstream.body)] if stream else []
    response = gateway.chat(model="twice", stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"].endswith(said["message"])
    assert len(upstream.seen) == times
