"""How words are drawn, for models of Anthropic's that take it, all of it or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.providers.anthropic_request import messages_request
from airboss.providers.bedrock_request import converse_request
from airboss.providers.dialect import Unsaid

ALL = {"temperature": 0.1, "top_p": 0.9, "top_k": 4}
NAMES = ("temperature", "top_p", "top_k")


def said(model: str, **asked: Any) -> tuple[dict[str, Any], list[str]]:
    """What goes upstream of it, at Anthropic, and what was left out."""
    unsaid = Unsaid("Anthropic's models", drop=False)
    request = {"model": model, "messages": [{"role": "user", "content": "hi"}], **asked}
    body = json.loads(messages_request(json.dumps(request).encode(), unsaid).body)
    return {name: body[name] for name in NAMES if name in body}, unsaid.dropped


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5", "claude-fable-5-2"]
)
def test_models_that_take_none(model: str) -> None:
    """It is left out and named: clients send it unasked, and Anthropic refuses the call."""
    assert said(model, **ALL) == ({}, list(NAMES))
    assert said(model, temperature=0) == ({}, ["temperature"])
    assert said(model, temperature=1, top_p=1) == ({}, [])
    assert said(model, temperature=0.1, reasoning_effort="low") == ({}, ["temperature"])


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-3-7-sonnet", "glm-5"]
)
def test_models_that_take_it(model: str) -> None:
    """Also those of other makers that speak so."""
    assert said(model, **ALL) == (ALL, [])


def test_two_that_do_not_go_together() -> None:
    """The one that asks for nothing is left out."""
    assert said("claude-opus-4-6", temperature=0.2, top_p=1) == ({"temperature": 0.2}, [])
    assert said("claude-opus-4-6", temperature=1, top_p=0.5) == ({"top_p": 0.5}, [])
    assert said("claude-opus-4-6", temperature=1, top_p=1) == ({"temperature": 1}, [])
    assert said("claude-opus-4-6", top_p=1) == ({"top_p": 1}, [])
    assert said("glm-5", temperature=0.2, top_p=1) == ({"temperature": 0.2, "top_p": 1}, [])


@pytest.mark.parametrize(
    ("model", "limits", "dropped"),
    [
        ("eu.anthropic.claude-opus-4-7-v1:0", {}, list(NAMES)),
        ("eu.anthropic.claude-opus-4-6-v1:0", {"temperature": 0.1, "topP": 0.9}, []),
        ("amazon.nova-pro-v1:0", {"temperature": 0.1, "topP": 0.9}, []),
    ],
)
def test_bedrock_too(model: str, limits: dict[str, float], dropped: list[str]) -> None:
    """Its other models take it."""
    unsaid = Unsaid("models of Bedrock", drop=False)
    request = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, **ALL}
    made = json.loads(converse_request(json.dumps(request).encode(), unsaid).body)
    assert made["inferenceConfig"] == {"maxTokens": 9, **limits}
    told = any(name in json.dumps(made) for name in ("top_k", "topK"))
    assert (unsaid.dropped, told) == (dropped, not dropped)
