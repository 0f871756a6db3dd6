"""Secrets that upstreams say again: none in what is recorded, counted, shared or logged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from airboss.domain.release import PiiAction
from airboss.governance.policies import policy_of
from airboss.telemetry.metrics import read_counts, target_uses
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.wait import until

PROVIDER_KEY = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"
OWN_KEY = "ab_Zx81kQw92LmPq07VbN34TyReUi56OpAs78DfGh90JkL"
ACTIONS: tuple[PiiAction | None, ...] = (None, "observe", "mask", "block")
TOKEN = "ghp_aBxdEyfGzhJxkLymNzpQxrSytUzvWxxYyzAq"


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment without a policy, and one for each action that changes what is said."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(PROVIDER_KEY)
    plans = [
        deployment(
            upstream.url,
            name=action or "none",
            aliases=(),
            api_key_ref=f"file:{secret}",
            continuation="off",
            policy=policy_of(action, None) if action is not None else None,
        )
        for action in ACTIONS
    ]
    with Gateway(tmp_path_factory.mktemp("echoed"), *plans) as running:
        yield running


@pytest.mark.parametrize(("model", "secret"), [("none", PROVIDER_KEY), ("mask", TOKEN), ("block", TOKEN)])
@pytest.mark.parametrize("status", [400, 409, 422, 429, 200])
def test_an_errors_name(
    gateway: Gateway, upstream: SaidUpstream, model: str, secret: str, status: int
) -> None:
    """It may look like any name. It stands neither among the call's attempts nor in what is counted of the
    place: where a policy has it masked, and always where it is our own key."""
    upstream.events, upstream.status = [], status
    upstream.body = {"error": {"message": "no", "type": f"x.{secret}", "code": secret}}
    try:
        response = gateway.chat(model=model)
    finally:
        upstream.status = 200
    assert response.status_code >= 400
    assert secret not in response.text
    closed = gateway.closed(response.headers["x-request-id"])
    assert secret not in json.dumps(closed)
    metrics, name = gateway.journal.parent / "metrics", closed["attempts"][0]["error_type"]
    until(lambda: any(name in use.failures for use in target_uses(read_counts(metrics, but="").values())))
    assert secret not in (metrics / "gateway-0.json").read_text()
    assert secret.encode() not in gateway.journal_bytes()
    assert secret not in gateway.log


def begins(pieces: list[str]) -> bytes:
    """A stream of a chat that says these pieces, and no more."""
    said = [{"id": "u", "choices": [{"index": 0, "delta": {"content": each}}]} for each in pieces]
    return b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in said)


def parts(secret: str) -> set[str]:
    """What of a secret is too much of it."""
    return {secret[at : at + 8] for at in range(len(secret) - 7)}


@pytest.mark.parametrize("dialect", ["chat/completions", "messages", "responses", "completions"])
@pytest.mark.parametrize("model", ["none", "observe"])
def test_a_stream_cut_anywhere(gateway: Gateway, upstream: SaidUpstream, dialect: str, model: str) -> None:
    """Wherever it breaks off (of a chat at every byte), and however the key that it says again was cut into
    pieces: its record has less than eight characters of that, be it the provider's or one of ours."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    source = random.Random(f"{dialect} {model}")
    asked: dict[str, Any] = {"model": model, "stream": True, "max_tokens": 99}
    asked |= {"input": "hi", "prompt": "hi", "messages": [{"role": "user", "content": "hi"}]}
    said = {"messages": ("messages",), "responses": ("input",), "completions": ("prompt",)}
    of_route = {
        "model",
        "stream",
        *said.get(dialect, ("messages",)),
        *(["max_tokens"] * (dialect == "messages")),
    }
    body = {name: value for name, value in asked.items() if name in of_route}
    ids = []
    with gateway.client() as client:
        for secret in (PROVIDER_KEY, OWN_KEY):
            edges = sorted({0, len(secret), *source.sample(range(len(secret)), 4)})
            whole = begins(["It is ", *(secret[a:b] for a, b in pairwise(edges)), " so."])
            if dialect == "completions":
                whole = whole.replace(b'"delta": {"content": ', b'"text": ').replace(b'"}}]}', b'"}]}')
            sizes = range(len(whole) + 1)
            for size in sizes if dialect == "chat/completions" else source.sample(sizes, 60):
                upstream.raw = head + whole[:size]
                ids.append(client.post(f"/v1/{dialect}", json=body).headers["x-request-id"])
    upstream.raw = None
    for record_id in ids:
        text = json.dumps(gateway.closed(record_id))
        assert not [each for secret in (PROVIDER_KEY, OWN_KEY) for each in parts(secret) if each in text], (
            text
        )
    assert "It is [REDACTED]" in gateway.journal_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize("piece", [PROVIDER_KEY[:16], PROVIDER_KEY[8:24]])
def test_an_event_that_cannot_be_read(gateway: Gateway, upstream: SaidUpstream, piece: str) -> None:
    """Its words are not told: it may have any part of a key."""
    upstream.events = ['{"choices":[{"index":0,"delta":{"content":"hi"}}]}', f'{{"content":"{piece}"}} }}']
    answer = gateway.chat(model="none", stream=True)
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["error_type"] == "upstream_error"
    assert piece not in json.dumps(closed)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_is_too_long(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """What `max_tokens` cuts off is cut off as well."""
    half = f"It is {PROVIDER_KEY[:20]}"
    if stream:
        upstream.stream([{"content": half}], finish="length")
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": half}, "finish_reason": "length"}
        upstream.events, upstream.body = [], {"id": "u", "choices": [choice]}
    answer = gateway.chat(model="none", stream=stream)
    kept = gateway.closed(answer.headers["x-request-id"])["response"]
    assert kept["choices"][0]["message"]["content"] == "It is [REDACTED]"


@pytest.mark.parametrize("before", range(150, 200, 7))
def test_a_redirect_to_an_address_with_a_key(gateway: Gateway, upstream: SaidUpstream, before: int) -> None:
    """Of a long address no half of a key is told."""
    address = f"/{'x' * before}{PROVIDER_KEY}/v1"
    upstream.raw = f"HTTP/1.1 302 Found\r\nlocation: {address}\r\ncontent-length: 0\r\n\r\n".encode()
    try:
        answer = gateway.chat(model="none")
    finally:
        upstream.raw = None
    closed = json.dumps(gateway.closed(answer.headers["x-request-id"]))
    assert not [each for each in parts(PROVIDER_KEY) if each in closed + answer.text]
