"""`/v1/messages` through the real gateway: what goes upstream, what is recorded, who is assigned where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import Canary, Served
from airboss.domain.release import ModelVersion, Release
from airboss.testing import FakeProvider
from tests.support.gateway import DIGEST, KEY, Gateway, deployment
from tests.support.spoken import error, say, streamed, text

TOOL = {"name": "look_up", "description": "d", "input_schema": {"type": "object"}}


def sent(provider: FakeProvider) -> Any:
    """What went upstream last."""
    return json.loads(provider.last().body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """A call goes upstream as chat, and its record has what the client sent and got."""
    body: dict[str, Any] = {
        "system": "Be kind.",
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1", "session_id": "s-1", "team": "blue"},
        "stream": stream,
    }
    response = say(gateway, "messages", 'fake:{"words": 4, "cached_tokens": 2}', **body)
    assert response.status_code == 200
    asked = sent(provider)
    assert asked["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (asked["model"], asked["stop"], asked["max_tokens"]) == ("up", ["END"], 1000)
    assert asked["user"] == "u-1"
    record_id = response.headers["x-request-id"]
    assert response.headers["request-id"] == record_id
    assert response.headers["x-airboss-release"] == DIGEST
    opened, closed = gateway.frames()[0][record_id], gateway.closed(record_id)
    assert (opened["operation"], opened["user"], opened["session"]) == ("chat", "u-1", "s-1")
    assert opened["tags"] == {"team": "blue"}
    assert opened["request"]["system"] == "Be kind."
    assert opened["request"]["metadata"]["user_id"] == "u-1"
    assert (closed["status"], closed["finish_reason"]) == ("ok", "stop")
    assert closed["response"]["content"] == [
        {"type": "text", "text": text("messages", response, stream=stream)}
    ]
    usage = dict(streamed(response))["message_delta"]["usage"] if stream else response.json()["usage"]
    assert usage == closed["response"]["usage"]
    assert usage["cache_read_input_tokens"] == closed["cached_input_tokens"] == 2
    assert usage["input_tokens"] == closed["input_tokens"] - 2
    assert usage["output_tokens"] == closed["output_tokens"] == 4
    if stream:  # begun with what the prompt is reckoned at, as `/v1/messages/count_tokens` says it
        begun = dict(streamed(response))["message_start"]["message"]["usage"]
        assert (begun["input_tokens"], begun["output_tokens"]) == (12, 0)
    if not stream:
        assert float(response.headers["x-airboss-cost-usd"]) == pytest.approx(closed["cost_usd"])
        assert response.json() == closed["response"]


@pytest.mark.parametrize("stream", [False, True])
def test_tools(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Parallel calls come as blocks, and their results go back as messages of their own."""
    provider.script("tool-split")
    response = say(gateway, "messages", tools=[TOOL], stream=stream)
    blocks = gateway.closed(response.headers["x-request-id"])["response"]["content"]
    assert [block["name"] for block in blocks] == ["look_up", "look_up"]
    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "sunny"} for block in blocks]
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [*results, {"type": "text", "text": "so?"}]},
    ]
    assert say(gateway, "messages", messages=turns, tools=[TOOL]).status_code == 200
    roles = [message["role"] for message in sent(provider)["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user"]
    calls = sent(provider)["messages"][1]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        block["input"] for block in blocks
    ]


def test_max_tokens_is_needed(gateway: Gateway, provider: FakeProvider) -> None:
    """As Anthropic does, a request without a limit is refused."""
    response = say(gateway, "messages", max_tokens=None)
    assert response.status_code == 400
    assert error("messages", response)["param"] == "max_tokens"
    assert provider.stats().requests == 0


@pytest.mark.parametrize("kind", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_thread_is_refused_as_sdks_read_it(
    gateway: Gateway, provider: FakeProvider, kind: dict[str, str]
) -> None:
    """Anthropic's tool runners ask for one unless told otherwise, and read there to send all messages."""
    response = say(gateway, "messages", thread=kind)
    assert response.status_code == 400
    said = response.json()["error"]
    assert (said["param"], said["details"]["error_code"]) == ("thread", "thread_unsupported_request")
    assert said["details"]["unsupported"] == ["thread"]
    assert provider.stats().requests == 0


def test_x_api_key(gateway: Gateway, provider: FakeProvider) -> None:
    """Anthropic's headers are taken, and none of them goes upstream."""
    body = {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "x"}
    with gateway.client() as client:
        del client.headers["authorization"]
        assert client.post("/v1/messages", json=body, headers=headers).status_code == 200
    assert provider.last().header("anthropic-version") is None
    assert provider.last().header("authorization") == "Bearer sk-provider-secret-0123456789"


def test_what_openai_does_not_know_stays_away(gateway: Gateway, provider: FakeProvider) -> None:
    """Signed thoughts and cache marks do not go to an upstream that speaks OpenAI's dialect."""
    mark = {"type": "ephemeral"}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": mark}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "y"},
            ],
        },
        {"role": "user", "content": "z"},
    ]
    response = say(gateway, "messages", messages=turns, context_management={"edits": []})
    assert response.status_code == 200
    assert response.headers["x-airboss-dropped"] == "context_management"
    assert "cache_control" not in provider.last().body
    assert "thinking" not in provider.last().body
    record = gateway.frames()[0][response.headers["x-request-id"]]
    assert record["request"]["messages"] == turns


def test_releases_prompt_and_parameters(own_root: Path, provider: FakeProvider) -> None:
    """A release's prompt comes before the client's system, and its forced parameters win."""
    release = Release(
        digest=DIGEST,
        name="r",
        model=ModelVersion(provider="fake", kind="openai-compatible", model="up"),
        prompt="Speak {{ tongue }}.",
        params={"temperature": 0.1},
        params_force={"max_tokens": 7},
    )
    with Gateway(own_root, deployment(provider.url, stable=release)) as gateway:
        response = say(gateway, "messages", system="S", prompt_variables={"tongue": "Dutch"}, temperature=0.9)
        assert response.status_code == 200
        asked = sent(provider)
        assert [each["content"] for each in asked["messages"]] == ["Speak Dutch.\n\nS", "hi"]
        assert (asked["max_tokens"], asked["temperature"]) == (7, 0.9)
        assert "prompt_variables" not in asked
        missing = say(gateway, "messages")
        assert missing.status_code == 400
        assert "tongue" in error("messages", missing)["message"]


def test_rollouts(own_root: Path, provider: FakeProvider) -> None:
    """A user of any dialect is on one arm, and both dialects agree which."""
    plan = deployment(provider.url)
    canary = Release(digest="c" * 64, name="canary", model=plan.stable.model)
    served = Served(release=canary, target=plan.target)
    rolled = deployment(provider.url, canary=Canary(rollout="r", served=served, weight=0.5, salt="s"))
    with Gateway(own_root, rolled) as gateway:
        seen = set()
        for number in range(12):
            user = f"u-{number}"
            arms = {
                say(gateway, "messages", metadata={"user_id": user}).headers["x-airboss-arm"],
                say(gateway, "responses", user=user).headers["x-airboss-arm"],
                gateway.chat(user=user).headers["x-airboss-arm"],
            }
            assert len(arms) == 1
            seen |= arms
        assert seen == {"stable", "canary"}


def test_a_model_without_tools(gateway: Gateway, provider: FakeProvider) -> None:
    """A deployment whose model has no tools says so, in Anthropic's shape."""
    response = say(gateway, "messages", model="no-tools", tools=[TOOL])
    assert response.status_code == 400
    assert error("messages", response)["code"] == "tools_unsupported"
    assert provider.stats().requests == 0


def test_counting_without_a_tokenizer_is_an_estimate(gateway: Gateway, provider: FakeProvider) -> None:
    """Where nobody can count, the count is an estimate that says so, and nothing is asked or recorded."""
    turns = [{"role": "user", "content": "x" * 400}]
    with gateway.client() as client:
        response = client.post(
            "/v1/messages/count_tokens", json={"model": "gpt-4o", "messages": turns, "system": "y" * 40}
        )
    assert response.json() == {"input_tokens": 110}
    assert response.headers["x-airboss-estimated"] == "true"
    assert provider.stats().requests == 0
    assert response.headers["x-request-id"] not in gateway.frames()[0]


def test_counting_images(gateway: Gateway) -> None:
    """An image counts as much as it can cost."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 9000}}
    with gateway.client() as client:
        response = client.post(
            "/v1/messages/count_tokens",
            json={"model": "gpt-4o", "messages": [{"role": "user", "content": [image]}]},
        )
    assert 1_600 <= response.json()["input_tokens"] <= 1_601


def test_errors_of_counting(gateway: Gateway) -> None:
    """They have Anthropic's shape."""
    with gateway.client() as client:
        response = client.post("/v1/messages/count_tokens", json={"model": "nope", "messages": []})
        assert response.status_code == 400
        assert error("messages", response)["param"] == "messages"
