"""Answers that say oddly why they end: none that broke off looks whole, and none that goes on is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry
from airboss.governance.policies import policy_of
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error_in_stream, is_whole, say, streamed, text

PIECES = ["One ", "two ", "three."]
DIALECTS = ["chat", "messages", "responses"]
BROKE_OFF = ["error", "abort", "insufficient_system_resource"]


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker; `masks` has a policy, `looks` one that only notes, `on` may be gone on with,
    `own` is an engine of ours."""
    made: dict[str, Any] = {"price": PRICE, "retry": Retry(attempts=2)}
    plans = [
        deployment(upstream.url, continuation="off", **made),
        deployment(upstream.url, name="masks", aliases=(), policy=policy_of("mask", None), **made),
        deployment(upstream.url, name="looks", aliases=(), policy=policy_of("observe", None), **made),
        deployment(upstream.url, name="on", aliases=(), continuation="on", **made),
        deployment(upstream.url, name="own", aliases=(), kind="local", continuation="off", **made),
        deployment(upstream.url, name="claude", aliases=(), kind="anthropic", continuation="off", **made),
    ]
    with Gateway(tmp_path_factory.mktemp("endings") / "g", *plans) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(upstream: SaidUpstream) -> None:
    upstream.seen.clear()
    upstream.done, upstream.raw, upstream.write_bytes = True, None, 1 << 20


def ask(gateway: Gateway, dialect: str, **asked: Any) -> httpx2.Response:
    """A call in that dialect."""
    return gateway.chat(**asked) if dialect == "chat" else say(gateway, dialect, **asked)


def said(dialect: str, response: httpx2.Response) -> str:
    """The text of a stream."""
    if dialect != "chat":
        return text(dialect, response, stream=True)
    events = [json.loads(each[6:]) for each in response.text.split("\n\n") if each.startswith("data: {")]
    choices = [choice for each in events for choice in each.get("choices", ())]
    return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)


def each_ended(upstream: SaidUpstream) -> None:
    """Every piece says that it is the last."""
    upstream.stream([{"content": piece} for piece in PIECES], finish=None)
    *pieces, usage = [json.loads(event) for event in upstream.events]
    for piece in pieces:
        piece["choices"][0]["finish_reason"] = "stop"
    upstream.events = [json.dumps(event) for event in (*pieces, usage)]


@pytest.mark.parametrize("reason", BROKE_OFF)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_that_broke_off_is_told_so(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, reason: str
) -> None:
    """The client has what came, then an error; the record says the same."""
    upstream.stream([{"content": piece} for piece in PIECES], finish=reason)
    response = ask(gateway, dialect, stream=True)
    assert said(dialect, response) == "".join(PIECES)
    assert "[DONE]" not in response.text
    if dialect == "chat":
        assert reason in json.loads(response.text.rstrip().split("\n\n")[-1][6:])["error"]["message"]
    else:
        assert not is_whole(dialect, response)
        assert reason in error_in_stream(dialect, response)["message"]
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"], end["output_chars"]) == ("error", "stream_cut", 14)


@pytest.mark.parametrize("model", ["gpt-4o", "masks"])
@pytest.mark.parametrize("reason", BROKE_OFF)
def test_a_whole_answer_that_broke_off_is_asked_for_again(
    gateway: Gateway, upstream: SaidUpstream, reason: str, model: str
) -> None:
    """A part of an answer is none."""
    upstream.events = []
    upstream.body = {"choices": [{"index": 0, "message": {"content": "One"}, "finish_reason": reason}]}
    response = gateway.chat(model=model)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "stream_cut")
    assert len(upstream.seen) == 2


@pytest.mark.parametrize("reason", BROKE_OFF)
def test_so_is_one_of_an_engine(gateway: Gateway, upstream: SaidUpstream, reason: str) -> None:
    """Which is asked for a stream in any case."""
    upstream.stream([{"content": piece} for piece in PIECES], finish=reason)
    response = gateway.chat(model="own")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "stream_cut")
    assert len(upstream.seen) == 2


def test_what_broke_off_so_is_gone_on_with(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Where a model can: it is given what had been said."""
    upstream.stream([{"content": piece} for piece in PIECES], finish="abort")
    response = gateway.chat(model="on", stream=True)
    assert "[DONE]" not in response.text  # for this upstream breaks off for ever
    asked = [json.loads(body)["messages"][-1] for body in upstream.seen]
    assert [each["role"] for each in asked[:2]] == ["user", "assistant"]
    assert asked[1]["content"] == "".join(PIECES)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reason_with_every_piece_ends_nothing(
    gateway: Gateway, upstream: SaidUpstream, dialect: str
) -> None:
    """All pieces are the client's and the record's."""
    each_ended(upstream)
    response = ask(gateway, dialect, stream=True)
    assert said(dialect, response) == "".join(PIECES)
    assert "[DONE]" in response.text if dialect == "chat" else is_whole(dialect, response)
    if dialect == "responses":
        assert [name for name, _ in streamed(response)].count("response.output_item.added") == 1
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"], end["output_chars"]) == ("ok", "stop", 14)
    assert (end["output_tokens"], end["usage_estimated"]) == (3, False)


def test_such_an_answer_is_whole_only_if_its_stream_is(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A reason that stood with pieces before says nothing when the connection breaks."""
    each_ended(upstream)
    upstream.done = False
    body = upstream.said()
    upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body) + 9, body)
    response = gateway.chat(stream=True)
    assert said("chat", response) == "".join(PIECES)
    assert "[DONE]" not in response.text
    assert gateway.closed(response.headers["x-request-id"])["status"] == "error"


def test_what_a_policy_cannot_read_any_more_is_no_end(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It has let go of what it held at the first reason: what comes behind is told of, not passed over."""
    each_ended(upstream)
    response = gateway.chat(model="masks", stream=True)
    assert "[DONE]" not in response.text
    assert gateway.closed(response.headers["x-request-id"])["error_type"] == "stream_cut"


def test_a_models_own_limit_is_a_limit(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Mistral's word for it looks like an end in no dialect."""
    upstream.stream([{"content": "One"}], finish="model_length")
    messages = dict(streamed(say(gateway, "messages", stream=True)))
    assert messages["message_delta"]["delta"]["stop_reason"] == "max_tokens"
    responses = dict(streamed(say(gateway, "responses", stream=True)))
    reason = responses["response.incomplete"]["response"]["incomplete_details"]["reason"]
    assert reason == "max_output_tokens"


CLAUDE = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 5}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 7}},
]


@pytest.mark.parametrize("reason", ["s" * 100_000, "st\0p", "as ann.lee@example.com said"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reason_that_is_no_name_is_the_clients_alone(
    gateway: Gateway, upstream: SaidUpstream, reason: str, stream: bool
) -> None:
    """Its record, which holds no text without bounds beside its bodies, would be lost for it."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    upstream.stream([{"content": "hi"}], finish=reason)
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": reason}
        upstream.events = []
        upstream.body = {"object": "chat.completion", "choices": [choice], "usage": usage}
    answer = ask(gateway, "chat", stream=stream)
    assert json.dumps(reason) in answer.text
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["finish_reason"]) == ("ok", None)
    assert closed["cost_usd"] == 5e-06


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_breaks_after_a_reason_to_stop_costs_nothing(
    gateway: Gateway, upstream: SaidUpstream, dialect: str
) -> None:
    """Anthropic's last event says nothing more: the answer is whole without it, and so is its usage."""
    upstream.events, upstream.done = [json.dumps(event) for event in CLAUDE], False
    body = upstream.said()
    upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body) + 9, body)
    response = ask(gateway, dialect, model="claude", stream=True)
    assert said(dialect, response) == "One"
    assert "[DONE]" in response.text if dialect == "chat" else is_whole(dialect, response)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"], end["usage_estimated"]) == ("ok", "length", False)
    assert (end["input_tokens"], end["output_tokens"]) == (5, 7)


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_an_event_that_ends_in_a_carriage_return_is_said(
    gateway: Gateway, upstream: SaidUpstream, dialect: str
) -> None:
    """The last one is the usage, which the client has as the record has it."""
    upstream.stream([{"content": piece} for piece in PIECES])
    body = upstream.said().replace(b"\n", b"\r")
    upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    response = ask(gateway, dialect, stream=True)
    assert said(dialect, response) == "".join(PIECES)
    events = dict(streamed(response))
    last = events["message_delta"] if dialect == "messages" else events["response.completed"]["response"]
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (3, 3)


def test_who_only_looks_lets_each_piece_end(gateway: Gateway, upstream: SaidUpstream) -> None:
    """And sees what comes behind the first reason to stop, as before it."""
    upstream.stream([{"content": f"{piece}jane@example.com "} for piece in PIECES], finish=None)
    *pieces, usage = [json.loads(event) for event in upstream.events]
    for piece in pieces:
        piece["choices"][0]["finish_reason"] = "stop"
    upstream.events = [json.dumps(event) for event in (*pieces, usage)]
    response = gateway.chat(model="looks", stream=True)
    assert said("chat", response) == "".join(f"{piece}jane@example.com " for piece in PIECES)
    end = gateway.closed(response.headers["x-request-id"])
    assert end["status"] == "ok"
    assert [(each["kind"], each["count"]) for each in end["policy"]] == [("email", 3)]


@pytest.mark.parametrize("model", ["gpt-4o", "masks", "looks"])
def test_a_last_event_sent_again_with_more_says_its_text_once(
    gateway: Gateway, upstream: SaidUpstream, model: str
) -> None:
    """With the usage, say, which counts."""
    upstream.stream([{"content": piece} for piece in PIECES], finish=None)
    *pieces, usage = [json.loads(event) for event in upstream.events]
    pieces[-1]["choices"][0]["finish_reason"] = "stop"
    again = pieces[-1] | {"usage": usage["usage"], "created": 7}
    upstream.events = [json.dumps(event) for event in (*pieces, again)]
    response = gateway.chat(model=model, stream=True)
    assert said("chat", response) == "".join(PIECES)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["usage_estimated"]) == ("ok", False)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("finish", [None, "content_filter"])
def test_what_azures_filter_says_behind_the_end_is_heard(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, finish: str | None
) -> None:
    """Where it looks at an answer that is out already: what it found, and that it would have cut it."""
    upstream.stream([{"content": piece} for piece in PIECES])
    found = {"index": 0, "finish_reason": finish, "content_filter_results": {"hate": {"filtered": True}}}
    upstream.events.insert(-1, json.dumps({"id": "", "choices": [found]}))
    response = ask(gateway, dialect, stream=True)
    assert said(dialect, response) == "".join(PIECES)
    reason = gateway.closed(response.headers["x-request-id"])["finish_reason"]
    assert reason == (finish or "stop")
    if dialect == "chat":
        assert upstream.events[-2] in response.text
    else:
        assert is_whole(dialect, response)
        cut = {"messages": '"refusal"', "responses": '"content_filter"'}[dialect]
        assert (cut in response.text) == (finish is not None)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TO_CLAUDE = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in PIECES * 20
    ),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("noise", [b"<html>\n<h1>Oh</h1>", b"\xff\xfe\x00", b": caf\xe9"])
@pytest.mark.parametrize("model", ["gpt-4o", "masks", "claude"])
def test_noise_between_events_reaches_nobody(
    gateway: Gateway, upstream: SaidUpstream, model: str, noise: bytes
) -> None:
    """What is no event by the rules is not passed on, as some clients read every line as UTF-8."""
    if model == "claude":
        upstream.events, upstream.done = [json.dumps(each) for each in TO_CLAUDE], False
    else:
        upstream.stream([{"content": piece} for piece in PIECES * 20])
    upstream.raw = HEAD + upstream.said().replace(b"\n\n", b"\n\n" + noise + b"\n\n")
    upstream.write_bytes = 100  # so that most comes after the answer has begun
    response = gateway.chat(model=model, stream=True)
    assert said("chat", response) == "".join(PIECES * 20)
    assert response.content.decode().endswith("data: [DONE]\n\n")
    assert noise not in response.content
