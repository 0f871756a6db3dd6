"""Servers that speak OpenAI's dialect, each with its own accent: every client hears the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.dialects import said as put_together
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say, streamed, text

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def chunk(delta: dict[str, Any] | None, *, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event; `delta` None for one without choices."""
    made = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up",
        "choices": made,
        **more,
    }


SERVERS: dict[str, list[dict[str, Any]]] = {
    "vllm, usage in every event, thoughts by both names": [
        chunk(
            {"role": "assistant", "content": ""},
            usage={**USAGE, "completion_tokens": 0},
            prompt_token_ids=None,
        ),
        chunk({"reasoning": "Hm.", "reasoning_content": "Hm."}, usage={**USAGE, "completion_tokens": 1}),
        chunk({"content": "Hi "}, usage={**USAGE, "completion_tokens": 3}),
        chunk({"content": "there"}, finish="stop", usage=USAGE),
        chunk(None, usage=USAGE),
    ],
    "vllm, newer": [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "Hm."}),
        chunk({"content": "Hi there"}),
        chunk({"content": ""}, finish="stop"),
        chunk(None, usage=USAGE),
    ],
    "sglang, nulls and matched_stop": [
        chunk(
            {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}, usage=None
        ),
        chunk({"role": None, "content": None, "reasoning_content": "Hm.", "tool_calls": None}),
        chunk({"role": None, "content": "Hi there", "reasoning_content": None, "tool_calls": None}),
        {**chunk({"content": None}, finish="stop"), "matched_stop": 151645},
        chunk(None, usage=USAGE),
    ],
    "llama.cpp, content null at first, timings": [
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "Hi there"}),
        chunk({}, finish="stop"),
        chunk(None, usage=USAGE, timings={"prompt_n": 11, "predicted_per_second": 9.5}),
    ],
    "ollama, a role in every event": [
        chunk({"role": "assistant", "content": "", "reasoning": "Hm."}, system_fingerprint="fp_ollama"),
        chunk({"role": "assistant", "content": "Hi "}),
        chunk({"role": "assistant", "content": "there"}),
        chunk({"role": "assistant", "content": ""}, finish="stop"),
        chunk(None, usage=USAGE),
    ],
    "tgi, empty finish reasons, error null": [
        chunk({"role": "assistant", "content": "", "reasoning": "Hm."}, finish="", error=None),
        chunk({"role": "assistant", "content": "Hi there"}, finish="", error=None),
        chunk({"role": "assistant", "content": ""}, finish="stop", error=None, usage=USAGE),
    ],
    "mistral, content in parts": [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
        chunk({"content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]}),
        chunk({"content": ""}, finish="stop", usage=USAGE),
    ],
    "openrouter, a choice beside the usage": [
        chunk({"role": "assistant", "content": "", "reasoning": "Hm.", "reasoning_details": [{"a": 1}]}),
        chunk({"role": "assistant", "content": "Hi there"}, provider="x"),
        chunk({"role": "assistant", "content": ""}, finish="stop"),
        chunk({"role": "assistant", "content": ""}, usage={**USAGE, "cost": 0.1, "is_byok": False}),
    ],
    "azure, filters before and after": [
        chunk(None, prompt_filter_results=[{"prompt_index": 0}]),
        chunk({"role": "assistant", "content": "", "refusal": None, "reasoning_content": "Hm."}),
        {**chunk({"content": "Hi there"}), "obfuscation": "abc"},
        chunk({}, finish="stop"),
        chunk(None, usage={**USAGE, "prompt_tokens_details": {"cached_tokens": None}}),
    ],
}


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it."""
    with Gateway(tmp_path_factory.mktemp("servers") / "g", deployment(upstream.url)) as running:
        yield running


@pytest.mark.parametrize("done", [True, False], ids=["done", "no done"])
@pytest.mark.parametrize("server", SERVERS)
def test_streams(gateway: Gateway, upstream: SaidUpstream, server: str, done: bool) -> None:
    """Text, thoughts, end and usage are the same in each dialect and in the record, last word or not."""
    upstream.events, upstream.done = [json.dumps(event) for event in SERVERS[server]], done
    for dialect in ("chat", "messages", "responses"):
        if dialect == "chat":
            answer = gateway.chat(stream=True, stream_options={"include_usage": True})
            assert answer.text.endswith("data: [DONE]\n\n")
            assert '"completion_tokens": 5' in answer.text
        else:
            answer = say(gateway, dialect, stream=True)
            assert text(dialect, answer, stream=True) == "Hi there"
        closed = gateway.closed(answer.headers["x-request-id"])
        assert (closed["status"], closed["finish_reason"], closed["usage_estimated"]) == ("ok", "stop", False)
        assert (closed["input_tokens"], closed["output_tokens"]) == (11, 5)
        assert "Hm." in json.dumps(closed["response"])
        assert "Hi there" in json.dumps(closed["response"])


@pytest.mark.parametrize("server", ["vllm, newer", "ollama, a role in every event"])
def test_thoughts_reach_every_client(gateway: Gateway, upstream: SaidUpstream, server: str) -> None:
    """What a server calls `reasoning` is a thought in each dialect."""
    upstream.events, upstream.done = [json.dumps(event) for event in SERVERS[server]], True
    deltas = [
        data["delta"] for name, data in streamed(say(gateway, "messages", stream=True)) if "delta" in name
    ]
    assert "Hm." in [delta.get("thinking") for delta in deltas]
    kinds = [name for name, _ in streamed(say(gateway, "responses", stream=True))]
    assert "response.reasoning_text.delta" in kinds


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "event",
    ['{"choices":5,,}', '{"choices":5,"x":"\\ud800"}', f'{{"choices":{"[" * 5000}{"]" * 5000}}}'],
    ids=["broken", "half a character", "deep"],
)
def test_what_is_odd_first_and_then_no_json_is_a_failure(
    gateway: Gateway, upstream: SaidUpstream, event: str, stream: bool
) -> None:
    """It is said at once, and not when the call's time is over."""
    upstream.body, upstream.events = event.encode(), [event] if stream else []
    answer = gateway.chat(stream=stream)
    assert (answer.status_code, answer.elapsed.total_seconds() < 10) == (502, True)


def test_a_server_that_tells_no_usage(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It is counted here, the record says so, and every client is told something."""
    events = [event for event in SERVERS["vllm, newer"] if event["choices"]]
    upstream.events, upstream.done = [json.dumps(event) for event in events], True
    answer = say(gateway, "messages", stream=True)
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["usage_estimated"]
    assert dict(streamed(answer))["message_delta"]["usage"]["output_tokens"] == closed["output_tokens"] > 0
    chat = gateway.chat(stream=True, stream_options={"include_usage": True})
    assert put_together(chat)["message"]["content"] == "Hi there"


def test_names_with_every_piece(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A server that repeats id and name with each piece of a call makes one call of that name."""
    pieces = ['{"a"', ": 1}"]
    calls = [[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": each}}] for each in pieces]
    upstream.stream([{"tool_calls": each} for each in calls], finish="tool_calls")
    answer = say(gateway, "responses", stream=True)
    record = gateway.closed(answer.headers["x-request-id"])["response"]
    (item,) = record["output"]
    assert (item["name"], item["arguments"]) == ("f", '{"a": 1}')
    chat = gateway.closed(gateway.chat(stream=True).headers["x-request-id"])["response"]
    (call,) = chat["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"a": 1}'}


WHOLE: dict[str, dict[str, Any]] = {
    "content null beside calls": {
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    "arguments that are an object": {
        "content": "",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}],
    },
    "thoughts alone": {"content": None, "reasoning": "Hm."},
    "content in parts": {"content": [{"type": "text", "text": "Hi"}]},
    "no role and odd members": {"content": "Hi", "annotations": {}, "audio": None, "reasoning": {"odd": 1}},
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers(gateway: Gateway, upstream: SaidUpstream, name: str) -> None:
    """An odd message is an answer in each dialect."""
    upstream.events = []
    upstream.body = {"choices": [{"message": WHOLE[name], "finish_reason": "stop"}], "usage": USAGE}
    for dialect in ("messages", "responses"):
        assert say(gateway, dialect).status_code == 200
    chat = gateway.chat()
    assert chat.json() == upstream.body
    closed = gateway.closed(chat.headers["x-request-id"])
    assert (closed["status"], closed["output_tokens"]) == ("ok", 5)
