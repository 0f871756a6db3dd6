"""Policies that look for names, through the real gateway: in every dialect, on every route, in every text.
What finds them is a process that knows a few by heart; `tests/names` has the real one."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry
from airboss.domain.release import PiiAction, Policy
from tests.gateway.test_responses_screened import answer as response_of
from tests.gateway.test_responses_screened import events as response_events
from tests.gateway.test_screen import events_of, found, record_of, text_of
from tests.supervisor.children import alive
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import JSON, llm, request
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error_in_stream, is_whole, recorded_text, say, streamed, text
from tests.support.wait import until

TEXT = (
    "My name is Jane Doe, I live in Berlin, and you can mail jane.doe@example.com about what there is. Then "
    "Ann Lee of Initech answers, all the way from New York, whom you call at +1 415 555 2671!\nŁukasz Żak too"
)
MASKED = (
    "My name is [PERSON], I live in [LOCATION], and you can mail [EMAIL] about what there is. Then "
    "[PERSON] of Initech answers, all the way from [LOCATION], "
    "whom you call at +1 415 555 2671!\n[PERSON] too"
)
TOLD = {"person": 3, "location": 2, "email": 1}
VALUES = ("Jane Doe", "Berlin", "jane.doe", "Ann Lee", "New York", "Żak")
ACTIONS: tuple[PiiAction, ...] = ("mask", "tokenize", "block", "observe")
KINDS = ("email", "person", "location")


def names_policy(action: PiiAction) -> Policy:
    """A policy about two kinds of names and addresses."""
    return Policy(pii=tuple((kind, action) for kind in KINDS), detectors="2")  # type: ignore[misc]


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While it is there, what finds names is not."""
    return tmp_path_factory.mktemp("gone") / "file"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker's folder."""
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def screened(upstream: SaidUpstream, root: Path, gone: Path) -> Iterator[Gateway]:
    """A worker with a deployment for each action, at a provider like OpenAI and at OpenAI."""
    again = {"retry": Retry(attempts=3)}
    plans = [
        deployment(upstream.url, name=action, aliases=(), policy=names_policy(action), **again)
        for action in ACTIONS
    ]
    plans += [
        deployment(upstream.url, name=f"openai-{each}", aliases=(), kind="openai", policy=names_policy(each))
        for each in ACTIONS
    ]
    plans += [
        deployment(upstream.url, name="engine", aliases=(), kind="local", policy=names_policy("mask")),
        deployment(upstream.url),
    ]
    with Gateway(root, *plans, process="tests.support.gateway_names", options=(str(gone),)) as running:
        yield running


@pytest.fixture(autouse=True)
def usual(upstream: SaidUpstream) -> None:
    """The upstream as it was at first."""
    upstream.write_bytes, upstream.status, upstream.done, upstream.raw = 1 << 20, 200, True, None
    upstream.events, upstream.body = [], {}


def kept(root: Path) -> str:
    """All that the worker has written: journal and ledger."""
    files = [*root.glob("journal/*/*.seg"), *root.glob("ledger.db*")]
    return b"".join(path.read_bytes() for path in files).decode("utf-8", "replace")


def cut(source: random.Random, text: str, most: int = 12) -> list[str]:
    """A text in pieces."""
    edges = sorted({0, len(text), *source.sample(range(len(text)), source.randint(0, most))})
    return [text[start:end] for start, end in pairwise(edges)]


def whole(**message: Any) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "u",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }


def child_of(gateway: Gateway) -> int | None:
    """The process that finds names for a worker."""
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("model", ["mask", "engine"])
def test_every_cutting_of_a_stream(
    screened: Gateway, upstream: SaidUpstream, root: Path, model: str, seed: int
) -> None:
    """However the upstream cuts its text, the client reads one masked text, and so does who reads records."""
    source = random.Random(seed)
    pieces = list(TEXT) if seed == 0 else cut(source, TEXT, 30)
    upstream.stream([{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)])
    upstream.write_bytes = (1 << 20, 7, 64)[seed % 3]
    response = screened.chat(f"About: {TEXT}", model=model, stream=True)
    assert text_of(response) == MASKED
    assert json.loads(upstream.seen[-1])["messages"][0]["content"] == f"About: {MASKED}"
    opened, closed = record_of(screened, response)
    assert closed["response"]["choices"][0]["message"]["content"] == MASKED
    assert opened["request"]["messages"][0]["content"] == f"About: {MASKED}"
    assert (closed["status"], closed["finish_reason"]) == ("ok", "stop")
    at = "response.choices.message.content"
    assert {kind: count for (kind, where), count in found(closed).items() if where == at} == TOLD
    assert not any(value in kept(root) for value in VALUES)


def test_every_text_of_a_stream(screened: Gateway, upstream: SaidUpstream) -> None:
    """Reasoning, refusals, and the arguments of tools, which come whole; what is told twice is taken out."""
    arguments = json.dumps({"city": "Berlin", "who": TEXT, "Jane Doe": 1, "Jane": 2})
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "Jane", "arguments": ""}}
    upstream.stream(
        [
            *({"reasoning_content": piece} for piece in cut(random.Random(1), TEXT)),
            *({"refusal": piece} for piece in cut(random.Random(2), TEXT)),
            {"tool_calls": [call]},
            *(
                {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
                for piece in cut(random.Random(3), arguments)
            ),
        ],
        finish="tool_calls",
    )
    response = screened.chat(model="mask", stream=True, logprobs=True)
    assert text_of(response, "reasoning_content") == text_of(response, "refusal") == MASKED
    deltas = [choice["delta"] for event in events_of(response) for choice in event["choices"]]
    [[called]] = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert json.loads(called["function"]["arguments"]) == {
        "city": "[LOCATION]",
        "who": MASKED,
        "[PERSON]": 1,
        "Jane": 2,
    }
    assert called["function"]["name"] == "Jane"  # what a setting is called is not read


def test_a_whole_answer(screened: Gateway, upstream: SaidUpstream) -> None:
    """A whole answer comes out as the stream does, a single word too."""
    for said, masked in ((TEXT, MASKED), ("Jane", "[PERSON]"), ("hm", "hm")):
        upstream.body = whole(content=said, reasoning_content=said)
        for model in ("mask", "openai-mask"):
            response = screened.chat(model=model)
            message = response.json()["choices"][0]["message"]
            assert (message["content"], message["reasoning_content"]) == (masked, masked)
            _, closed = record_of(screened, response)
            assert closed["response"] == response.json()
            assert len(closed["attempts"]) == 1
        upstream.stream([{"content": said}])
        assert text_of(screened.chat(model="mask", stream=True)) == masked
        upstream.events = []


def test_an_engines_whole_answer(screened: Gateway, upstream: SaidUpstream) -> None:
    """A local engine streams, whatever its client asked for."""
    upstream.stream([{"content": piece} for piece in cut(random.Random(5), TEXT)])
    response = screened.chat(model="engine")
    assert response.json()["choices"][0]["message"]["content"] == MASKED


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@pytest.mark.parametrize("seed", range(3))
def test_other_dialects(
    screened: Gateway, upstream: SaidUpstream, root: Path, dialect: str, seed: int
) -> None:
    """The other dialects, streamed and whole."""
    pieces = cut(random.Random(seed), TEXT)
    upstream.stream([{"role": "assistant"}, *({"content": piece} for piece in pieces)])
    response = say(screened, dialect, f"About: {TEXT}", model="mask", stream=True)
    assert is_whole(dialect, response)
    assert text(dialect, response, stream=True) == MASKED
    assert json.loads(upstream.seen[-1])["messages"][-1]["content"] == f"About: {MASKED}"
    record_id = response.headers["x-request-id"]
    assert recorded_text(dialect, screened.closed(record_id)["response"]) == MASKED
    assert "About: My name is [PERSON]" in json.dumps(screened.frames()[0][record_id]["request"])
    upstream.events, upstream.body = [], whole(content=TEXT)
    assert text(dialect, say(screened, dialect, TEXT, model="mask"), stream=False) == MASKED
    assert not any(value in kept(root) for value in VALUES)


def test_a_tools_input(screened: Gateway, upstream: SaidUpstream, root: Path) -> None:
    """What a client of Messages says of a tool's use is masked as its chat is, words and all."""
    upstream.body = whole(content="ok")
    used = {"type": "tool_use", "id": "t", "name": "Jane", "input": {"who": "Jane", "where": TEXT}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "Berlin"}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [used]}]
    turns.append({"role": "user", "content": [result]})
    response = say(screened, "messages", model="mask", messages=turns)
    assert response.status_code == 200, response.text
    sent = json.dumps(json.loads(upstream.seen[-1]))
    assert ("Jane Doe" not in sent, "Berlin" not in sent, '"name": "Jane"' in sent) == (True, True, True)
    opened = json.dumps(screened.frames()[0][response.headers["x-request-id"]]["request"])
    assert '"who": "[PERSON]"' in opened
    assert "Berlin" not in opened


@pytest.mark.parametrize("cutting", [None, 1, 20, 90, 150])
def test_responses_that_pass(
    screened: Gateway, upstream: SaidUpstream, root: Path, cutting: int | None
) -> None:
    """What OpenAI says in its own words: every text, in pieces and in all that repeats them."""
    upstream.done = False
    upstream.body = response_of(TEXT)
    upstream.events = [] if cutting is None else response_events(TEXT, cutting)
    response = say(screened, "responses", TEXT, model="openai-mask", stream=cutting is not None)
    assert upstream.paths[-1] == "/v1/responses"
    made = response.json() if cutting is None else streamed(response)[-1][1]["response"]
    assert made["output"] == response_of(MASKED)["output"]
    if cutting is not None:
        assert text("responses", response, stream=True) == MASKED
    assert screened.closed(response.headers["x-request-id"])["response"]["output"] == made["output"]
    assert not any(value in response.text + kept(root) for value in VALUES)


def test_tokens(screened: Gateway, upstream: SaidUpstream, root: Path) -> None:
    """The client gets its own names back, whatever their letters; the upstream sees who is who."""
    said = "Tell <PERSON_2> and <PERSON_1>."
    for stream in (False, True):
        upstream.body = whole(content=said)
        if stream:
            upstream.stream([{"content": piece} for piece in cut(random.Random(2), said)])
        response = screened.chat("From Łukasz Żak, to Ann Lee: łukasz?", model="tokenize", stream=stream)
        got = text_of(response) if stream else response.json()["choices"][0]["message"]["content"]
        assert got == "Tell Ann Lee and Łukasz Żak."
        sent = json.loads(upstream.seen[-1])["messages"][0]["content"]
        assert sent == "From <PERSON_1>, to <PERSON_2>: łukasz?"
    assert "Ann Lee" not in kept(root)


def test_blocked(screened: Gateway, upstream: SaidUpstream, root: Path) -> None:
    """A request is refused; of an answer the client has what came before the first name."""
    asked = screened.chat(TEXT, model="block")
    assert (asked.status_code, asked.json()["error"]["code"]) == (400, "content_policy"), asked.text
    assert "hold person;" in asked.json()["error"]["message"]
    upstream.body = whole(content=TEXT)
    said = screened.chat(model="block").json()["choices"][0]
    assert (said["message"]["content"], said["finish_reason"]) == ("My name is ", "content_filter")
    upstream.body = response_of(TEXT)
    said = say(screened, "responses", "hi", model="openai-block").json()
    assert (said["status"], said["incomplete_details"]["reason"]) == ("incomplete", "content_filter")
    upstream.body = whole(content="short", role="for Jane Doe")
    assert "Jane" not in screened.chat(model="block").text
    for seed in range(4):
        upstream.stream([{"content": piece} for piece in cut(random.Random(seed), TEXT)])
        response = screened.chat(model="block", stream=True)
        assert text_of(response) == "My name is "
        assert events_of(response)[-1]["choices"][0]["finish_reason"] == "content_filter"
        assert screened.closed(response.headers["x-request-id"])["status"] == "refused"
    assert not any(value in kept(root) for value in VALUES)


def test_observed(screened: Gateway, upstream: SaidUpstream) -> None:
    """Nothing changes but what the record tells."""
    upstream.stream([{"content": piece} for piece in list(TEXT)])
    response = screened.chat(TEXT, model="observe", stream=True)
    said = [event["choices"][0]["delta"].get("content") for event in events_of(response)[: len(TEXT)]]
    assert said == list(TEXT)
    _, closed = record_of(screened, response)
    at = "response.choices.message.content"
    assert {kind: count for (kind, where), count in found(closed).items() if where == at} == TOLD


def test_embeddings_and_counts(screened: Gateway, upstream: SaidUpstream) -> None:
    """Other routes that take text."""
    upstream.body = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}
    with screened.client() as client:
        client.post("/v1/embeddings", json={"model": "mask", "input": [TEXT, "Jane"]})
    assert json.loads(upstream.seen[-1])["input"] == [MASKED, "[PERSON]"]
    before = len(upstream.seen)
    counted = {"model": "block", "max_tokens": 9, "messages": [{"role": "user", "content": TEXT}]}
    with screened.client() as client:
        assert client.post("/v1/messages/count_tokens", json=counted).status_code == 400
    assert len(upstream.seen) == before


@pytest.mark.parametrize("path", ["embeddings", "images/generations", "audio/speech"])
@pytest.mark.parametrize("action", ["mask", "block", "observe"])
def test_answers_that_are_no_chat(screened: Gateway, upstream: SaidUpstream, path: str, action: str) -> None:
    """Names in them are found as well, in JSON of any size and in other text."""
    text = "Call Ann Lee in New York, please."
    upstream.body = {"data": [{"embedding": [0.5], "revised_prompt": text}], "filled": " " * 80_000}
    if path == "audio/speech":
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
        upstream.raw = head + text.encode()
    asked = {"model": action, "prompt" if path == "images/generations" else "input": "hi"}
    with screened.client() as client:
        response = client.post(f"/v1/{path}", json=asked)
    closed = screened.closed(response.headers["x-request-id"])
    assert response.status_code == (400 if action == "block" else 200), response.text
    assert ("Ann Lee" in response.text) == (action == "observe")
    assert ("Ann Lee" in json.dumps(closed)) == (action == "observe" and path == "embeddings")
    unread = action == "observe" and path == "images/generations"  # which is long, and goes out as it comes
    assert ("person" in {each["kind"] for each in closed["policy"]}) != unread


def test_spans(screened: Gateway) -> None:
    """What apps send as traces is masked, too."""
    spans = request(llm(2, 1, attributes={"note": f"said {TEXT}"}))
    with screened.client() as client:
        answer = client.post("/v1/traces", content=json.dumps(spans).encode(), headers=JSON)
    assert answer.status_code == 200, answer.text
    assert screened.spans()[-1]["attributes"]["note"] == f"said {MASKED}"
    assert not any(value in json.dumps(screened.spans()) for value in VALUES)


def opinion(gateway: Gateway, record_id: str, said: str) -> httpx2.Response:
    """What somebody thinks of a call."""
    body = {"record_id": record_id, "name": "helpful", "value": said, "comment": f"I think {said}"}
    with gateway.client() as client:
        return client.post("/v1/feedback", json=body)


def test_feedback(screened: Gateway, upstream: SaidUpstream, root: Path, gone: Path) -> None:
    """Comments and labels are masked, and refused while nobody can."""
    upstream.body = whole(content="ok")
    until(lambda: is_back(screened))
    record_id = screened.chat(model="mask").headers["x-request-id"]
    assert opinion(screened, record_id, "Jane Doe of Berlin").status_code == 202
    score = screened.scores()[-1]
    assert (score["value"], score["comment"]) == (
        "[PERSON] of [LOCATION]",
        "I think [PERSON] of [LOCATION]",
    )
    gone.touch()
    try:
        refused = opinion(screened, record_id, "an untold Jane Doe")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "names_away")
    finally:
        gone.unlink()
    until(lambda: is_back(screened))
    assert "an untold" not in kept(root)


def test_a_history_is_read_once(screened: Gateway, upstream: SaidUpstream, gone: Path) -> None:
    """What was read is known: while nobody reads, only what is new is refused."""
    upstream.body = whole(content="ok")
    turns = [{"role": "user", "content": f"{number}: {TEXT}"} for number in range(8)]
    assert screened.chat(messages=turns, model="mask").status_code == 200
    gone.touch()
    try:
        assert screened.chat(messages=turns, model="mask").status_code == 200
        turns.append({"role": "user", "content": "and something new"})
        assert screened.chat(messages=turns, model="mask").status_code == 503
    finally:
        gone.unlink()


def is_back(gateway: Gateway) -> bool:
    """Whether names are found again."""
    return gateway.chat(f"new: {random.random()}", model="mask").status_code == 200


def test_nothing_passes_while_it_is_away(
    screened: Gateway, upstream: SaidUpstream, root: Path, gone: Path
) -> None:
    """Requests, answers and streams are refused and say why, nothing unread is sent, recorded, or counted
    against the provider; then all is well again."""
    upstream.body = whole(content="ok")
    until(lambda: is_back(screened))
    gone.touch()
    try:
        before = len(upstream.seen)
        for model in ("mask", "tokenize", "block", "observe"):
            refused = screened.chat(f"{model} secretly Jane Doe", model=model)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "names_away")
            assert "looks for names" in refused.json()["error"]["message"]
            assert "retry-after" in refused.headers
        assert len(upstream.seen) == before
        for said in ({"content": "An unheard-of Jane Doe"}, {"refusal": "Unheard-of Jane Doe"}):
            upstream.body = whole(**said)
            refused = screened.chat("hi", model="mask")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "names_away"), refused.text
            closed = screened.closed(refused.headers["x-request-id"])
            assert (closed["status"], len(closed["attempts"])) == ("error", 1)
        for pieces in (["A new Jane Doe is "] * 8, [f"{MASKED} ", "A new Jane Doe"]):
            upstream.stream([{"role": "assistant"}, *({"content": piece} for piece in pieces)])
            for dialect in ("messages", "responses"):
                response = say(screened, dialect, "hi", model="mask", stream=True)
                assert "Jane" not in response.text
                if response.status_code == 200:
                    assert "looks for names" in error_in_stream(dialect, response)["message"]
        spans = request(llm(2, 1, attributes={"note": "An unheard-of Jane Doe of spans"}))
        with screened.client() as client:
            answer = client.post("/v1/traces", content=json.dumps(spans).encode(), headers=JSON)
        assert answer.status_code == 503
        upstream.events, upstream.body = [], whole(content="ok")
        assert screened.chat("hi").status_code == 200  # what is under no such policy goes on
        upstream.status = 400
        upstream.body = {"error": {"message": "no Jane Doe of errors here", "type": "x", "code": None}}
        refused = screened.chat("hi", model="mask")
        assert (refused.status_code, "left out" in refused.text) == (400, True), refused.text
        assert not any(word in kept(root) for word in ("secretly", "nheard-of", "A new Jane", "of errors"))
    finally:
        gone.unlink()
    upstream.status, upstream.body = 200, whole(content=TEXT)
    until(lambda: is_back(screened))
    assert screened.chat("hi", model="mask").json()["choices"][0]["message"]["content"] == MASKED


def test_its_death_in_the_middle_of_streams(screened: Gateway, upstream: SaidUpstream) -> None:
    """A stream whose names cannot be found ends with an error; the next finds them again."""
    upstream.body = whole(content="ok")
    until(lambda: is_back(screened))
    source = random.Random(3)
    texts = [" ".join(f"{source.random()} from Jane Doe in Berlin." for _ in range(40)) for _ in range(12)]
    got: list[httpx2.Response] = []

    def call(said: str) -> None:
        got.append(screened.chat(said, model="mask", stream=True))

    upstream.stream([{"content": piece} for piece in cut(source, " ".join(texts), 200)])
    threads = [threading.Thread(target=call, args=[said]) for said in texts]
    for thread in threads:
        thread.start()
    child = child_of(screened)
    assert child is not None
    os.kill(child, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert len(got) == len(texts)
    assert not any(value in response.text for response in got for value in VALUES)
    assert {response.status_code for response in got} <= {200, 503}
    upstream.events = []
    until(lambda: is_back(screened))
    assert child_of(screened) not in {None, child}


def test_it_ends_with_its_worker(upstream: SaidUpstream, own_root: Path, gone: Path) -> None:
    """No process is there before a plan needs one, and none when the worker is gone, however that went."""
    options = {"process": "tests.support.gateway_names", "options": (str(gone),)}
    upstream.body = whole(content="ok")
    with Gateway(own_root, deployment(upstream.url), **options) as running:  # type: ignore[arg-type]
        assert running.chat("hi").status_code == 200
        assert child_of(running) is None
        running.publish(deployment(upstream.url, policy=names_policy("mask")))
        child: int = until(lambda: child_of(running))
        running.process.kill()
        until(lambda: not alive(child))
        running.process.wait()
        running.restart()
