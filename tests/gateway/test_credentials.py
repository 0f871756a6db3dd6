"""Credentials of others that requests carry go to the provider, and into no record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.gateway.credentials import without_credentials
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream

SECRET = "gho_0123456789abcdef"
TOOL = {
    "type": "mcp",
    "server_label": "gh",
    "server_url": "https://mcp.example",
    "authorization": SECRET,
    "headers": {"X-Key": SECRET, "X-Team": "blue"},
}
PLAIN = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"headers": {"x": 1}}}}}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
SERVER = {"type": "url", "url": "https://mcp.example", "name": "gh", "authorization_token": SECRET}
ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "responses", {"input": "x", "tools": [TOOL]}),
    ("openai", "chat/completions", CHAT | {"tools": [PLAIN, TOOL]}),
    ("openai", "chat/completions", CHAT | {"api_key": SECRET}),
    ("openai", "embeddings", {"input": "x", "api_key": SECRET}),
    ("anthropic", "messages", CHAT | {"max_tokens": 9, "mcp_servers": [SERVER]}),
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker in front of it, as OpenAI and as Anthropic."""
    plans = [
        deployment(upstream.url, name=kind, aliases=(), kind=kind, provider=kind)
        for kind in ("openai", "anthropic")
    ]
    with Gateway(tmp_path_factory.mktemp("credentials"), *plans) as running:
        yield running


@pytest.mark.parametrize(("kind", "route", "body"), ROUTES)
@pytest.mark.parametrize("long", [False, True])
def test_they_reach_the_provider_and_no_record(  # noqa: PLR0917 - what is given and what is asked
    gateway: Gateway, upstream: SaidUpstream, kind: str, route: str, body: dict[str, Any], long: bool
) -> None:
    """The record says that there was one, and all else; of a long request as of a short one."""
    more = {"padding": "x" * 300_000} if long else {}
    with gateway.client() as client:
        answer = client.post(f"/v1/{route}", json={"model": kind, **body, **more})
    opened = gateway.frames()[0][answer.headers["x-request-id"]]
    assert SECRET.encode() in upstream.seen[-1]
    said = json.dumps(opened["request"])
    assert SECRET not in said
    assert "[REDACTED]" in said
    if "tools" in body:
        kept = opened["request"]["tools"][-1]
        assert kept["headers"] == {"X-Key": "[REDACTED]", "X-Team": "[REDACTED]"}
        assert kept["server_url"] == "https://mcp.example"
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in gateway.journal.rglob("*.seg"))


@pytest.mark.parametrize("headers", [SECRET, [SECRET], {"a": {"b": SECRET}}, None])
def test_headers_of_any_shape_are_hidden(headers: object) -> None:
    """What no provider takes is recorded all the same."""
    kept = json.loads(without_credentials(json.dumps({"tools": [TOOL | {"headers": headers}]}).encode()))
    said = kept["tools"][0]["headers"]
    assert said == ({"a": "[REDACTED]"} if isinstance(headers, dict) else "[REDACTED]")


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "tools": [PLAIN], **CHAT},
        {"model": "m", "messages": [{"role": "user", "content": '{"authorization": "x"}'}]},
        {"model": "m", "headers": {"a": "b"}, "tools": "none"},
        {"model": "m", "tools": [1], "mcp_servers": None, "authorization": "x"},
    ],
)
def test_a_body_without_any_is_the_same_bytes(body: dict[str, Any]) -> None:
    """Whatever its members are called elsewhere."""
    raw = json.dumps(body).encode()
    assert without_credentials(raw) is raw
