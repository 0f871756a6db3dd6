"""What would stop, crash or be ignored by a local engine never reaches it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.request import Operation
from airboss.gateway.local_limits import unfit
from airboss.gateway.wire import parse_body

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TEXT: dict[str, Any] = {"model": "m", "prompt": "hi"}
NESTED = {"type": "string", "pattern": "^((a?){30}){30}$"}


@pytest.mark.parametrize(
    ("operation", "changes", "param"),
    [
        ("chat", {"grammar": "root ::= " + "(" * 30_000}, "grammar"),
        ("chat", {"json_schema": {}}, "json_schema"),
        ("chat", {"n_probs": 100_000}, "n_probs"),
        ("chat", {"response_format": {"type": "json_schema", "json_schema": NESTED}}, "response_format"),
        ("chat", {"response_format": {"x": "y" * 70_000}}, "response_format"),
        ("chat", {"logit_bias": {str(i): 1 for i in range(1001)}}, "logit_bias"),
        ("chat", {"max_tokens": 2**40}, "max_tokens"),
        ("chat", {"stop": ["a", ""]}, "stop"),
        ("chat", {"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "user", "content": "x" * 5_000_000}]}, None),
        ("text_completion", {"echo": True}, "echo"),
        ("text_completion", {"logprobs": 100_000}, "logprobs"),
        ("text_completion", {"prompt": ["a"] * 65}, "prompt"),
    ],
)
def test_unfit(operation: Operation, changes: dict[str, Any], param: str | None) -> None:
    """Each is refused with the member that is at fault."""
    raw = json.dumps((CHAT if operation == "chat" else TEXT) | changes).encode()
    refusal = unfit(raw, parse_body(operation, raw))
    assert refusal is not None
    assert refusal.param == param
    assert refusal.http_status in {400, 413}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", CHAT),
        ("chat", CHAT | {"grammar": None, "stop": ["a"], "max_tokens": 5, "logit_bias": {"1": 2}}),
        ("chat", CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
        ("text_completion", TEXT | {"echo": False, "logprobs": 5, "best_of": 1}),
        ("text_completion", {"model": "m", "prompt": list(range(100))}),
    ],
)
def test_fit(operation: Operation, body: dict[str, Any]) -> None:
    """What the engine can do passes."""
    raw = json.dumps(body).encode()
    assert unfit(raw, parse_body(operation, raw)) is None
