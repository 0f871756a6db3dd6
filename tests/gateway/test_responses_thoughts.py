"""What models thought in a conversation of Responses: who wants it back has it, who refuses it has not."""

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

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}


def plans(url: str, _secret: str) -> list[DeploymentPlan]:
    """A model that wants its thoughts back, one that does not, and one that has Responses."""
    return [
        deployment(url, name="thinks", aliases=(), upstream_model="deepseek-v4", continuation="off"),
        deployment(url, name="other", aliases=(), continuation="off"),
        native(url, name="native", aliases=()),
        native(url, name="vllm", kind="openai-compatible", responses=True),
        deployment(url, name="gemini", aliases=(), kind="gemini", upstream_model="gemini-3-pro"),
        deployment(url, name="claude", aliases=(), kind="anthropic", upstream_model="claude-sonnet-4-5"),
    ]


worker, gateway = said_gateway(plans)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_loop_of_tools(
    gateway: Gateway, upstream: SaidUpstream, stream: bool, kept: bool, summary: str | None
) -> None:
    """DeepSeek's models refuse a call's result without what was thought before the call; others refuse the
    thoughts. A client sends them back with the output, or builds on what is kept."""
    message = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [CALL]}
    upstream.body = {
        "model": "up",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
    }
    if stream:
        upstream.stream([{"reasoning_content": "Hm."}, {"tool_calls": [{"index": 0, **CALL}]}], "tool_calls")
    wanted: dict[str, Any] = {"tools": [TOOL], "stream": stream, "reasoning": {"summary": summary}}
    first = say(gateway, "responses", "x", model="thinks", **wanted)
    made = streamed(first)[-1][1]["response"] if stream else first.json()
    turn: dict[str, Any] = {"previous_response_id": made["id"], "input": [RESULT]}
    if not kept:
        turn = {"input": [{"role": "user", "content": "x"}, *made["output"], RESULT], "store": False}
    for model, thoughts in (("thinks", "Hm."), ("other", None)):
        say(gateway, "responses", model=model, tools=[TOOL], **turn)
        sent = json.loads(upstream.seen[-1])["messages"]
        assert [each["role"] for each in sent] == ["user", "assistant", "tool"]
        assert sent[1].get("reasoning_content") == thoughts
        assert sent[1]["tool_calls"] == [CALL]
    upstream.events, upstream.body = [], json.loads(ANSWER)
    say(gateway, "responses", model="native", tools=[TOOL], **turn)
    assert "reasoning" not in [each.get("type") for each in json.loads(upstream.seen[-1])["input"]]


def test_thoughts_of_openais_go_back_to_it(gateway: Gateway, upstream: SaidUpstream) -> None:
    """An item that OpenAI has made passes as it is."""
    upstream.body = json.loads(ANSWER)
    own = {"type": "reasoning", "id": "rs_" + "0" * 48, "summary": [], "encrypted_content": "e"}
    turns = [{"role": "user", "content": "x"}, own, {"role": "assistant", "content": "y"}]
    say(gateway, "responses", model="native", input=turns)
    assert json.loads(upstream.seen[-1])["input"] == turns


def test_thoughts_of_vllms_go_back_to_it(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Though their ids are as long as those that are made here."""
    upstream.body = json.loads(ANSWER)
    thought = {"type": "reasoning_text", "text": "Hm."}
    own = {"type": "reasoning", "id": "rs_" + "0" * 32, "summary": [], "content": [thought]}
    turns = [{"role": "user", "content": "x"}, own, {"role": "assistant", "content": "y"}]
    say(gateway, "responses", model="vllm", input=turns)
    assert json.loads(upstream.seen[-1])["input"] == turns


def test_what_openai_says_of_its_items_is_kept(gateway: Gateway, upstream: SaidUpstream) -> None:
    """The phase of a message and the namespace of a call go back with them."""
    part = {"type": "output_text", "text": "Looking.", "annotations": []}
    said = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = [said | {"phase": "commentary"}, call | {"namespace": "crm"}]
    upstream.body = json.loads(ANSWER) | {"id": "resp_1", "output": output}
    first = say(gateway, "responses", "x", model="native", tools=[TOOL])
    upstream.body = json.loads(ANSWER) | {"id": "resp_2"}
    say(gateway, "responses", [RESULT], model="native", previous_response_id=first.json()["id"])
    sent = json.loads(upstream.seen[-1])["input"]
    assert [each.get("phase") for each in sent] == [None, "commentary", None, None]
    assert [each.get("namespace") for each in sent] == [None, None, "crm", None]


def named(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client sends that takes it that its server keeps what it made, as the Vercel AI SDK does."""
    return [{"type": "item_reference", "id": item["id"]} for item in items]


@pytest.mark.parametrize("stream", [False, True])
def test_items_that_are_only_named(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """Those of a response that is kept are what they stand for, whoever answers next."""
    upstream.body = {}
    upstream.stream(
        [{"reasoning_content": "Hm."}, {"content": "Well."}, {"tool_calls": [{"index": 0, **CALL}]}],
        "tool_calls",
    )
    first = streamed(say(gateway, "responses", "x", model="thinks", tools=[TOOL], stream=True))[-1][1][
        "response"
    ]
    upstream.events, upstream.body = [], json.loads(ANSWER)
    turns = [{"role": "user", "content": "x"}, *named(first["output"]), RESULT]
    say(gateway, "responses", model="thinks", input=turns, tools=[TOOL], stream=stream)
    sent = json.loads(upstream.seen[-1])["messages"]
    assert sent[1] == {
        "role": "assistant",
        "reasoning_content": "Hm.",
        "content": "Well.",
        "tool_calls": [CALL],
    }
    say(gateway, "responses", model="native", input=turns, tools=[TOOL])
    items = json.loads(upstream.seen[-1])["input"]
    assert [each.get("type", "message") for each in items] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]


def test_names_of_what_is_not_here(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What nobody here has made, or keeps, is refused, or passed on to who may know it."""
    upstream.body = json.loads(ANSWER)
    for name in ("msg_" + "0" * 32, "msg_" + "0" * 48, "rs_nothing"):
        turns = [{"role": "user", "content": "x"}, *named([{"id": name}])]
        refused = say(gateway, "responses", model="other", input=turns)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[1]")
        say(gateway, "responses", model="native", input=turns)
        assert json.loads(upstream.seen[-1])["input"] == turns
    many = named([{"id": f"msg_{number:032x}"} for number in range(1025)])
    assert say(gateway, "responses", model="native", input=many).status_code == 400


SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}


def said_by_claude(upstream: SaidUpstream, *, stream: bool) -> None:
    """Thoughts of both kinds and a call, as Anthropic says them."""
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "usage": usage}
    upstream.body = message | {"content": [SIGNED, HIDDEN, USE], "stop_reason": "tool_use"}
    upstream.events, upstream.done = [], False
    if not stream:
        return
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message | {"content": []}}]
    begun = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [{"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "c2ln"}]
    for number, (block, pieces) in enumerate([(begun, deltas), (HIDDEN, []), (USE, [])]):
        events.append({"type": "content_block_start", "index": number, "content_block": block})
        events += [{"type": "content_block_delta", "index": number, "delta": delta} for delta in pieces]
        events.append({"type": "content_block_stop", "index": number})
    events.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage})
    upstream.events = [json.dumps(event) for event in [*events, {"type": "message_stop"}]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["kept", "sent", "named"])
def test_signed_thoughts_go_back_with_their_calls(
    gateway: Gateway, upstream: SaidUpstream, stream: bool, way: str
) -> None:
    """Claude wants them before a call's result, or is not let think. A client builds on what is kept,
    sends the items, or names them."""
    said_by_claude(upstream, stream=stream)
    wanted: dict[str, Any] = {"model": "claude", "tools": [TOOL], "reasoning": {"effort": "low"}}
    first = say(gateway, "responses", "x", stream=stream, **wanted)
    made = streamed(first)[-1][1]["response"] if stream else first.json()
    turn: dict[str, Any] = {"previous_response_id": made["id"], "input": [RESULT]}
    if way != "kept":
        items = made["output"] if way == "sent" else named(made["output"])
        turn = {"input": [{"role": "user", "content": "x"}, *items, RESULT]}
    second = say(gateway, "responses", **wanted | turn)
    assert "x-airboss-dropped" not in second.headers
    sent = json.loads(upstream.seen[-1])
    assert sent["messages"][1]["content"] == [SIGNED, HIDDEN, USE]
    assert sent["thinking"]["type"] == "enabled"
    for model in ("native", "other"):
        say(gateway, "responses", **wanted | turn | {"model": model})
        assert b"signature" not in upstream.seen[-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["kept", "sent", "named"])
def test_signatures_of_calls_go_back_to_gemini(
    gateway: Gateway, upstream: SaidUpstream, stream: bool, way: str
) -> None:
    """Gemini's calls come signed from its third generation on, and are wanted back so; others know none."""
    part = {"functionCall": {"name": "f", "args": {}, "id": "c1"}, "thoughtSignature": "c2ln"}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 2}
    upstream.body = {"candidates": [candidate], "usageMetadata": usage, "responseId": "r"}
    upstream.events, upstream.done = ([json.dumps(upstream.body)] if stream else []), False
    wanted: dict[str, Any] = {"model": "gemini", "tools": [TOOL]}
    first = say(gateway, "responses", "x", stream=stream, **wanted)
    made = streamed(first)[-1][1]["response"] if stream else first.json()
    turn: dict[str, Any] = {"previous_response_id": made["id"], "input": [RESULT]}
    if way != "kept":
        items = made["output"] if way == "sent" else named(made["output"])
        turn = {"input": [{"role": "user", "content": "x"}, *items, RESULT]}
    upstream.events = []
    say(gateway, "responses", **wanted | turn)
    assert json.loads(upstream.seen[-1])["contents"][1]["parts"][0]["thoughtSignature"] == "c2ln"
    upstream.body = json.loads(ANSWER)
    for model in ("native", "other"):
        say(gateway, "responses", **wanted | turn | {"model": model})
        assert b"c2ln" not in upstream.seen[-1]
        assert b'"c1"' in upstream.seen[-1]


def test_names_that_stand_for_far_more_than_was_sent(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A long item that is named many times is refused: it would be gigabytes of a request of kilobytes."""
    chat = {
        "index": 0,
        "message": {"role": "assistant", "content": "word " * 100_000},
        "finish_reason": "stop",
    }
    upstream.body = {"id": "u", "object": "chat.completion", "model": "up", "choices": [chat]}
    first = say(gateway, "responses", "x", model="other").json()
    refused = say(gateway, "responses", model="other", input=named(first["output"]) * 200)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert len(upstream.seen) == 1
    say(gateway, "responses", model="other", input=named(first["output"]) * 2)
    assert upstream.seen[-1].count(b"word " * 100_000) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_signed_thoughts_come_back_by_what_every_client_keeps(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """Codex and others that keep a conversation themselves keep an item's `encrypted_content` and not the
    members that they do not know, nor its id."""
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [],
        "usage": usage,
    }
    upstream.body = message | {"content": [thought, use], "stop_reason": "tool_use"}
    if stream:
        deltas = {"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "s"}
        said: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": thought | {"thinking": "", "signature": ""},
            },
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": use},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
            {"type": "message_stop"},
        ]
        upstream.events, upstream.done = [json.dumps(each) for each in said], False
    asked = {"tools": [TOOL], "store": False, "include": ["reasoning.encrypted_content"]}
    asked |= {"reasoning": {"effort": "low"}}
    first = say(gateway, "responses", "x", model="claude", stream=stream, **asked)
    made = streamed(first)[-1][1]["response"] if stream else first.json()
    members = {"type", "summary", "content", "encrypted_content", "call_id", "name", "arguments"}
    kept = [{name: value for name, value in item.items() if name in members} for item in made["output"]]
    assert [item["type"] for item in kept] == ["reasoning", "function_call"]
    turns = [{"role": "user", "content": "x"}, *kept, RESULT]
    upstream.events = []
    say(gateway, "responses", model="claude", input=turns, **asked)
    sent = json.loads(upstream.seen[-1])
    assert sent["messages"][1]["content"] == [thought, use]
    assert sent["thinking"]["type"] == "enabled"
    upstream.body = json.loads(ANSWER)
    say(gateway, "responses", model="native", input=turns, **asked)
    assert "reasoning" not in [each.get("type") for each in json.loads(upstream.seen[-1])["input"]]


def test_thoughts_without_id_are_none_of_openais(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Nor what it has encrypted: another model's, of a client that keeps no ids. OpenAI refuses these."""
    upstream.body = json.loads(ANSWER)
    own = {"type": "reasoning", "summary": [], "encrypted_content": "e"}
    others = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    user = {"role": "user", "content": "x"}
    say(gateway, "responses", model="native", input=[user, own, others])
    assert json.loads(upstream.seen[-1])["input"] == [user, own]
