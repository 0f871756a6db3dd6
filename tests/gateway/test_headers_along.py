"""Headers that a provider's configuration says go along with every request to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.release import ProviderKind
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream

SECRET = "gate-secret-0123456789abcdef"
KINDS: tuple[ProviderKind, ...] = ("openai", "azure", "openai-compatible", "anthropic", "gemini")
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker in front of it, as each kind; of `lost` the variable with the secret is not there."""
    root = tmp_path_factory.mktemp("along")
    (root / "secret").write_text(SECRET)
    along = (("openai-organization", "org-1"), ("x-gate", f"file:{root}/secret"))
    plans = [
        deployment(upstream.url, name=kind, aliases=(), kind=kind, provider=kind, headers=along)
        for kind in KINDS
    ]
    plans.append(deployment(upstream.url, name="bare", aliases=(), provider="bare"))
    gone = (("x-gate", "env:AIRBOSS_TEST_GONE"),)
    plans.append(deployment(upstream.url, name="lost", aliases=(), provider="lost", headers=gone))
    with Gateway(root / "worker", *plans) as running:
        yield running


def sent(gateway: Gateway, upstream: SaidUpstream, route: str, **body: Any) -> dict[str, str]:
    """The headers of what went upstream; whether its answer means anything is not asked."""
    upstream.reset()
    with gateway.client() as client:
        client.post(f"/v1/{route}", json=body)
    return upstream.headers[0]


@pytest.mark.parametrize("kind", KINDS)
def test_they_go_along_whatever_the_dialect(gateway: Gateway, upstream: SaidUpstream, kind: str) -> None:
    """Streamed or whole, as they are written or from where their secret is."""
    for stream in (False, True):
        told = sent(gateway, upstream, "chat/completions", model=kind, stream=stream, **ASK)
        assert (told["openai-organization"], told["x-gate"]) == ("org-1", SECRET)
        assert "content-length" in told


def test_they_go_along_where_requests_are_passed_on(gateway: Gateway, upstream: SaidUpstream) -> None:
    """OpenAI's other routes, embeddings and Responses too; to others nothing goes."""
    for route, body in (
        ("images/generations", {"prompt": "x"}),
        ("embeddings", {"input": "x"}),
        ("responses", {"input": "x"}),
    ):
        assert sent(gateway, upstream, route, model="openai", **body)["x-gate"] == SECRET
    assert "x-gate" not in sent(gateway, upstream, "chat/completions", model="bare", **ASK)


def test_the_trace_goes_along_too(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Of a call that is part of one, beside them and in every dialect."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for kind in KINDS:
        upstream.reset()
        with gateway.client() as client:
            client.post(
                "/v1/chat/completions",
                json={"model": kind, **ASK},
                headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
            )
        assert (upstream.headers[0]["x-gate"], trace in upstream.headers[0]["traceparent"]) == (SECRET, True)


def test_one_whose_secret_is_missing_is_told_as_a_key_is(gateway: Gateway) -> None:
    """Nothing is asked without it, and the answer says where it should be."""
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "lost", **ASK})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "provider_key_missing"
    assert "AIRBOSS_TEST_GONE" in answer.json()["error"]["message"]


def test_a_secret_in_one_stands_in_no_record(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A provider that repeats it is answered to nobody word for word."""
    upstream.reset()
    upstream.status, upstream.body = 400, {"error": {"message": f"bad {SECRET}", "type": "x", "code": "y"}}
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "openai", **ASK})
    upstream.reset()
    assert answer.status_code == 400
    assert SECRET not in answer.text
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in gateway.journal.rglob("*.seg"))
