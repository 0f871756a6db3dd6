"""Policies through the real gateway: what goes upstream, what the client gets, what the record keeps."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from airboss.domain.release import ModelVersion, PiiAction, Release
from airboss.governance.policies import policy_of
from airboss.providers.fake_faults import Behaviour
from airboss.testing import FakeProvider
from tests.support.gateway import DIGEST, Gateway, deployment
from tests.support.said_upstream import SaidUpstream

TEXT = "Mail jane.doe@example.com or call +1 415 555 2671, card 4111 1111 1111 1111, from 10.2.3.4. Bye."
MASKED = "Mail [EMAIL] or call [PHONE], card [CARD], from [IP]. Bye."
VALUES = ("jane.doe@example.com", "415 555 2671", "4111 1111 1111 1111", "10.2.3.4")
ACTIONS: tuple[PiiAction, ...] = ("mask", "tokenize", "block", "observe")


@pytest.fixture(scope="module")
def screened(
    upstream: SaidUpstream, fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker with a deployment for each action, one with two policies, and one at the fake provider."""
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    released = Release(digest=DIGEST, name="r", model=model, policy=policy_of("tokenize", ("email", "phone")))
    plans = [
        deployment(upstream.url, name=action, aliases=(), policy=policy_of(action, None))
        for action in ACTIONS
    ]
    both = deployment(
        upstream.url, name="both", aliases=(), stable=released, policy=policy_of("mask", ("phone",))
    )
    fake = deployment(
        fake_process.url, name="fake", aliases=(), policy=policy_of("mask", None), continuation="off"
    )
    engine = deployment(upstream.url, name="engine", aliases=(), kind="local", policy=policy_of("mask", None))
    strict = deployment(
        fake_process.url, name="strict", aliases=(), policy=policy_of("block", None), continuation="off"
    )
    plans += [both, fake, engine, strict, deployment(upstream.url)]
    with Gateway(tmp_path_factory.mktemp("screened"), *plans) as running:
        yield running


def chat(gateway: Gateway, model: str, content: str = "hi", **body: Any) -> httpx2.Response:
    """One call."""
    return gateway.chat(content, model=model, **body)


def events_of(response: httpx2.Response) -> list[Any]:
    """The events of a stream, `[DONE]` left out; each is checked to be whole."""
    assert response.text.endswith("data: [DONE]\n\n")
    lines = [line for line in response.text.split("\n\n") if line and line != ":"]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def text_of(response: httpx2.Response, name: str = "content") -> str:
    """The text that a stream says."""
    choices = [choice for event in events_of(response) for choice in event["choices"]]
    return "".join(choice["delta"].get(name) or "" for choice in choices)


def record_of(gateway: Gateway, response: httpx2.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both frames of a call."""
    record_id = response.headers["x-request-id"]
    closed = gateway.closed(record_id)
    return gateway.frames()[0][record_id], closed


def found(closed: dict[str, Any]) -> dict[tuple[str, str], int]:
    """What policies found, by kind and place."""
    return {(each["kind"], each["where"]): each["count"] for each in closed["policy"]}


def cuttings() -> Iterator[tuple[str, list[str]]]:
    """The text in one piece, in single characters, in two pieces at every place, and at random."""
    yield "whole", [TEXT]
    yield "characters", list(TEXT)
    for place in range(1, len(TEXT), 3):
        yield f"at {place}", [TEXT[:place], TEXT[place:]]
    for seed in range(10):
        source = random.Random(seed)
        edges = sorted({0, len(TEXT), *source.sample(range(len(TEXT)), 12)})
        yield f"seed {seed}", [TEXT[a:b] for a, b in pairwise(edges)]


def test_every_cutting_of_a_stream(screened: Gateway, upstream: SaidUpstream) -> None:
    """However the upstream cuts its text into events and its bytes into writes, the client reads one text."""
    for number, (name, pieces) in enumerate(cuttings()):
        upstream.stream([{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)])
        upstream.write_bytes = (1 << 20, 7, 64)[number % 3]
        response = chat(screened, "mask", stream=True)
        assert text_of(response) == MASKED, name
        _, closed = record_of(screened, response)
        assert closed["response"]["choices"][0]["message"]["content"] == MASKED
        assert (closed["status"], closed["finish_reason"]) == ("ok", "stop")
        assert closed["output_tokens"] == len(pieces) + 1
        at = "response.choices.message.content"
        assert found(closed) == {("card", at): 1, ("email", at): 1, ("ip", at): 1, ("phone", at): 1}
        assert not any(value in json.dumps(closed) for value in VALUES)
    upstream.write_bytes = 1 << 20


def test_a_whole_answer(screened: Gateway, upstream: SaidUpstream) -> None:
    """A whole answer comes out as the stream does; its log probabilities are gone."""
    upstream.events = []
    upstream.body = {
        "id": "u",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "reasoning_content": TEXT},
                "logprobs": {"content": [{"token": "jane"}]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    response = chat(screened, "mask")
    choice = response.json()["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": MASKED, "reasoning_content": MASKED}
    assert choice["logprobs"] is None
    _, closed = record_of(screened, response)
    assert closed["response"] == response.json()
    assert closed["output_tokens"] == 2
    assert response.headers["content-length"] == str(len(response.content))


def test_a_request(screened: Gateway, upstream: SaidUpstream) -> None:
    """Upstream and record have the masked request; user and session stay, tags do not keep a value."""
    upstream.stream([{"content": "ok"}])
    metadata = {"session_id": "jane@example.com", "note": "from jane@example.com"}
    response = chat(screened, "mask", TEXT, stream=True, user="jane@example.com", metadata=metadata)
    assert text_of(response) == "ok"
    sent = json.loads(upstream.seen[-1])
    assert sent["messages"] == [{"role": "user", "content": MASKED}]
    opened, closed = record_of(screened, response)
    assert opened["request"]["messages"] == sent["messages"]
    assert (opened["user"], opened["session"]) == ("jane@example.com", "jane@example.com")
    assert opened["tags"] == {"note": "from [EMAIL]"}
    assert found(closed)["email", "request.messages.content"] == 1
    assert found(closed)["email", "request.metadata.note"] == 1


def test_a_long_request(screened: Gateway, upstream: SaidUpstream) -> None:
    """A request that is screened in a thread is screened alike."""
    upstream.stream([{"content": "ok"}])
    assert chat(screened, "mask", f"{TEXT} {'word ' * 40_000}", stream=True).status_code == 200
    content = json.loads(upstream.seen[-1])["messages"][0]["content"]
    assert content.startswith(f"{MASKED} word")


def test_tokens_go_up_and_values_come_back(screened: Gateway, upstream: SaidUpstream) -> None:
    """The upstream sees placeholders, the client its own values again, the record placeholders only."""
    arguments = '{"to":"<EMAIL_1>","card":4111111111111111}'
    upstream.stream(
        [
            {"role": "assistant", "content": "Dear <EMA"},
            {"content": "IL_1>, you said <PHONE_1>; so did eve@example.com"},
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "mail"}}]},
            *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in arguments),
        ],
        finish="tool_calls",
    )
    response = chat(screened, "tokenize", "I am jane@example.com, +1 415 555 2671", stream=True)
    assert json.loads(upstream.seen[-1])["messages"][0]["content"] == "I am <EMAIL_1>, <PHONE_1>"
    text = text_of(response)
    assert text.startswith("Dear jane@example.com, you said +1 415 555 2671; so did <EMAIL_")
    calls = [
        call
        for event in events_of(response)
        for choice in event["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert len(calls) == 1
    assert calls[0]["id"] == "c"
    given = json.loads(calls[0]["function"]["arguments"])
    assert given["to"] == "jane@example.com"
    assert given["card"].startswith("<CARD_")
    opened, closed = record_of(screened, response)
    for frame in (opened, closed):
        assert "@example.com" not in json.dumps(frame)
    message = closed["response"]["choices"][0]["message"]
    assert message["content"].startswith("Dear <EMAIL_1>, you said <PHONE_1>; so did <EMAIL_")
    assert closed["finish_reason"] == "tool_calls"


def test_a_whole_answer_in_tokens(screened: Gateway, upstream: SaidUpstream) -> None:
    """Whole answers too: the client's own values come back to it, and not into the record."""
    upstream.events = []
    upstream.body = {
        "choices": [{"index": 0, "message": {"content": "Hi <EMAIL_1>"}, "finish_reason": "stop"}]
    }
    response = chat(screened, "tokenize", "I am jane@example.com")
    assert response.json()["choices"][0]["message"]["content"] == "Hi jane@example.com"
    _, closed = record_of(screened, response)
    assert closed["response"]["choices"][0]["message"]["content"] == "Hi <EMAIL_1>"


def test_a_prompt_of_tokens(screened: Gateway) -> None:
    """Token ids would carry a value past the screen: they are refused, but where all is only observed."""
    for model, status in (("mask", 400), ("observe", 200)):
        with screened.client() as client:
            response = client.post("/v1/completions", json={"model": model, "prompt": [1, 2, 3]})
        assert (response.status_code == 400) == (status == 400), response.text
        assert ("content_policy" in response.text) == (status == 400)


def test_a_blocked_stream_is_left_at_once(screened: Gateway, provider: FakeProvider) -> None:
    """Nobody waits for an upstream whose answer is blocked: not even for one that has gone quiet."""
    provider.script(Behaviour(fault="stall", text="Mail jane.doe@example.com and wait for me", after=3))
    response = chat(screened, "strict", stream=True)
    assert text_of(response) == "Mail "
    _, closed = record_of(screened, response)
    assert closed["status"] == "refused"
    assert closed["latency_ms"] < 5_000
    assert closed["attempts"][0]["error_type"] == "content_policy"


def test_a_blocked_request(screened: Gateway, upstream: SaidUpstream) -> None:
    """It goes nowhere; the client is told the kind, the record has it masked and counts as refused."""
    before = len(upstream.seen)
    for stream in (False, True):
        response = chat(screened, "block", TEXT, stream=stream)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["code"] == "content_policy"
        assert "hold email" in error["message"]
        assert response.headers["x-airboss-release"] == DIGEST
        opened, closed = record_of(screened, response)
        assert opened["request"]["messages"][0]["content"] == MASKED
        assert (closed["status"], closed["error_type"]) == ("refused", "content_policy")
        assert closed["attempts"] == []
        assert {each["action"] for each in closed["policy"]} == {"block"}
        assert not any(value in json.dumps([opened, closed]) for value in VALUES)
    assert len(upstream.seen) == before


@pytest.mark.parametrize("longest", [1, 5, 200])
def test_a_blocked_stream(screened: Gateway, upstream: SaidUpstream, longest: int) -> None:
    """The client has the text up to the first value, then `content_filter` and a clean end."""
    pieces = [TEXT[at : at + longest] for at in range(0, len(TEXT), longest)]
    upstream.stream([{"content": piece} for piece in pieces])
    response = chat(screened, "block", stream=True)
    assert response.status_code == 200
    assert text_of(response) == "Mail "
    reasons = [c["finish_reason"] for e in events_of(response) for c in e["choices"] if c["finish_reason"]]
    assert reasons == ["content_filter"]
    _, closed = record_of(screened, response)
    assert (closed["status"], closed["error_type"]) == ("refused", "content_policy")
    assert closed["finish_reason"] == "content_filter"
    assert closed["response"]["choices"][0]["message"]["content"] == "Mail "
    assert found(closed) == {("email", "response.choices.message.content"): 1}


def test_a_blocked_whole_answer(screened: Gateway, upstream: SaidUpstream) -> None:
    """Of a whole answer too the text up to the first value comes, with `content_filter`."""
    upstream.events = []
    message = {"role": "assistant", "content": TEXT}
    upstream.body = {
        "id": "u",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    response = chat(screened, "block")
    assert response.status_code == 200
    choice = response.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Mail ", "content_filter")
    _, closed = record_of(screened, response)
    assert (closed["status"], closed["finish_reason"]) == ("refused", "content_filter")
    assert closed["output_tokens"] == 2
    assert closed["response"] == response.json()


def test_observing_changes_nothing(screened: Gateway, upstream: SaidUpstream) -> None:
    """Every byte passes as without a policy, and the record says what was found."""
    upstream.stream([{"role": "assistant", "content": piece} for piece in (TEXT[:20], TEXT[20:])])
    observed = chat(screened, "observe", TEXT, stream=True)
    sent = upstream.seen[-1]
    plain = chat(screened, "gpt-4o", TEXT, stream=True)
    assert observed.content == plain.content
    assert sent == upstream.seen[-1]
    _, closed = record_of(screened, observed)
    assert sum(each["count"] for each in closed["policy"]) == 8
    assert {each["action"] for each in closed["policy"]} == {"observe"}
    assert record_of(screened, plain)[1]["policy"] == []


def test_a_deployments_policy_is_on_top_of_the_releases(screened: Gateway, upstream: SaidUpstream) -> None:
    """Each kind gets the stricter of the two actions."""
    upstream.stream([{"content": "ok"}])
    chat(screened, "both", TEXT, stream=True)
    content = json.loads(upstream.seen[-1])["messages"][0]["content"]
    assert content == TEXT.replace(VALUES[0], "<EMAIL_1>").replace("+1 415 555 2671", "[PHONE]")


def test_an_error_that_says_the_value_again(screened: Gateway, upstream: SaidUpstream) -> None:
    """An upstream's error message is screened, for the client and for the record."""
    upstream.events, upstream.status = [], 400
    upstream.body = {"error": {"message": f"cannot read {TEXT}", "type": "invalid_request_error"}}
    try:
        for action in ("mask", "block"):
            response = chat(screened, action)
            assert response.status_code == 400
            assert response.json()["error"]["message"] == f"cannot read {MASKED}"
            _, closed = record_of(screened, response)
            assert "jane" not in json.dumps(closed)
            assert closed["status"] == "error"
    finally:
        upstream.status = 200


def test_an_error_that_names_the_value(screened: Gateway, upstream: SaidUpstream) -> None:
    """An error's code, type and parameter are names, or nothing: they stand in records, metrics and pages."""
    said = {"message": "no", "type": VALUES[0], "code": VALUES[0], "param": f"tags[{VALUES[0]}]"}
    upstream.events, upstream.status, upstream.body = [], 400, {"error": said}
    try:
        for action in ("mask", "block"):
            response = chat(screened, action)
            assert response.status_code == 400
            assert response.json()["error"] == {
                "message": "no",
                "type": "invalid_request_error",
                "code": None,
                "param": "tags[[EMAIL]]",
            }
            assert "jane" not in json.dumps(record_of(screened, response)[1])
        said |= {"type": "ModelNotReady.v2", "code": "1261"}
        assert chat(screened, "mask").json()["error"] | {"param": None} == said | {"param": None}
    finally:
        upstream.status = 200
    assert "jane" not in httpx2.get(screened.url + "/metrics").text


@pytest.mark.parametrize("before", [1990, 1993, 2000])
def test_an_error_that_is_cut_within_a_value(screened: Gateway, upstream: SaidUpstream, before: int) -> None:
    """Of a long message, or a body that is no JSON, no half of a value is shown at its end."""
    upstream.events, upstream.status = [], 400
    upstream.body = {"error": {"message": "x" * (before - 5) + " card 4111 1111 1111 1111 and more"}}
    try:
        message = chat(screened, "mask").json()["error"]["message"]
        assert message.endswith("…")
        assert "4111" not in message
        upstream.body = {"detail": ["y" * (before - 1845), "4111 1111 1111 1111", "z" * 200]}
        assert "4111" not in chat(screened, "mask").text
    finally:
        upstream.status = 200


def test_a_blocked_whole_answer_holds_no_value_elsewhere(screened: Gateway, upstream: SaidUpstream) -> None:
    """A role, a reason to stop, a fingerprint or a count is no place for what is blocked."""
    upstream.events = []
    upstream.body = {
        "id": "u",
        "system_fingerprint": VALUES[0],
        "service_tier": VALUES[0],
        "choices": [
            {"index": 0, "message": {"role": VALUES[0], "content": "hi"}, "finish_reason": VALUES[0]}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "note": VALUES[0]},
    }
    for action in ("mask", "block"):
        response = chat(screened, action)
        assert response.status_code == 200
        assert "jane" not in response.text
        assert "jane" not in json.dumps(record_of(screened, response)[1])


@pytest.mark.parametrize(
    "fault",
    ["ok", "byte-writes", "sse-crlf", "sse-comments", "gzip", "close-delimited", "no-usage",
     "duplicate-final", "interleaved-choices"],
)  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
def test_faults_of_the_provider(screened: Gateway, provider: FakeProvider, fault: str, stream: bool) -> None:
    """However odd the upstream's way to send, each choice's text is the masked one and usage stays."""
    provider.script(Behaviour(fault=fault, text=TEXT))
    several: dict[str, Any] = {"n": 2} if fault == "interleaved-choices" else {}
    if stream:
        several |= {"stream": True, "stream_options": {"include_usage": True}}
    response = chat(screened, "fake", **several)
    assert response.status_code == 200, response.text
    if stream:
        texts: dict[int, str] = {}
        for event in events_of(response):
            for choice in event["choices"]:
                said = choice["delta"].get("content") or ""
                texts[choice["index"]] = texts.get(choice["index"], "") + said
    else:
        texts = {each["index"]: each["message"]["content"] for each in response.json()["choices"]}
    assert texts == {0: MASKED} | ({1: f"{MASKED} #1"} if "n" in several else {})
    _, closed = record_of(screened, response)
    assert "example.com" not in json.dumps(closed)
    assert closed["usage_estimated"] == (fault == "no-usage")


@pytest.mark.parametrize("fault", ["cut-reset", "cut-close", "error-mid-stream", "malformed-event"])
def test_broken_streams_leak_nothing(screened: Gateway, provider: FakeProvider, fault: str) -> None:
    """Wherever a stream breaks, what has gone out is the beginning of the masked text."""
    for after in (1, 2, 5, 8, 11):
        provider.script(Behaviour(fault=fault, text=TEXT, after=after))
        response = chat(screened, "fake", stream=True)
        for value in VALUES:
            assert value not in response.text
        if response.status_code == 200:
            lines = [line for line in response.text.split("\n\n") if line.startswith("data: {")]
            said = [c for line in lines for c in json.loads(line[6:]).get("choices", ())]
            assert MASKED.startswith("".join(c["delta"].get("content") or "" for c in said))
            assert "[DONE]" not in response.text


@pytest.mark.parametrize("stream", [True, False])
def test_a_local_engine(screened: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """An engine is always asked for a stream; what comes of it is screened, streamed on or whole."""
    upstream.stream([{"role": "assistant", "content": piece} for piece in (TEXT[:9], TEXT[9:30], TEXT[30:])])
    upstream.events.insert(0, '{"prompt_progress": {"total": 5}, "choices": []}')
    response = chat(screened, "engine", TEXT, stream=stream)
    assert response.status_code == 200, response.text
    if stream:
        assert text_of(response) == MASKED
    else:
        assert response.json()["choices"][0]["message"]["content"] == MASKED
    _, closed = record_of(screened, response)
    assert closed["response"]["choices"][0]["message"]["content"] == MASKED
    assert b"prompt_progress" not in response.content


def test_tool_calls_in_pieces(screened: Gateway, provider: FakeProvider) -> None:
    """Tool calls that the upstream sends in pieces come whole, with arguments that parse."""
    provider.script(Behaviour(fault="tool-split"))
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    response = chat(screened, "fake", stream=True, tools=tools)
    calls = [
        call
        for event in events_of(response)
        for choice in event["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert len(calls) == 2
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert {call["function"]["name"] for call in calls} == {"look_up"}


@pytest.mark.parametrize("action", ACTIONS)
def test_events_of_several_lines(screened: Gateway, upstream: SaidUpstream, action: str) -> None:
    """JSON that comes in several `data` lines goes on whole, and its usage is counted."""
    upstream.done = True
    upstream.stream([{"content": "Fine. ", "seen": [1, 2]}, {"content": "Bye."}])
    told = "".join(
        "".join(f"data: {line}\n" for line in json.dumps(json.loads(event), indent=1).split("\n")) + "\n"
        for event in upstream.events
    )
    raw = f"{told}data: [DONE]\n\n".encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    upstream.raw = head + raw
    try:
        response = chat(screened, action, stream=True, stream_options={"include_usage": True})
    finally:
        upstream.raw = None
    lines = [line for line in response.text.split("\n") if line]
    assert {line[:6] for line in lines} == {"data: "}, response.text
    end = screened.closed(response.headers["x-request-id"])
    assert (end["status"], end["input_tokens"], end["output_tokens"]) == ("ok", 3, 2)
    assert not end["usage_estimated"]
