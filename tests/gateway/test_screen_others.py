"""Answers that are no chat under policies: vectors, and what is passed on."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from airboss.governance.policies import policy_of
from tests.gateway.test_secrets_echoed import TOKEN
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream

MAIL = "jane.doe@example.com"
BASE64 = base64.b64encode(bytes(range(256)) * 400).decode()
PATHS: dict[str, dict[str, Any]] = {
    "embeddings": {"input": "hi"},
    "images/generations": {"prompt": "hi"},
    "moderations": {"input": "hi"},
    "rerank": {"query": "hi", "documents": ["a"]},
    "audio/speech": {"input": "hi", "voice": "a"},
}
LONG = [path for path in PATHS if path != "embeddings"]


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment for each action."""
    plans = [
        deployment(upstream.url, name=action, aliases=(), policy=policy_of(action, None))
        for action in ("mask", "block", "tokenize", "observe")
    ]
    with Gateway(tmp_path_factory.mktemp("others"), *plans) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(upstream: SaidUpstream) -> Iterator[None]:
    """What one test has the upstream say is not said in the next."""
    upstream.events = []
    yield
    upstream.raw = None


def ask(gateway: Gateway, path: str, model: str, **members: Any) -> tuple[httpx2.Response, dict[str, Any]]:
    """An answer, and the end of its record."""
    with gateway.client() as client:
        response = client.post(f"/v1/{path}", json={"model": model, **PATHS[path], **members})
    return response, gateway.closed(response.headers["x-request-id"])


def said(word: str, **members: Any) -> dict[str, Any]:
    """An answer that says a word wherever it can, and is one of each of these routes."""
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.25, -1.5], "note": word}]
    more = {"id": word, "model": f"m {word}", "revised_prompt": word, "results": [{"text": word, word: 1}]}
    return (
        {"object": "list", "data": vectors, "usage": {"prompt_tokens": 3, "total_tokens": 3}} | more | members
    )


def raw(kind: str, body: bytes) -> bytes:
    """An upstream's answer of another type."""
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize("path", PATHS)
def test_masked(gateway: Gateway, upstream: SaidUpstream, path: str) -> None:
    """A value is masked for the client and the record alike, and all else stays."""
    upstream.body = said(TOKEN)
    response, closed = ask(gateway, path, "mask")
    assert response.json() == json.loads(json.dumps(said(TOKEN)).replace(TOKEN, "[SECRET]"))
    assert closed["response"] == response.json()
    assert {(each["kind"], each["action"]) for each in closed["policy"]} == {("secret", "mask")}
    assert closed["input_tokens"] == 3


@pytest.mark.parametrize("path", PATHS)
def test_blocked(gateway: Gateway, upstream: SaidUpstream, path: str) -> None:
    """Nothing of such an answer is given or recorded; that it was found is."""
    upstream.body = said(TOKEN)
    response, closed = ask(gateway, path, "block")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_policy")
    assert TOKEN not in response.text + json.dumps(closed)
    assert closed["status"] == "refused"
    assert {(each["kind"], each["action"]) for each in closed["policy"]} == {("secret", "block")}


@pytest.mark.parametrize("path", PATHS)
def test_tokenized(gateway: Gateway, upstream: SaidUpstream, path: str) -> None:
    """What the request said comes back to the client as it said it, and the record has what stands for it."""
    name = next(iter(PATHS[path]))
    upstream.body = said("<EMAIL_1>")
    response, closed = ask(gateway, path, "tokenize", **{name: f"Ask {MAIL}."})
    assert response.json()["revised_prompt"] == MAIL
    assert closed["response"]["revised_prompt"] == "<EMAIL_1>"


@pytest.mark.parametrize("path", PATHS)
def test_observed(gateway: Gateway, upstream: SaidUpstream, path: str) -> None:
    """It is counted and stays as it is."""
    upstream.body = said(TOKEN)
    response, closed = ask(gateway, path, "observe")
    assert response.json() == closed["response"] == said(TOKEN)
    assert {(each["kind"], each["action"]) for each in closed["policy"]} == {("secret", "observe")}


@pytest.mark.parametrize("path", LONG)
@pytest.mark.parametrize("model", ["mask", "block"])
def test_long(gateway: Gateway, upstream: SaidUpstream, path: str, model: str) -> None:
    """JSON with a picture is read to its end before any of it goes out; the picture stays."""
    upstream.body = {"data": [{"b64_json": BASE64, "revised_prompt": f"A picture of {TOKEN}"}]}
    response, closed = ask(gateway, path, model)
    assert TOKEN not in response.text + json.dumps(closed)
    if model == "block":
        assert response.status_code == 400
    else:
        assert response.json() == {"data": [{"b64_json": BASE64, "revised_prompt": "A picture of [SECRET]"}]}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-subrip", f"text/plain; name={TOKEN}"])
@pytest.mark.parametrize("size", [1, 20_000])
def test_text(gateway: Gateway, upstream: SaidUpstream, kind: str, size: int) -> None:
    """What is no JSON and reads as text is screened as text, whatever its type."""
    text = f'[ It\'s {TOKEN}, "so" é\n' * size
    upstream.raw = raw(kind, text.encode())
    response, closed = ask(gateway, "audio/speech", "mask")
    assert response.content == text.replace(TOKEN, "[SECRET]").encode()
    assert TOKEN not in str(response.headers) + json.dumps(closed)


@pytest.mark.parametrize("size", [100, 200_000])
def test_sound(gateway: Gateway, upstream: SaidUpstream, size: int) -> None:
    """Sound passes as it is."""
    sound = b"ID3\x04\x00" + bytes(range(256)) * (size // 256) + TOKEN.encode()
    upstream.raw = raw("audio/mpeg", sound)
    for model in ("mask", "block"):
        response, closed = ask(gateway, "audio/speech", model)
        assert response.content == sound
        assert closed["response"] == {"content_type": "audio/mpeg", "bytes": len(sound)}


def events(*said: dict[str, Any]) -> bytes:
    """A stream of these."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in said
    )


@pytest.mark.parametrize("model", ["mask", "block"])
def test_events(gateway: Gateway, upstream: SaidUpstream, model: str) -> None:
    """Each is screened; sound and pictures stay, and pieces of a text, of which two say a value, do not."""
    begun: list[dict[str, Any]] = [
        {"type": "speech.audio.delta", "audio": BASE64},
        {"type": "image_generation.partial_image", "b64_json": BASE64},
    ]
    pieces = [{"type": "x.text.delta", "delta": piece} for piece in (TOKEN[:20], TOKEN[20:])]
    done = {"type": "speech.audio.done", "text": TOKEN, "usage": {"input_tokens": 1, "output_tokens": 1}}
    upstream.raw = raw("text/event-stream", events(*begun, *pieces, done))
    response, closed = ask(gateway, "audio/speech", model, stream_format="sse")
    masked = [*begun, *({**each, "delta": None} for each in pieces), {**done, "text": "[SECRET]"}]
    assert TOKEN not in response.text + json.dumps(closed)
    if model == "mask":
        lines = response.text.splitlines()
        assert [json.loads(line[6:]) for line in lines if line.startswith("data: ")] == masked
        assert [line[7:] for line in lines if line.startswith("event: ")] == [each["type"] for each in masked]
        assert closed["status"] == "ok"
    else:
        assert "content_policy" in response.text
        assert closed["status"] == "refused"


def test_events_that_break_off(gateway: Gateway, upstream: SaidUpstream) -> None:
    """That shows, as it does without a policy, and nothing is said of what broke off."""
    whole = events(
        {"type": "speech.audio.delta", "audio": "QUJD"}, {"type": "speech.audio.done", "text": TOKEN}
    )
    upstream.raw = raw("text/event-stream", whole[:-6])
    response, closed = ask(gateway, "audio/speech", "mask", stream_format="sse")
    assert TOKEN[:8] not in response.text
    assert (closed["status"], closed["error_type"]) == ("error", "stream_cut")


@pytest.mark.parametrize(
    "vector", [[0.5] * 3, [4111111111111111, 1], base64.b64encode(struct.pack("4f", *range(4))).decode()]
)
def test_vectors(gateway: Gateway, upstream: SaidUpstream, vector: Any) -> None:
    """They are nobody's words, in base64 too."""
    upstream.body = said("hi") | {
        "data": [{"index": 0, "embedding": vector}, {"index": 1, "embedding": TOKEN}]
    }
    response, closed = ask(gateway, "embeddings", "mask")
    assert [each["embedding"] for each in response.json()["data"]] == [vector, "[SECRET]"]
    assert closed["response"] == response.json()
