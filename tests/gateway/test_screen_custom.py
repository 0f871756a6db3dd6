"""Kinds that policies define themselves, through the real gateway: every dialect and channel."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.release import CustomKind, PiiAction
from airboss.governance.policies import policy_of
from tests.gateway.test_dialect_screen import DIALECTS, kept
from tests.gateway.test_responses_screened import answer, events
from tests.gateway.test_screen import ACTIONS, chat, events_of, found, record_of, text_of
from tests.gateway.test_traces import said, send_json
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.otlp import llm
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, is_whole, recorded_text, say, text

EMPLOYEE = "EMP-123456"
NAME = "Project  Falcon"
TEXT = f"{EMPLOYEE} leads {NAME.upper()}, as jane@example.com says; EMP-1234567 does not. \\n{EMPLOYEE}"
MASKED = "[EMPLOYEE] leads [CODENAME], as [EMAIL] says; EMP-1234567 does not. \\n[EMPLOYEE]"
VALUES = (EMPLOYEE + " ", EMPLOYEE + '"', NAME, NAME.upper(), "jane@")


def custom(action: PiiAction) -> tuple[CustomKind, ...]:
    """A pattern and a word."""
    return (
        CustomKind(name="codename", action=action, words=("Project Falcon", "сокол")),
        CustomKind(name="employee", action=action, pattern=r"\bEMP-[0-9]{6}\b"),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker's folder."""
    return tmp_path_factory.mktemp("custom")


@pytest.fixture(scope="module")
def screened(upstream: SaidUpstream, root: Path) -> Iterator[Gateway]:
    """A worker with a deployment for each action, beside a kind that is built in; and one at OpenAI."""
    plans = [
        deployment(upstream.url, name=each, aliases=(), policy=policy_of(each, ("email",), custom(each)))
        for each in ACTIONS
    ]
    native = policy_of("mask", ("email",), custom("mask"))
    plans.append(deployment(upstream.url, name="native", aliases=(), kind="openai", policy=native))
    with Gateway(root, *plans) as running:
        yield running


def pieces(seed: int) -> list[str]:
    """The text cut at random; into single characters by the first seed."""
    source = random.Random(seed)
    edges = sorted({0, len(TEXT), *source.sample(range(len(TEXT)), 12)})
    return list(TEXT) if seed == 0 else [TEXT[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("seed", range(6))
def test_every_cutting_of_a_stream(screened: Gateway, upstream: SaidUpstream, seed: int) -> None:
    """Content and reasoning come out as the whole would, and the record names the kinds."""
    deltas = [{name: piece} for name in ("reasoning_content", "content") for piece in pieces(seed)]
    upstream.stream([{"role": "assistant", "content": ""}, *deltas])
    response = chat(screened, "mask", TEXT, stream=True)
    assert text_of(response) == text_of(response, "reasoning_content") == MASKED
    assert json.loads(upstream.seen[-1])["messages"][-1]["content"] == MASKED
    _, closed = record_of(screened, response)
    assert closed["response"]["choices"][0]["message"]["content"] == MASKED
    at = "response.choices.message.content"
    assert {each: found(closed)[each, at] for each in ("codename", "email", "employee")} == {
        "codename": 1, "email": 1, "employee": 2
    }  # fmt: skip
    assert not any(value in json.dumps(closed) for value in VALUES)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect(
    screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str, seed: int
) -> None:
    """The same in the other dialects."""
    upstream.stream([{"role": "assistant"}, *({"content": piece} for piece in pieces(seed))])
    response = say(screened, dialect, f"About: {TEXT}", model="mask", stream=True)
    assert is_whole(dialect, response)
    assert text(dialect, response, stream=True) == MASKED
    closed = screened.closed(response.headers["x-request-id"])
    assert recorded_text(dialect, closed["response"]) == MASKED
    assert not any(value in kept(root) for value in VALUES)


@pytest.mark.parametrize("cut", [None, 1, 3, 7])
def test_responses_that_pass(screened: Gateway, upstream: SaidUpstream, cut: int | None) -> None:
    """A provider's own events are screened as they are, its words for their kinds left alone."""
    upstream.done = False
    upstream.body, upstream.events = answer(TEXT), [] if cut is None else events(TEXT, cut)
    response = say(screened, "responses", TEXT, model="native", stream=cut is not None)
    upstream.done = True
    assert upstream.paths[-1] == "/v1/responses", response.text
    assert json.loads(upstream.seen[-1])["input"] == MASKED
    if cut is None:
        assert response.json() == answer(MASKED)
    else:
        assert text("responses", response, stream=True) == MASKED
    closed = screened.closed(response.headers["x-request-id"])
    assert closed["response"] == answer(MASKED)
    assert {each["kind"] for each in closed["policy"]} == {"codename", "email", "employee"}


@pytest.mark.parametrize("stream", [False, True])
def test_completions(screened: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """The text of a completion, whole and in pieces."""
    choice = {"index": 0, "finish_reason": None}
    said_so = [{"choices": [choice | {"text": piece}]} for piece in pieces(1)]
    upstream.events = [json.dumps(each) for each in said_so] if stream else []
    if stream:
        upstream.events.append(json.dumps({"choices": [choice | {"text": "", "finish_reason": "stop"}]}))
    upstream.body = {
        "choices": [{"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": {"x": TEXT}}]
    }
    with screened.client() as client:
        response = client.post("/v1/completions", json={"model": "mask", "prompt": TEXT, "stream": stream})
    if stream:
        assert "".join(event["choices"][0]["text"] for event in events_of(response)) == MASKED
    else:
        assert response.json()["choices"][0]["text"] == MASKED
        assert response.json()["choices"][0]["logprobs"] is None
    assert json.loads(upstream.seen[-1])["prompt"] == MASKED


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_and_tool_calls(screened: Gateway, upstream: SaidUpstream, root: Path, stream: bool) -> None:
    """The client gets its own values back, in arguments too; upstream and record have the placeholders."""
    arguments = json.dumps({"of": "<EMPLOYEE_1>", "on": "<CODENAME_1>", "new": "EMP-999999"})
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    cut = [arguments[:9], arguments[9:30], arguments[30:]]
    parts: list[dict[str, Any]] = [{"index": 0, "function": {"arguments": each}} for each in cut]
    upstream.stream([{"role": "assistant", "tool_calls": [call]}, *({"tool_calls": [p]} for p in parts)])
    if not stream:
        upstream.events = []
        made = call | {"function": {"name": "f", "arguments": arguments}}
        upstream.body = {
            "choices": [{"index": 0, "message": {"tool_calls": [made]}, "finish_reason": "stop"}]
        }
    response = chat(screened, "tokenize", f"{EMPLOYEE} on {NAME}", stream=stream)
    assert json.loads(upstream.seen[-1])["messages"][-1]["content"] == "<EMPLOYEE_1> on <CODENAME_1>"
    if stream:
        deltas = [choice["delta"] for event in events_of(response) for choice in event["choices"]]
        calls = [each for delta in deltas for each in delta.get("tool_calls") or ()]
    else:
        calls = response.json()["choices"][0]["message"]["tool_calls"]
    given = json.loads("".join(each["function"].get("arguments") or "" for each in calls))
    assert (given["of"], given["on"]) == (EMPLOYEE, NAME)
    assert given["new"].startswith("<EMPLOYEE_")
    assert screened.closed(response.headers["x-request-id"])["policy"]
    assert not any(value in kept(root) for value in (f'"{EMPLOYEE}', NAME, "EMP-999999"))


@pytest.mark.parametrize("dialect", ["chat", *DIALECTS])
def test_a_word_that_must_not_pass(
    screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str
) -> None:
    """A request that has it goes nowhere and is told the kind; an answer ends before it."""
    asked = len(upstream.seen)
    words = "wie steht's um СОКОЛ?"
    refused = (
        chat(screened, "block", words) if dialect == "chat" else say(screened, dialect, words, model="block")
    )
    assert refused.status_code == 400
    told = refused.json()["error"] if dialect == "chat" else error(dialect, refused)
    assert told["code"] == "content_policy"
    assert "codename" in told["message"]
    assert len(upstream.seen) == asked
    closed = screened.closed(refused.headers["x-request-id"])
    assert (closed["status"], closed["policy"][0]["kind"]) == ("refused", "codename")
    upstream.stream(
        [{"role": "assistant"}, {"content": "It is Project"}, {"content": " Fal"}, {"content": "con."}]
    )
    if dialect == "chat":
        given = text_of(chat(screened, "block", stream=True))
    else:
        given = text(dialect, say(screened, dialect, model="block", stream=True), stream=True)
    assert given.strip() == "It is"
    assert "СОКОЛ" not in kept(root)


def test_counting_changes_nothing(screened: Gateway, upstream: SaidUpstream) -> None:
    """What is observed passes at once, and is counted."""
    upstream.stream([{"role": "assistant"}, *({"content": piece} for piece in pieces(2))])
    response = chat(screened, "observe", TEXT, stream=True)
    assert text_of(response) == TEXT
    _, closed = record_of(screened, response)
    assert found(closed)["employee", "request.messages.content"] == 2
    assert {each["action"] for each in closed["policy"]} == {"observe"}


def test_feedback_spans_and_routes_that_are_passed_on(screened: Gateway, upstream: SaidUpstream) -> None:
    """What is said about a call, what apps tell of theirs, and what is not understood but passed on."""
    with screened.client() as client:
        record_id = "0190b1c0-0000-7000-8000-000000000001"
        body = {"record_id": record_id, "name": "helpful", "value": True, "comment": TEXT}
        given = client.post("/v1/feedback", json=body).json()["id"]
        upstream.events, upstream.body = [], {"results": []}
        client.post("/v1/rerank", json={"model": "mask", "query": TEXT, "documents": [TEXT, {"text": TEXT}]})
    (score,) = [each for each in screened.scores() if each["id"] == given]
    assert score["comment"] == MASKED
    sent = json.loads(upstream.seen[-1])
    assert (sent["query"], sent["documents"]) == (MASKED, [MASKED, {"text": MASKED}])
    send_json(screened, llm(1, attributes={"gen_ai.input.messages": said(TEXT), "note": NAME}))
    (span,) = screened.spans()
    assert span["call"]["request"]["messages"][0]["content"] == MASKED
    assert span["attributes"]["note"] == "[CODENAME]"
    assert {each["kind"] for each in span["call"]["policy"]} == {"codename", "email", "employee"}
    assert KEY not in json.dumps(span)


def test_an_error_that_says_the_value_again(screened: Gateway, upstream: SaidUpstream) -> None:
    """An upstream's error is screened by them, too."""
    upstream.status, upstream.events = 400, []
    upstream.body = {"error": {"message": f"no {NAME} here, {EMPLOYEE}", "code": "bad"}}
    response = chat(screened, "mask")
    upstream.status = 200
    assert response.json()["error"]["message"].endswith("no [CODENAME] here, [EMPLOYEE]")
