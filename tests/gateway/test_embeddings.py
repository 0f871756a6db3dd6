"""`/v1/embeddings` through the real gateway: passed on as it is, recorded and billed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import KEY, PRICE, Gateway, deployment


@pytest.fixture(scope="module")
def kinds(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment of each kind, and one under a policy."""
    plans = [
        deployment(fake_process.url, name=kind, aliases=(), kind=kind)
        for kind in ("openai", "local", "anthropic")
    ]
    masked = deployment(fake_process.url, name="masked", aliases=(), policy=policy_of("mask", None))
    free = deployment(fake_process.url, price=PRICE)
    with Gateway(tmp_path_factory.mktemp("kinds"), *plans, masked, free) as running:
        yield running


def test_bytes_pass_untouched(kinds: Gateway, provider: FakeProvider) -> None:
    """Only the model's name changes; usage and cost are recorded."""
    body = b'{ "model":"gpt-4o", "input":["\xc3\xa9 hi", "b"], "unknown": 1.50, "user": "u" }'
    with kinds.client() as client:
        response = client.post("/v1/embeddings", content=body)
    assert response.status_code == 200
    assert provider.last().body.encode() == body.replace(b"gpt-4o", b"up")
    record_id = response.headers["x-request-id"]
    opened, closed = kinds.frames()[0][record_id], kinds.closed(record_id)
    assert (opened["operation"], opened["user"], opened["request"]) == ("embeddings", "u", json.loads(body))
    assert closed["response"] == response.json()
    tokens = response.json()["usage"]["prompt_tokens"]
    assert (closed["input_tokens"], closed["output_tokens"], closed["usage_estimated"]) == (tokens, 0, False)
    assert closed["cost_usd"] == pytest.approx(tokens / 1e6)
    assert float(response.headers["x-airboss-cost-usd"]) == pytest.approx(closed["cost_usd"])


def test_large_answers_are_recorded_without_vectors(kinds: Gateway) -> None:
    """Of megabytes of numbers the record has all but the numbers."""
    with kinds.client() as client:
        response = client.post(
            "/v1/embeddings", json={"model": "gpt-4o", "input": ["a"] * 50, "dimensions": 1000}
        )
    said = response.json()
    assert len(said["data"][7]["embedding"]) == 1000
    kept = kinds.closed(response.headers["x-request-id"])["response"]
    assert kept == said | {"data": [each | {"embedding": None} for each in said["data"]]}


@pytest.mark.parametrize("kind", ["local", "anthropic"])
def test_who_makes_none(kinds: Gateway, provider: FakeProvider, kind: str) -> None:
    """A deployment that makes no embeddings says so; nothing goes upstream."""
    with kinds.client() as client:
        response = client.post("/v1/embeddings", json={"model": kind, "input": "x"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "embeddings_unsupported"
    assert provider.stats().requests == 0


@pytest.mark.parametrize(
    ("fault", "status"), [("429", 429), ("500", 502), ("reset", 502), ("html", 502), ("error-200", 502)]
)
def test_faults(kinds: Gateway, provider: FakeProvider, fault: str, status: int) -> None:
    """A failing provider is an error in OpenAI's shape."""
    provider.script(ScriptStep(behaviour=fault, forever=True))  # one more may be sent
    with kinds.client() as client:
        response = client.post("/v1/embeddings", json={"model": "gpt-4o", "input": "x"})
    assert response.status_code == status, response.text
    assert kinds.closed(response.headers["x-request-id"])["status"] == "error"


def test_bad_requests(kinds: Gateway, provider: FakeProvider) -> None:
    """What is no request for embeddings is refused with the member's name."""
    with kinds.client() as client:
        for body, param in (
            ({}, "input"),
            ({"input": 7}, "input"),
            ({"input": ""}, "input"),
            ({"input": []}, "input"),
            ({"input": "x", "dimensions": 0}, "dimensions"),
            ({"input": "x", "dimensions": "many"}, "dimensions"),
            ({"input": "x", "encoding_format": 5}, "encoding_format"),
            ({"input": "x", "stream": True}, "stream"),
        ):
            response = client.post("/v1/embeddings", json={"model": "gpt-4o"} | body)
            assert response.status_code == 400
            assert response.json()["error"]["param"] == param
    assert provider.stats().requests == 0


def test_policies(kinds: Gateway, provider: FakeProvider) -> None:
    """What is embedded is masked first; vectors, which look like secrets in base64, are left alone."""
    with kinds.client() as client:
        response = client.post(
            "/v1/embeddings",
            json={"model": "masked", "input": "ask jane.doe@example.com", "encoding_format": "base64"},
        )
        assert json.loads(provider.last().body)["input"] == "ask [EMAIL]"
        plain = client.post(
            "/v1/embeddings",
            json={"model": "gpt-4o", "input": "ask [EMAIL]", "encoding_format": "base64"},
        )
        assert response.json()["data"] == plain.json()["data"]
        tokens = client.post("/v1/embeddings", json={"model": "masked", "input": [[1, 2]]})
        assert tokens.json()["error"]["code"] == "content_policy"
    closed = kinds.closed(response.headers["x-request-id"])
    assert [(each["kind"], each["count"]) for each in closed["policy"]] == [("email", 1)]


def test_the_real_client(kinds: Gateway) -> None:
    """OpenAI's own client, which asks for base64, gets its numbers."""
    with openai.OpenAI(base_url=f"{kinds.url}/v1", api_key=KEY, max_retries=0) as client:
        made = client.embeddings.create(model="gpt-4o", input=["a", "b"])
    assert [len(each.embedding) for each in made.data] == [64, 64]
    assert isinstance(made.data[0].embedding[0], float)
