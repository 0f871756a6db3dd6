"""Policies hold in every dialect: what goes upstream, what the client gets, what record and ledger keep."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airboss.governance.policies import policy_of
from tests.gateway.test_screen import ACTIONS, MASKED, TEXT, VALUES, events_of, text_of
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import PATHS, error, is_whole, recorded_text, say, streamed, text

DIALECTS = sorted(PATHS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker's folder."""
    return tmp_path_factory.mktemp("screened")


@pytest.fixture(scope="module")
def screened(upstream: SaidUpstream, root: Path) -> Iterator[Gateway]:
    """A worker with a deployment for each action."""
    plans = [
        deployment(upstream.url, name=action, aliases=(), policy=policy_of(action, None))
        for action in ACTIONS
    ]
    with Gateway(root, *plans) as running:
        yield running


def kept(root: Path) -> str:
    """All that the worker has written: journal and ledger."""
    files = [*root.glob("journal/*/*.seg"), *root.glob("ledger.db*")]
    return b"".join(path.read_bytes() for path in files).decode("utf-8", "replace")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_thoughts_and_words_are_one_answer(screened: Gateway, upstream: SaidUpstream, dialect: str) -> None:
    """What a screen holds back of the thoughts comes before the words: one block or item of each."""
    thoughts = [{"reasoning_content": each} for each in ("Let me ", "think about", " it.")]
    upstream.stream([{"role": "assistant"}, *thoughts, {"content": "It is"}, {"content": " so."}])
    response = say(screened, dialect, model="mask", stream=True)
    assert text(dialect, response, stream=True) == "It is so."
    begun = {"messages": "content_block_start", "responses": "response.output_item.added"}[dialect]
    kinds = [
        data.get("content_block", data.get("item"))["type"] for n, data in streamed(response) if n == begun
    ]
    assert kinds == {"messages": ["thinking", "text"], "responses": ["reasoning", "message"]}[dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("seed", range(4))
def test_every_cutting_of_a_stream(
    screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str, seed: int
) -> None:
    """However the upstream cuts its text, the client reads one masked text, and so does who reads records."""
    source = random.Random(seed)
    edges = sorted({0, len(TEXT), *source.sample(range(len(TEXT)), 12)})
    upstream.stream([{"role": "assistant"}, *({"content": TEXT[a:b]} for a, b in pairwise(edges))])
    response = say(screened, dialect, f"About: {TEXT}", model="mask", stream=True)
    assert is_whole(dialect, response)
    assert text(dialect, response, stream=True) == MASKED
    sent = json.loads(upstream.seen[-1])
    assert sent["messages"][-1]["content"] == f"About: {MASKED}"
    record_id = response.headers["x-request-id"]
    closed = screened.closed(record_id)
    assert recorded_text(dialect, closed["response"]) == MASKED
    assert f"About: {MASKED}" in json.dumps(screened.frames()[0][record_id]["request"])
    assert not any(value in kept(root) for value in VALUES)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_tokens(screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str, stream: bool) -> None:
    """The client gets its own values back; upstream, record and ledger have the same placeholder."""
    answer = "Write to <EMAIL_1>."
    upstream.stream([{"role": "assistant"}, {"content": answer[:12]}, {"content": answer[12:]}])
    if not stream:
        upstream.events = []
        upstream.body = {
            "choices": [{"index": 0, "message": {"content": answer}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
    response = say(screened, dialect, f"Mail {VALUES[0]}", model="tokenize", stream=stream)
    assert text(dialect, response, stream=stream) == f"Write to {VALUES[0]}."
    assert json.loads(upstream.seen[-1])["messages"][-1]["content"] == "Mail <EMAIL_1>"
    record_id = response.headers["x-request-id"]
    closed = screened.closed(record_id)
    assert recorded_text(dialect, closed["response"]) == answer
    assert "Mail <EMAIL_1>" in json.dumps(screened.frames()[0][record_id]["request"])
    assert VALUES[0] not in kept(root)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_blocked_request(screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str) -> None:
    """It is refused in the dialect's shape, goes nowhere, and its record has no value."""
    asked = len(upstream.seen)
    response = say(screened, dialect, TEXT, model="block", stream=True)
    assert response.status_code == 400
    assert error(dialect, response)["code"] == "content_policy"
    assert len(upstream.seen) == asked
    end = screened.closed(response.headers["x-request-id"])
    assert end["status"] == "refused"
    assert not any(value in kept(root) for value in VALUES)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_answer(
    screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str, stream: bool
) -> None:
    """The client gets what came before the value, and why it ends there."""
    upstream.stream([{"role": "assistant"}, {"content": "Good day. "}, {"content": TEXT}])
    if not stream:
        upstream.events = []
        said = {"content": f"Good day. {TEXT}"}
        upstream.body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    response = say(screened, dialect, "hi", model="block", stream=stream)
    assert response.status_code == 200
    assert text(dialect, response, stream=stream).startswith("Good day.")
    assert not any(value in response.text for value in VALUES)
    end = screened.closed(response.headers["x-request-id"])
    assert end["status"] == "refused"
    reason: Any = "refusal" if dialect == "messages" else {"reason": "content_filter"}
    assert end["response"]["stop_reason" if dialect == "messages" else "incomplete_details"] == reason
    assert not any(value in kept(root) for value in VALUES)


@pytest.mark.parametrize("action", ["mask", "tokenize"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_response_repeats_of_its_request(
    screened: Gateway, upstream: SaidUpstream, root: Path, stream: bool, action: str
) -> None:
    """Instructions, tools and metadata stand in the record's response as they do in its request."""
    upstream.stream([{"role": "assistant"}, {"content": "ok"}])
    if not stream:
        upstream.events = []
        said = {"content": "ok"}
        upstream.body = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    more: dict[str, Any] = {"instructions": f"Mail {VALUES[0]}", "metadata": {"note": VALUES[0]}}
    more["tools"] = [{"type": "function", "name": "f", "description": VALUES[0], "parameters": {}}]
    response = say(screened, "responses", "hi", model=action, stream=stream, **more)
    closed = screened.closed(response.headers["x-request-id"])
    assert closed["response"]["instructions"] in {"Mail [EMAIL]", "Mail <EMAIL_1>"}
    assert VALUES[0] not in json.dumps(closed)
    assert VALUES[0] not in kept(root)


def test_a_conversation_is_screened_anew(screened: Gateway, upstream: SaidUpstream) -> None:
    """What was kept under no acting policy goes upstream under the policy of the call that builds on it."""
    upstream.stream([{"role": "assistant"}, {"content": TEXT}])
    first = say(screened, "responses", TEXT, model="observe", stream=True)
    made = streamed(first)[-1][1]["response"]["id"]
    upstream.stream([{"role": "assistant"}, {"content": "ok"}])
    second = say(screened, "responses", "again", model="mask", stream=True, previous_response_id=made)
    assert is_whole("responses", second)
    contents = [each["content"] for each in json.loads(upstream.seen[-1])["messages"]]
    assert contents == [MASKED, MASKED, "again"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ACTIONS)
@pytest.mark.parametrize("dialect", ["chat", "completions", *DIALECTS])
def test_half_of_a_character(
    screened: Gateway, upstream: SaidUpstream, dialect: str, model: str, stream: bool
) -> None:
    """It counts as U+FFFD: a value beside it is found, and the answer ends as any other. A whole one that is
    only looked at stays as it came."""
    half = "hi \ud83d " + ("<EMAIL_1>" if model == "tokenize" else VALUES[0])
    said = {"text": half} if dialect == "completions" else {"message": {"role": "assistant", "content": half}}
    choice = {"index": 0, **said, "finish_reason": "stop"}
    upstream.write_bytes, upstream.events = 1 << 20, []
    upstream.body = {"id": "c", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    if stream and dialect == "completions":
        upstream.events = [json.dumps(upstream.body), "[DONE]"]
    elif stream:
        upstream.stream([{"role": "assistant"}, {"content": half[:4]}, {"content": half[4:]}])
    asked = f"Mail {VALUES[0]}" if model == "tokenize" else "hi"
    if dialect in DIALECTS:
        response = say(screened, dialect, asked, model=model, stream=stream)
        found = text(dialect, response, stream=stream)
    elif dialect == "chat":
        response = screened.chat(asked, model=model, stream=stream)
        found = text_of(response) if stream else response.json()["choices"][0]["message"]["content"]
    else:
        with screened.client() as client:
            body = {"model": model, "prompt": asked, "stream": stream}
            response = client.post("/v1/completions", json=body)
        heard = events_of(response) if stream else [response.json()]
        found = "".join(each["text"] or "" for event in heard for each in event["choices"])
    assert response.status_code == 200, response.text
    rest = {"mask": "[EMAIL]", "block": ""}.get(model, VALUES[0])
    as_it_came = model == "observe" and not stream and dialect not in DIALECTS
    assert found == (half if as_it_came else f"hi \ufffd {rest}")
    if dialect in {"chat", "completions"}:
        assert ("content_filter" in response.text) == (model == "block")
    closed = screened.closed(response.headers["x-request-id"])
    assert closed["status"] == ("refused" if model == "block" else "ok")
    assert (VALUES[0] in json.dumps(closed)) == (model == "observe")
