"""A stream in answer to a call that asked for none, of providers with words of their own: a whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan
from airboss.governance.policies import policy_of
from airboss.providers.fake_bedrock import frame
from tests.gateway.test_responses_native import ANSWER
from tests.gateway.test_stream_shapes import ENTRANCES
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import is_whole, text

SAID = "One two."
RESPONSE: dict[str, Any] = json.loads(ANSWER) | {
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": SAID, "annotations": []}],
        }
    ]
}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}


def events(*said: dict[str, Any]) -> bytes:
    """Server-sent ones, named as Anthropic names them."""
    return b"".join(
        f"event: {each.get('type', 'message')}\ndata: {json.dumps(each)}\n\n".encode() for each in said
    )


def frames(**said: Any) -> bytes:
    """AWS's, in this order."""
    return b"".join(frame(name.rstrip("_"), json.dumps(each).encode()) for name, each in said.items())


def delta(index: int, type_: str, **more: Any) -> dict[str, Any]:
    """A piece of a block of Anthropic's."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": type_, **more}}


def parts(*said: str, **more: Any) -> dict[str, Any]:
    """A piece of Gemini's."""
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": t} for t in said]}, **more}]}


BEGUN: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "m", "model": "c", "usage": {"input_tokens": 3}},
}
TEXT: list[dict[str, Any]] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    delta(0, "text_delta", text="One "),
    delta(0, "text_delta", text="two."),
    {"type": "content_block_stop", "index": 0},
]
ENDED: list[dict[str, Any]] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
GEMINI_USED = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}
BEDROCK: dict[str, Any] = {
    "messageStart": {"role": "assistant"},
    "contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "One "}},
    "contentBlockDelta_": {"contentBlockIndex": 0, "delta": {"text": "two."}},
    "contentBlockStop": {"contentBlockIndex": 0},
    "messageStop": {"stopReason": "end_turn"},
    "metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}},
}
STREAMS: dict[str, bytes] = {
    "anthropic": events(BEGUN, *TEXT, *ENDED),
    "gemini": events(parts("One "), parts("two.", finishReason="STOP") | GEMINI_USED),
    "bedrock": frames(**BEDROCK),
    "openai": events(
        {"type": "response.created", "response": RESPONSE | {"output": [], "status": "in_progress"}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": SAID},
        {"type": "response.completed", "response": RESPONSE},
    ),
}
CUT = {
    "anthropic": events(BEGUN, *TEXT),
    "gemini": events(parts("One ")),
    "bedrock": frames(**{name: BEDROCK[name] for name in list(BEDROCK)[:4]}),
    "bedrock in a frame": STREAMS["bedrock"][:150],
}
FAILED = {
    "anthropic": events(
        BEGUN, *TEXT, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    ),
    "gemini": events(
        parts("One "), {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded"}}
    ),
    "bedrock": frames(messageStart={"role": "assistant"})
    + frame("serviceUnavailableException", b'{"message":"Overloaded"}', exception=True),
}
WHOLE_OF_BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": SAID}]}},
    "stopReason": "end_turn",
    "usage": BEDROCK["metadata"]["usage"],
}
FOREIGN = ("anthropic", "gemini", "bedrock")
TAILS = pytest.mark.parametrize("tail", ["", "-masks"], ids=["plain", "masks"])


def plans(url: str, key_ref: str) -> list[DeploymentPlan]:
    """The upstream as each kind, with and without a policy."""
    usual: dict[str, Any] = {
        "aliases": (),
        "price": PRICE,
        "continuation": "off",
        "api_key_ref": key_ref,
        "region": "eu-west-1",
        "timeout": PATIENT,
    }
    plain = [deployment(url, name=kind, kind=kind, **usual) for kind in STREAMS]
    masks = policy_of("mask", None)
    return plain + [
        deployment(url, name=f"{kind}-masks", kind=kind, policy=masks, **usual) for kind in STREAMS
    ]


worker, gateway = said_gateway(plans)


def ask(gateway: Gateway, upstream: SaidUpstream, entrance: str, model: str, said: Any, **more: Any) -> Any:
    """A call whose upstream says this, and nothing of what it is."""
    upstream.raw, upstream.events, upstream.body = None, [], said
    path, body = ENTRANCES[entrance]
    with gateway.client() as client:
        return client.post(path, json=body | {"model": model} | more)


@TAILS
@pytest.mark.parametrize(
    ("entrance", "kind"), [(e, k) for k in FOREIGN for e in ENTRANCES] + [("responses", "openai")]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "marked"])
def test_a_stream_nobody_asked_for_is_a_whole_answer(  # noqa: PLR0917 - all that it may differ by
    gateway: Gateway, upstream: SaidUpstream, entrance: str, kind: str, tail: str, mark: bytes
) -> None:
    """In each dialect, with its usage, and nothing in it that only streams have."""
    said = STREAMS[kind] if kind == "bedrock" else mark + STREAMS[kind]
    answer = ask(gateway, upstream, entrance, kind + tail, said)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    if entrance in {"responses", "messages"}:
        assert text(entrance, answer, stream=False) == SAID
    else:
        (choice,) = answer.json()["choices"]
        assert (choice["message"]["content"] if entrance == "chat" else choice["text"]) == SAID
        assert choice["finish_reason"] == "stop"
        assert answer.json()["object"] == ("chat.completion" if entrance == "chat" else "text_completion")
        assert answer.json()["usage"]["total_tokens"] == 5
    assert '"heard"' not in answer.text
    closed = gateway.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["usage_estimated"]) == ("ok", False)
    assert SAID in json.dumps(closed["response"])


def test_thoughts_and_calls_of_it(gateway: Gateway, upstream: SaidUpstream) -> None:
    """As a whole answer has them: without numbers."""
    said = events(
        BEGUN,
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": THOUGHT | {"thinking": "", "signature": ""},
        },
        delta(0, "thinking_delta", thinking="Hm."),
        delta(0, "signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": USE},
        delta(1, "input_json_delta", partial_json='{"q":'),
        delta(1, "input_json_delta", partial_json='"x"}'),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
    (choice,) = ask(gateway, upstream, "chat", "anthropic", said).json()["choices"]
    message = choice["message"]
    assert message["thinking_blocks"] == [THOUGHT]
    assert message["reasoning_content"] == "Hm."
    (call,) = message["tool_calls"]
    assert call == {
        "id": "toolu_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"x"}'}
    }  # fmt: skip
    assert choice["finish_reason"] == "tool_calls"
    content = ask(gateway, upstream, "messages", "anthropic", said).json()["content"]
    assert content == [THOUGHT, USE | {"input": {"q": "x"}}]


@pytest.mark.parametrize("name", CUT)
def test_one_that_was_cut(gateway: Gateway, upstream: SaidUpstream, name: str) -> None:
    """Half an answer is none."""
    answer = ask(gateway, upstream, "chat", name.partition(" ")[0], CUT[name])
    assert answer.status_code == 502, answer.text
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["status"] == "error"


@pytest.mark.parametrize("kind", FAILED)
def test_one_that_failed(gateway: Gateway, upstream: SaidUpstream, kind: str) -> None:
    """Its error is the call's."""
    answer = ask(gateway, upstream, "chat", kind, FAILED[kind])
    assert answer.status_code in {502, 503}, answer.text
    assert "Overloaded" in answer.json()["error"]["message"]


@TAILS
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_whole_answer_of_bedrocks_is_the_stream(
    gateway: Gateway, upstream: SaidUpstream, entrance: str, tail: str
) -> None:
    """That was asked for, however it comes."""
    body = b"\n" + json.dumps(WHOLE_OF_BEDROCK, indent=1).encode()
    for size in (1 << 20, 7):
        upstream.write_bytes = size
        answer = ask(gateway, upstream, entrance, "bedrock" + tail, body, stream=True)
        assert answer.status_code == 200, answer.text
        if entrance in {"responses", "messages"}:
            assert text(entrance, answer, stream=True) == SAID
            assert is_whole(entrance, answer)
        else:
            assert answer.text.endswith("data: [DONE]\n\n")
            assert "two." in answer.text
        closed = gateway.closed(answer.headers["x-request-id"])
        assert (closed["status"], closed["output_tokens"], closed["usage_estimated"]) == ("ok", 2, False)


@pytest.mark.parametrize(
    "body", [{"message": "Too many"}, {"odd": 1}, b"<html>busy</html>", b"[1]", b'{"cut": ']
)
def test_what_is_no_answer_of_bedrocks(gateway: Gateway, upstream: SaidUpstream, body: Any) -> None:
    """Is an error that says so."""
    answer = ask(gateway, upstream, "chat", "bedrock", body, stream=True)
    assert answer.status_code == 502, answer.text
    assert answer.json()["error"]["message"]
