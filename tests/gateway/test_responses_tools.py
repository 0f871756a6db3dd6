"""Tools of Responses in namespaces, and searches for tools, from one provider to another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan
from tests.gateway.test_responses_native import ANSWER, native
from tests.support.gateway import Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say, streamed

Json = dict[str, Any]
USER = {"role": "user", "content": "do"}
SCHEMA = {"type": "object", "properties": {}}
WEATHER = {"type": "function", "name": "weather", "parameters": SCHEMA}
SPACE = {"type": "namespace", "name": "mcp__wx", "description": "d", "tools": [WEATHER]}
SEARCH = {"type": "tool_search", "execution": "client", "description": "d", "parameters": SCHEMA}
CALL = {
    "type": "function_call",
    "call_id": "c1",
    "name": "weather",
    "namespace": "mcp__wx",
    "arguments": "{}",
}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
SEARCHED = {"type": "tool_search_call", "call_id": "c2", "execution": "client", "arguments": {"a": 1}}
FOUND = {"type": "tool_search_output", "call_id": "c2", "execution": "client", "tools": [SPACE]}


def plans(url: str, _secret: str) -> list[DeploymentPlan]:
    """OpenAI's Responses, and a server of chat."""
    return [native(url, aliases=("gpt-4o",)), deployment(url, name="chat", aliases=())]


worker, gateway = said_gateway(plans)


def calls(upstream: SaidUpstream, name: str, arguments: str, *, stream: bool) -> None:
    """Have a server of chat call a function."""
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    upstream.events = []
    if stream:
        upstream.stream([{"tool_calls": [call]}], "tool_calls")
        return
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.body = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice]}


def answers(upstream: SaidUpstream, id_: str, *output: Json, stream: bool) -> None:
    """Have OpenAI answer with these items."""
    made = json.loads(ANSWER) | {"id": id_, "output": list(output)}
    upstream.body, upstream.events = made, []
    if stream:
        said: list[Json] = []
        for at, item in enumerate(output):
            said.append({"type": "response.output_item.added", "output_index": at, "item": item})
            said.append({"type": "response.output_item.done", "output_index": at, "item": item})
        said.append({"type": "response.completed", "response": made})
        upstream.events = [json.dumps({"sequence_number": at} | each) for at, each in enumerate(said)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_a_server_of_chat_calls_goes_on_at_openai(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """The client is told the namespace, and OpenAI's model has it with the result."""
    calls(upstream, "mcp__wx__weather", "{}", stream=stream)
    first = say(gateway, "responses", [USER], model="chat", tools=[SPACE], stream=stream)
    assert first.status_code == 200, first.text
    assert [each["function"]["name"] for each in json.loads(upstream.seen[-1])["tools"]] == [
        "mcp__wx__weather"
    ]
    if stream:
        told = dict(streamed(first))
        assert told["response.output_item.added"]["item"]["namespace"] == "mcp__wx"
        assert told["response.function_call_arguments.done"]["name"] == "weather"
    final = told["response.completed"]["response"] if stream else first.json()
    (item,) = final["output"]
    assert {name: item[name] for name in CALL} == CALL
    answers(upstream, "resp_1", stream=False)
    again = say(gateway, "responses", [RESULT], tools=[SPACE], previous_response_id=final["id"])
    assert again.status_code == 200, again.text
    assert json.loads(upstream.seen[-1])["input"][1:] == [CALL, RESULT]
    with gateway.client() as client:
        listed = client.get("/v1/responses/resp_1/input_items").json()["data"]
    assert listed[1].items() >= CALL.items()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_openai_calls_goes_on_at_a_server_of_chat(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """By the name that the function has there, and no member besides."""
    answers(upstream, "resp_2", CALL, stream=stream)
    assert say(gateway, "responses", [USER], tools=[SPACE], stream=stream).status_code == 200
    calls(upstream, "f", "{}", stream=False)
    more = {"tools": [SPACE], "previous_response_id": "resp_2"}
    assert say(gateway, "responses", [RESULT], model="chat", **more).status_code == 200
    sent = json.loads(upstream.seen[-1])
    _, call, result = sent["messages"]
    assert call["tool_calls"][0]["function"]["name"] == sent["tools"][0]["function"]["name"]
    assert result["content"] == "sunny"
    assert b"responses_" not in upstream.seen[-1]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_search_at_openai_goes_on_there_and_elsewhere(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """OpenAI has the call before what it found; a server of chat may call that."""
    answers(upstream, "resp_3", SEARCHED, stream=stream)
    assert say(gateway, "responses", [USER], tools=[SEARCH], stream=stream).status_code == 200
    answers(upstream, "resp_4", CALL, stream=stream)
    more = {"tools": [SEARCH], "stream": stream}
    said = say(gateway, "responses", [FOUND], previous_response_id="resp_3", **more)
    assert said.status_code == 200
    assert json.loads(upstream.seen[-1])["input"] == [USER, SEARCHED, FOUND]
    calls(upstream, "f", "{}", stream=False)
    more = {"tools": [SEARCH], "previous_response_id": "resp_4"}
    assert say(gateway, "responses", [RESULT], model="chat", **more).status_code == 200
    sent = json.loads(upstream.seen[-1])
    assert [each["function"]["name"] for each in sent["tools"]] == ["tool_search", "mcp__wx__weather"]
    assert [each["role"] for each in sent["messages"]] == ["user", "assistant", "tool", "assistant", "tool"]


def test_a_search_of_a_server_of_chat_goes_on_at_openai(gateway: Gateway, upstream: SaidUpstream) -> None:
    """In OpenAI's words."""
    calls(upstream, "tool_search", '{"a":1}', stream=True)
    first = say(gateway, "responses", [USER], model="chat", tools=[SEARCH], stream=True)
    final = dict(streamed(first))["response.completed"]["response"]
    (item,) = final["output"]
    assert item.items() >= (SEARCHED | {"call_id": "c1"}).items()
    found = FOUND | {"call_id": "c1"}
    calls(upstream, "mcp__wx__weather", "{}", stream=False)
    more = {"tools": [SEARCH], "previous_response_id": final["id"]}
    second = say(gateway, "responses", [found], model="chat", **more).json()
    assert second["output"][0]["namespace"] == "mcp__wx"
    answers(upstream, "resp_5", stream=False)
    say(gateway, "responses", [RESULT], tools=[SEARCH], previous_response_id=second["id"])
    assert json.loads(upstream.seen[-1])["input"][1:] == [
        SEARCHED | {"call_id": "c1"},
        found,
        CALL,
        RESULT,
    ]
