"""Tools of Anthropic's clients whose names are longer than others take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.dialects.plain import fitting_name
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import streamed

LONG = [f"mcp__a_server_with_a_long_name_{'x' * 60}__tool_{number}" for number in (1, 2)]
TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in [*LONG, "short"]]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker with a server of OpenAI's dialect and with Claude."""
    plans = (
        deployment(upstream.url, name="other", aliases=()),
        deployment(upstream.url, name="claude", aliases=(), kind="anthropic", upstream_model="claude-x"),
    )
    with Gateway(tmp_path_factory.mktemp("gateway"), *plans) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_names_fit_on_their_way_and_are_whole_in_the_answer(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """Each has one of its own, the same in every turn; to Anthropic they go as they are."""
    upstream.reset()
    fits = [fitting_name(name) for name in LONG]
    assert len({*fits}) == 2
    assert {len(name) for name in fits} == {64}
    call = {"id": "c1", "type": "function", "function": {"name": fits[1], "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.body = {"id": "u", "object": "chat.completion", "model": "up", "choices": [choice]}
    if stream:
        upstream.stream([{"tool_calls": [{"index": 0, **call}]}], "tool_calls")
    use: dict[str, Any] = {"type": "tool_use", "id": "c0", "name": LONG[0], "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c0", "content": "1"}
    body = {
        "model": "other",
        "max_tokens": 50,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ],
        "tools": TOOLS,
        "tool_choice": {"type": "tool", "name": LONG[1]},
        "stream": stream,
    }
    with gateway.client() as client:
        answer = client.post("/v1/messages", json=body)
        sent = json.loads(upstream.seen[-1])
        client.post("/v1/messages", json=body | {"model": "claude"})
    assert [tool["function"]["name"] for tool in sent["tools"]] == [*fits, "short"]
    assert sent["tool_choice"]["function"]["name"] == fits[1]
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == fits[0]
    assert json.loads(upstream.seen[-1])["tools"] == TOOLS
    if stream:
        blocks = [event["content_block"] for name, event in streamed(answer) if name == "content_block_start"]
    else:
        blocks = answer.json()["content"]
    assert [(block["type"], block["name"]) for block in blocks] == [("tool_use", LONG[1])]
