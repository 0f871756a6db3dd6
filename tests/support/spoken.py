"""Calls in the dialects besides chat, and what they come to, in words that are the same for all."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from tests.dialects.said import events
from tests.support.gateway import Gateway

PATHS = {"messages": "/v1/messages", "responses": "/v1/responses"}


def say(gateway: Gateway, dialect: str, content: Any = "hi", **body: Any) -> httpx2.Response:
    """One call."""
    asked: dict[str, Any] = {"model": "gpt-4o"}
    if dialect == "messages":
        asked |= {"max_tokens": 1000, "messages": [{"role": "user", "content": content}]}
    else:
        asked["input"] = content
    with gateway.client() as client:
        return client.post(PATHS[dialect], json=asked | body)


def streamed(response: httpx2.Response) -> list[tuple[str, Any]]:
    """The events of a stream."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    return events(response.content)


def is_whole(dialect: str, response: httpx2.Response) -> bool:
    """Whether a stream looks complete to a client."""
    names = [name for name, _ in streamed(response)]
    assert "[DONE]" not in response.text
    ends = {"messages": {"message_stop"}, "responses": {"response.completed", "response.incomplete"}}
    return bool(ends[dialect] & set(names))


def text(dialect: str, response: httpx2.Response, *, stream: bool) -> str:
    """What an answer says."""
    if stream:
        name = {"messages": "content_block_delta", "responses": "response.output_text.delta"}[dialect]
        deltas = [data["delta"] for each, data in streamed(response) if each == name]
        return "".join(each if isinstance(each, str) else each.get("text", "") for each in deltas)
    said = response.json()
    if dialect == "messages":
        return "".join(block.get("text", "") for block in said["content"])
    return "".join(part["text"] for item in said["output"] for part in item.get("content", ()))


def error(dialect: str, response: httpx2.Response) -> dict[str, Any]:
    """The error of an answer that is one; its shape is the dialect's."""
    said: dict[str, Any] = response.json()
    if dialect == "messages":
        assert set(said) == {"type", "error"}
        assert said["type"] == "error"
    else:
        assert set(said) == {"error"}
    inside: dict[str, Any] = said["error"]
    assert set(inside) == {"message", "type", "code", "param"}
    return inside


def error_in_stream(dialect: str, response: httpx2.Response) -> dict[str, Any]:
    """The error that a stream ends with."""
    name, data = streamed(response)[-1]
    if dialect == "messages":
        assert name == data["type"] == "error"
        inside: dict[str, Any] = data["error"]
        return inside
    assert name == "response.failed"
    failed = data["response"]
    assert failed["status"] == "failed"
    assert all(item["status"] != "in_progress" for item in failed["output"])
    cause: dict[str, Any] = failed["error"]
    return cause


def recorded_text(dialect: str, response: Any) -> str:
    """What a record's response says."""
    return text(dialect, httpx2.Response(200, content=json.dumps(response).encode()), stream=False)
