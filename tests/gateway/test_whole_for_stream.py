"""A whole answer to a call that asked for a stream, of providers with words of their own: it becomes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airboss.governance.policies import policy_of
from tests.gateway.test_responses_native import ANSWER
from tests.gateway.test_stream_shapes import ENTRANCES
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import is_whole, text

SAID = "One two."
OPENAI: dict[str, Any] = json.loads(ANSWER)
PART = {"type": "output_text", "text": SAID, "annotations": []}
WHOLE: dict[str, dict[str, Any]] = {
    "anthropic": {
        "id": "m", "type": "message", "role": "assistant", "model": "c",
        "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    },
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": SAID}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    },
    "openai": OPENAI
    | {"output": [{"type": "message", "id": "msg_1", "role": "assistant", "content": [PART]}]},
    "openai-compatible": {
        "id": "c", "object": "chat.completion", "created": 1, "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    },
}  # fmt: skip
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "code": 529}}
CASES = [(entrance, kind) for kind in ("anthropic", "gemini") for entrance in ENTRANCES] + [
    ("responses", "openai"),
    *((entrance, "openai-compatible") for entrance in ("chat", "responses", "messages")),
]
BLANK: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda said: said,
    "before": lambda said: b"\n\n \n\n" + said,
    "within": lambda said: said.replace(b", ", b",\n\n  "),
    "behind": lambda said: said + b"\r\n\r\n",
}
"""Blank lines about a whole answer: some send them so that nobody hangs up, or write their JSON so."""


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, as each kind, with and without a policy."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text("sk-secret-of-the-provider")
    usual: dict[str, Any] = {
        "aliases": (),
        "price": PRICE,
        "continuation": "off",
        "api_key_ref": f"file:{secret}",
        "timeout": PATIENT,
    }
    plans = [deployment(upstream.url, name=kind, kind=kind, **usual) for kind in WHOLE]
    plans += [
        deployment(upstream.url, name=f"{kind}-masks", kind=kind, policy=policy_of("mask", None), **usual)
        for kind in WHOLE
    ]
    with Gateway(tmp_path_factory.mktemp("whole"), *plans) as running:
        yield running


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("tail", ["", "-masks"], ids=["plain", "masks"])
@pytest.mark.parametrize(("entrance", "kind"), CASES)
def test_a_whole_answer_becomes_the_stream_that_was_asked_for(  # noqa: PLR0917 - parameters of the test
    gateway: Gateway, upstream: SaidUpstream, entrance: str, kind: str, tail: str, blank: str
) -> None:
    """Clients get its text and a clean end, its record its usage."""
    upstream.raw, upstream.events = None, []
    upstream.body = BLANK[blank](json.dumps(WHOLE[kind]).encode())
    path, body = ENTRANCES[entrance]
    with gateway.client() as client:
        answer = client.post(path, json=body | {"model": kind + tail, "stream": True})
    assert answer.status_code == 200, answer.text
    if entrance in {"responses", "messages"}:
        assert text(entrance, answer, stream=True) == SAID
        assert is_whole(entrance, answer)
    else:
        assert answer.text.endswith("data: [DONE]\n\n")
        said = [json.loads(each.removeprefix("data: ")) for each in answer.text.split("\n\n")[:-2]]
        choices = [choice for each in said for choice in each["choices"]]
        assert "".join((c.get("delta") or {}).get("content") or c.get("text") or "" for c in choices) == SAID
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["usage_estimated"]) == ("ok", False)
    assert closed["output_tokens"] > 0


@pytest.mark.parametrize("body", [ERROR, {"odd": 1}, b"<html>busy</html>", b"[1, 2]", b'{"cut": '])
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_what_is_no_answer_is_an_error(
    gateway: Gateway, upstream: SaidUpstream, kind: str, body: dict[str, Any] | bytes
) -> None:
    """An error object says why; a page, a list and broken JSON are none."""
    upstream.raw, upstream.events, upstream.body = None, [], body
    path, asked = ENTRANCES["chat"]
    with gateway.client() as client:
        answer = client.post(path, json=asked | {"model": kind, "stream": True})
    assert answer.status_code in {502, 503}, answer.text
    assert answer.json()["error"]["message"]
