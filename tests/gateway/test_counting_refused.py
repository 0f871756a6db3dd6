"""What an upstream says as it refuses to count is told as of any other call: without keys, and as its policy
has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.governance.policies import policy_of
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream

KEY = "sk-of-the-provider-0123456789"
SAID = {"message": f"{KEY} may not ask for jane@example.com", "type": "x", "param": f"of {KEY}"}
ROUTES = ("/v1/responses/input_tokens", "/v1/messages/count_tokens", "/v1/responses", "/v1/messages")
BODY: dict[str, Any] = {"input": "hi", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, as of two providers that can count, with and without a policy."""
    root: Path = tmp_path_factory.mktemp("gateway")
    (root / "key").write_text(KEY)
    ref = f"file:{root / 'key'}"
    plans = [
        deployment(upstream.url, name=kind + suffix, aliases=(), kind=kind, api_key_ref=ref, policy=policy)
        for kind in ("anthropic", "openai")
        for suffix, policy in (("", None), ("-masked", policy_of("mask", None)))
    ]
    with Gateway(root, *plans) as started:
        yield started


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("model", ["anthropic", "openai", "anthropic-masked", "openai-masked"])
def test_no_key_of_a_provider_is_told(
    gateway: Gateway, upstream: SaidUpstream, model: str, route: str, status: int
) -> None:
    """Nor a value, where a policy masks."""
    names = ("input",) if "responses" in route else ("messages", "max_tokens")
    body = {"model": model, **{name: BODY[name] for name in names if name in BODY}}
    if route.endswith("count_tokens"):
        del body["max_tokens"]
    upstream.status, upstream.body = status, json.dumps({"type": "error", "error": SAID}).encode()
    with gateway.client() as client:
        answer = client.post(route, json=body)
    assert KEY not in answer.text
    if model.endswith("-masked"):
        assert "jane@" not in answer.text
