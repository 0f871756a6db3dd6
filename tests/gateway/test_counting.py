"""Dialects in front of a real local engine: the count is what a call uses, and answers are the model's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.release import ModelVersion, Release
from tests.gateway.test_responses_native import native
from tests.support.engine import shallow_weights
from tests.support.engine_process import SLOT_TOKENS, Engine, engine
from tests.support.gateway import DIGEST, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, is_whole, say, streamed, text


@pytest.fixture(scope="module")
def running() -> Iterator[Engine]:
    """One engine for the module."""
    with engine(weights=shallow_weights()) as started:
        yield started


@pytest.fixture(scope="module")
def gateway(
    running: Engine, upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker in front of both; `led` has a prompt of its own."""
    local: dict[str, Any] = {"kind": "local", "upstream_model": "tiny", "slot_tokens": SLOT_TOKENS}
    model = ModelVersion(provider="local", kind="local", model="file:tiny")
    led = Release(digest=DIGEST, name="led", model=model, prompt="You count sheep, and like it.")
    url = f"{running.url}/v1"
    plans = (
        deployment(url, **local),
        deployment(url, name="led", aliases=(), stable=led, **local),
        deployment(upstream.url, name="claude", aliases=(), kind="anthropic"),
        native(upstream.url, name="gpt", aliases=()),
        deployment(upstream.url, name="other", aliases=()),
    )
    with Gateway(tmp_path_factory.mktemp("engine"), *plans) as started:
        yield started


def counted(gateway: Gateway, **body: Any) -> Any:
    """The answer to a count."""
    with gateway.client() as client:
        return client.post("/v1/messages/count_tokens", json={"model": "gpt-4o"} | body)


@pytest.mark.parametrize("model", ["assistant", "led"])
def test_the_count_is_what_a_call_uses(gateway: Gateway, model: str) -> None:
    """The engine's tokenizer counts the prompt as it is sent, the release's own words included."""
    body: dict[str, Any] = {
        "model": model,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Name three colours."}]}],
    }
    response = counted(gateway, **body)
    assert response.status_code == 200, response.text
    assert "x-airboss-estimated" not in response.headers
    used = say(gateway, "messages", **body | {"max_tokens": 2}).json()["usage"]
    assert response.json()["input_tokens"] == used["input_tokens"] + used["cache_read_input_tokens"]


def test_a_release_with_a_prompt_counts_otherwise(gateway: Gateway) -> None:
    """What the release adds is counted, and what its template then leaves out is not."""
    messages = [{"role": "user", "content": "hi"}]
    alone, led = (counted(gateway, model=m, messages=messages).json() for m in ("gpt-4o", "led"))
    assert led["input_tokens"] != alone["input_tokens"]


def test_errors_of_the_engine(gateway: Gateway) -> None:
    """What a local model cannot read is refused, in Anthropic's shape, before it is counted."""
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    response = counted(gateway, messages=[{"role": "user", "content": [image]}])
    assert response.status_code == 400
    assert error("messages", response)["code"] == "content_unsupported"


def test_anthropic_counts_itself(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A provider that speaks Anthropic is asked, with what it counts and nothing else."""
    upstream.body = {"input_tokens": 7}
    response = counted(
        gateway, model="claude", messages=[{"role": "user", "content": "hi"}], temperature=0.5, system="S"
    )
    assert response.json() == {"input_tokens": 7}
    assert set(json.loads(upstream.seen[-1])) == {"model", "messages", "system"}
    for odd in ({"odd": 1}, {"input_tokens": -1}):
        upstream.body = odd
        assert (
            counted(gateway, model="claude", messages=[{"role": "user", "content": "x"}]).status_code == 502
        )


@pytest.mark.parametrize(("status", "counts"), [(404, True), (405, True), (400, False), (500, False)])
def test_who_speaks_as_anthropic_need_not_count(
    gateway: Gateway, upstream: SaidUpstream, status: int, counts: bool
) -> None:
    """Where a provider lacks the route the answer is an estimate, and says so; other errors are told."""
    upstream.status, upstream.body = status, b'{"error":{"message":"no such route","type":"not_found_error"}}'
    try:
        answer = counted(gateway, model="claude", messages=[{"role": "user", "content": "hi there"}])
    finally:
        upstream.status = 200
    assert (answer.status_code == 200) == counts, answer.text
    if counts:
        assert answer.json()["input_tokens"] > 0
        assert "x-airboss-estimated" in answer.headers


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_answers(gateway: Gateway, dialect: str, stream: bool) -> None:
    """A local model answers in every dialect, and the limit that ended it is told."""
    limit = {"max_tokens": 4} if dialect == "messages" else {"max_output_tokens": 4}
    response = say(gateway, dialect, "Count to ten.", stream=stream, temperature=0, **limit)
    assert text(dialect, response, stream=stream)
    assert not stream or is_whole(dialect, response)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["finish_reason"], end["output_tokens"]) == ("length", 4)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_goes_on_from_an_assistants_turn(gateway: Gateway, running: Engine, stream: bool) -> None:
    """It is what the model says behind what the client began, which is not said again."""
    asked, begun = {"role": "user", "content": "Count to ten."}, "One, two,"
    turns = [asked, {"role": "assistant", "content": begun}]
    response = say(gateway, "messages", messages=turns, max_tokens=4, temperature=0, stream=stream)
    prompt = running.ask("/apply-template", {"messages": [asked]}).json()["prompt"] + begun
    behind = running.ask("/completion", {"prompt": prompt, "n_predict": 4, "temperature": 0}).json()
    assert text("messages", response, stream=stream) == behind["content"]


def test_a_schema(gateway: Gateway) -> None:
    """A schema binds the answer, by either dialect's word for it."""
    schema = {"type": "string", "enum": ["seven"]}
    bound = {"format": {"type": "json_schema", "schema": schema}}
    response = say(gateway, "messages", "A number?", output_config=bound, max_tokens=40)
    assert json.loads(text("messages", response, stream=False)) == "seven"
    bound["format"]["name"] = "n"
    response = say(gateway, "responses", "A number?", text=bound, stream=True, max_output_tokens=40)
    last = streamed(response)[-1][1]["response"]["output"][0]["content"][0]["text"]
    assert json.loads(last) == "seven"


def counted_input(gateway: Gateway, **body: Any) -> Any:
    """The answer to a count of what a Response would send."""
    with gateway.client() as client:
        return client.post("/v1/responses/input_tokens", json=body)


@pytest.mark.parametrize("model", ["assistant", "led"])
def test_the_count_is_what_a_response_uses(gateway: Gateway, model: str) -> None:
    """With what it builds on, and the release's own words."""
    first = say(gateway, "responses", "Name a colour.", model=model, max_output_tokens=2).json()
    body = {
        "model": model,
        "input": "Another.",
        "previous_response_id": first["id"],
        "instructions": "Be brief.",
    }
    response = counted_input(gateway, **body)
    assert response.status_code == 200, response.text
    assert "x-airboss-estimated" not in response.headers
    used = say(gateway, "responses", **body | {"max_output_tokens": 2}).json()["usage"]
    assert response.json() == {"object": "response.input_tokens", "input_tokens": used["input_tokens"]}


def test_openai_counts_itself(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A provider that has Responses is asked, with what it counts and nothing else; another one's count is an
    estimate, as is that of one that cannot count."""
    upstream.body = {"object": "response.input_tokens", "input_tokens": 7}
    body: dict[str, Any] = {"input": "hi there", "instructions": "S", "store": False, "stream": True}
    assert counted_input(gateway, model="gpt", **body).json()["input_tokens"] == 7
    assert upstream.paths[-1] == "/v1/responses/input_tokens"
    assert json.loads(upstream.seen[-1]) == {"model": "up", "input": "hi there", "instructions": "S"}
    assert counted_input(gateway, model="other", **body).headers["x-airboss-estimated"] == "true"
    upstream.status, upstream.body = 404, b'{"error":{"message":"no such route"}}'
    try:
        assert counted_input(gateway, model="gpt", **body).headers["x-airboss-estimated"] == "true"
    finally:
        upstream.status = 200
    refused = counted_input(gateway, model="nobody", input="x")
    assert (refused.status_code, set(refused.json())) == (404, {"error"})
