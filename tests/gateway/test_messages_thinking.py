"""Anthropic's clients in front of OpenAI's models that think and call tools in Responses alone."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import DeploymentPlan
from tests.support.gateway import Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream

TOOLS = [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}]
THINKING = {"type": "enabled", "budget_tokens": 20_000}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA+b/c="}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"x":1}',
    "status": "completed",
}
USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 5},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
}


def plans(url: str, _secret: str) -> list[DeploymentPlan]:
    """Two such models, one before them, Claude, and one whose server has chat alone."""

    def gpt(name: str, model: str = "gpt-5.6-terra", **more: Any) -> DeploymentPlan:
        return deployment(url, name=name, aliases=(), kind="openai", upstream_model=model, **more)

    return [
        gpt("gpt"),
        gpt("astra", "gpt-6-astra", drop_unsupported=True),
        gpt("before", "gpt-5.2"),
        gpt("chats", responses=False),
        deployment(url, name="claude", aliases=(), kind="anthropic", upstream_model="claude-sonnet-4-5"),
    ]


worker, gateway = said_gateway(plans)


def ask(gateway: Gateway, model: str, *more: dict[str, Any], **fields: Any) -> httpx2.Response:
    """Ask with a tool."""
    said = [{"role": "user", "content": "hi"}, *more]
    body = {"model": model, "max_tokens": 50, "messages": said, "tools": TOOLS, **fields}
    with gateway.client() as client:
        return client.post("/v1/messages", json=body)


def answers(upstream: SaidUpstream, *output: dict[str, Any], stream: bool) -> None:
    """Have the upstream answer with these items."""
    whole = {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-5.6-terra-2026",
        "status": "completed",
        "output": output,
        "usage": USAGE,
    }
    if not stream:
        upstream.body, upstream.events = whole, []
        return
    begun = {"id": "resp_1", "object": "response", "model": whole["model"], "status": "in_progress"}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for at, item in enumerate(output):
        where = {"output_index": at}
        empty = item | ({"arguments": ""} if item["type"] == "function_call" else {})
        events.append({"type": "response.output_item.added", **where, "item": empty})
        if item["type"] == "function_call":
            piece = {"delta": item["arguments"], **where}
            events.append({"type": "response.function_call_arguments.delta", **piece})
        events.append({"type": "response.output_item.done", **where, "item": item})
    events.append({"type": "response.completed", "response": whole})
    upstream.events, upstream.done = [json.dumps(each) for each in events], False


def message(answer: httpx2.Response, *, stream: bool) -> dict[str, Any]:
    """The message of an answer, put together as Anthropic's clients do."""
    assert answer.status_code == 200, answer.text
    if not stream:
        whole: dict[str, Any] = answer.json()
        return whole
    made: dict[str, Any] = {}
    for line in answer.text.splitlines():
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        match event.get("type"):
            case "message_start":
                made = event["message"]
            case "content_block_start":
                made["content"].append(event["content_block"])
            case "content_block_delta":
                block = made["content"][event["index"]]
                for name, piece in event["delta"].items():
                    block[name] = block.get(name, "") + piece if name != "type" else block[name]
            case "message_delta":
                made |= event["delta"] | {"usage": event["usage"]}
    for block in made["content"]:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block.pop("partial_json"))
    return made


@pytest.mark.parametrize("stream", [False, True])
def test_they_think_and_call_tools(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """What was asked goes to `/responses`, with the effort; what was thought comes back as a block, and goes
    back with the call to the model whose it is, and to no other."""
    answers(upstream, THOUGHT, CALL, stream=stream)
    said = message(ask(gateway, "gpt", thinking=THINKING, stream=stream), stream=stream)
    sent = json.loads(upstream.seen[-1])
    assert upstream.paths[-1].endswith("/responses")
    assert (sent["model"], sent["reasoning"], sent["store"]) == ("gpt-5.6-terra", {"effort": "high"}, False)
    assert (sent["max_output_tokens"], sent["include"]) == (50, ["reasoning.encrypted_content"])
    function = {"name": "f", "description": "d", "parameters": TOOLS[0]["input_schema"]}
    assert sent["tools"] == [{"type": "function", **function, "strict": False}]
    assert not {"messages", "reasoning_effort", "stream_options", "max_tokens"} & sent.keys()
    thought, call = said["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", "")
    assert call == {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}}
    assert said["stop_reason"] == "tool_use"
    assert (said["usage"]["input_tokens"], said["usage"]["cache_read_input_tokens"]) == (15, 5)
    assert said["usage"]["output_tokens"] == 9
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}
    turns = ({"role": "assistant", "content": said["content"]}, {"role": "user", "content": [result]})
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]}
    answers(upstream, text, stream=False)
    assert message(ask(gateway, "gpt", *turns), stream=False)["content"] == [
        {"type": "text", "text": "Well."}
    ]
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    called = {name: CALL[name] for name in ("type", "call_id", "name", "arguments")}
    given = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    sent = json.loads(upstream.seen[-1])
    assert sent["input"] == [asked, THOUGHT, called, given]
    assert "reasoning" not in sent, "nobody asked for an effort"
    ask(gateway, "astra", *turns)
    assert json.loads(upstream.seen[-1])["input"] == [asked, called, given]
    upstream.body = {"type": "message", "role": "assistant", "content": [], "model": "c", "usage": {}}
    ask(gateway, "claude", *turns)
    sent = json.loads(upstream.seen[-1])
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["tool_use"]
    upstream.body = {"model": "up", "choices": [{"index": 0, "message": {"content": "a"}}]}
    for model in ("before", "chats"):
        ask(gateway, model, *turns)
        assert b"gAAA" not in upstream.seen[-1]
        assert not upstream.paths[-1].endswith("/responses")


def test_a_server_without_the_route_has_chat(gateway: Gateway, upstream: SaidUpstream) -> None:
    """There they are told not to think, and a header says so."""
    upstream.body = {"model": "up", "choices": [{"index": 0, "message": {"content": "a"}}]}
    answer = ask(gateway, "chats", thinking=THINKING)
    assert answer.headers["x-airboss-dropped"] == "reasoning_effort"
    assert json.loads(upstream.seen[-1])["reasoning_effort"] == "none"
    upstream.status, upstream.body = 404, {"detail": "Not Found"}
    ask(gateway, "astra", thinking=THINKING)
    assert [each.rpartition("/")[2] for each in upstream.paths[-2:]] == ["responses", "completions"]
    assert json.loads(upstream.seen[-1])["reasoning_effort"] == "none"


def test_what_they_have_no_words_for(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Stop sequences are refused by the client's own name, or left out where the provider says so."""
    answers(upstream, stream=False)
    refused = ask(gateway, "gpt", stop_sequences=["x"])
    assert refused.status_code == 400
    assert "stop_sequences" in refused.json()["error"]["message"]
    assert upstream.seen == []
    # Who thinks refuses to be told how to sample.
    answer = ask(gateway, "gpt", temperature=0, top_p=1)
    assert answer.headers["x-airboss-dropped"] == "temperature"
    assert not {"temperature", "top_p"} & json.loads(upstream.seen[-1]).keys()
    assert "x-airboss-dropped" not in ask(gateway, "gpt", temperature=1).headers
    # Forms, choices and efforts that they have.
    form = {"type": "json_schema", "schema": {"type": "object"}}
    config = {"format": form, "effort": "max"}
    ask(gateway, "gpt", output_config=config, tool_choice={"type": "tool", "name": "f"})
    sent = json.loads(upstream.seen[-1])
    assert sent["tool_choice"] == {"type": "function", "name": "f"}
    assert sent["reasoning"] == {"effort": "max"}
    named = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert sent["text"] == {"format": {"type": "json_schema", **named}}


def test_long_ids_are_sent_by_their_hash(gateway: Gateway, upstream: SaidUpstream) -> None:
    """OpenAI takes 64 characters: Claude Code's users have more, and calls of other servers. The record has
    them whole."""
    user, call = json.dumps({"device_id": "d" * 64, "session_id": "s" * 36}), "c" * 116
    used = {"type": "tool_use", "id": call, "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": call, "content": "sunny"}
    turns = ({"role": "assistant", "content": [used]}, {"role": "user", "content": [result]})
    answers(upstream, stream=False)
    said = ask(gateway, "gpt", *turns, metadata={"user_id": user})
    sent = json.loads(upstream.seen[-1])
    assert gateway.frames()[0][said.headers["x-request-id"]]["user"] == user
    assert len(sent["user"]) == 32
    assert len({each["call_id"] for each in sent["input"] if "call_id" in each}) == 1
    assert len(sent["input"][1]["call_id"]) == 32
    upstream.body = {"model": "up", "choices": [{"index": 0, "message": {"content": "a"}}]}
    for model in ("before", "chats"):
        ask(gateway, model, *turns, metadata={"user_id": user})
        assert json.loads(upstream.seen[-1])["user"] == sent["user"]
    ask(gateway, "before", metadata={"user_id": "u" * 64})
    assert json.loads(upstream.seen[-1])["user"] == "u" * 64
