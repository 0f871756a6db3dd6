"""`/v1/embeddings` in front of Gemini and of Bedrock's models: there and back in their own words."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx2
import openai
import pytest

from airboss.domain.plan import DeploymentPlan
from tests.support.gateway import KEY, PRICE, Gateway, deployment
from tests.support.said_gateway import said_gateway
from tests.support.said_upstream import SaidUpstream

Json = dict[str, Any]
VECTORS = [[0.5, -0.25, 0.125], [1.0, 0.0, -1.0]]
GEMINI: Json = {
    "embeddings": [{"values": each} for each in VECTORS],
    "usageMetadata": {"promptTokenCount": 7},
}
COHERE: Json = {"embeddings": {"float": VECTORS}, "response_type": "embeddings_by_type"}
TITAN: Json = {"embedding": VECTORS[0], "inputTextTokenCount": 3}
SAID = {"gemini": GEMINI, "cohere": COHERE, "titan": TITAN}
MODELS = {
    "gemini": ("gemini", "gemini-embedding-001"),
    "cohere": ("bedrock", "cohere.embed-multilingual-v3"),
    "titan": ("bedrock", "amazon.titan-embed-text-v2:0"),
    "nova": ("bedrock", "amazon.nova-pro-v1:0"),
}


def plans(url: str, secret: str) -> list[DeploymentPlan]:
    """A deployment of each, and one of each that drops what it has no words for."""
    return [
        deployment(
            url,
            name=name + tail,
            aliases=(),
            kind=kind,
            upstream_model=model,
            region="eu-west-1" if kind == "bedrock" else None,
            api_key_ref=secret,
            price=PRICE,
            drop_unsupported=bool(tail),
        )
        for name, (kind, model) in MODELS.items()
        for tail in ("", "-drops")
    ]


worker, gateway = said_gateway(plans)


def ask(gateway: Gateway, model: str, **body: Any) -> httpx2.Response:
    """One call, of two texts unless told otherwise."""
    with gateway.client() as client:
        return client.post("/v1/embeddings", json={"model": model, "input": ["a", "b"]} | body)


@pytest.mark.parametrize(
    ("model", "asked", "went"),
    [
        (
            "gemini",
            {"dimensions": 3},
            (
                "/v1/models/gemini-embedding-001:batchEmbedContents",
                {
                    "requests": [
                        {
                            "model": "models/gemini-embedding-001",
                            "content": {"parts": [{"text": text}]},
                            "outputDimensionality": 3,
                        }
                        for text in ("a", "b")
                    ]
                },
                7,
            ),
        ),
        (
            "cohere",
            {"dimensions": 3, "input_type": "search_query"},
            (
                "/v1/model/cohere.embed-multilingual-v3/invoke",
                {
                    "texts": ["a", "b"],
                    "input_type": "search_query",
                    "embedding_types": ["float"],
                    "output_dimension": 3,
                },
                None,
            ),
        ),
        (
            "titan",
            {"input": ["a"], "dimensions": 3, "user": "u"},
            ("/v1/model/amazon.titan-embed-text-v2%3A0/invoke", {"inputText": "a", "dimensions": 3}, 3),
        ),
    ],
)
def test_texts_become_vectors(
    gateway: Gateway, upstream: SaidUpstream, model: str, asked: Json, went: tuple[str, Json, int | None]
) -> None:
    """In OpenAI's form, with their order, usage and cost; what is not told is counted here."""
    path, sent, tokens = went
    upstream.body = SAID[model]
    answer = ask(gateway, model, **asked)
    assert answer.status_code == 200, answer.text
    assert (upstream.paths[-1], json.loads(upstream.seen[-1])) == (path, sent)
    made = answer.json()
    assert made["object"] == "list"
    assert made["model"] == MODELS[model][1]
    assert [each["embedding"] for each in made["data"]] == VECTORS[: len(made["data"])]
    assert [each["index"] for each in made["data"]] == list(range(len(asked.get("input", "ab"))))
    closed = gateway.closed(answer.headers["x-request-id"])
    assert closed["usage_estimated"] is (tokens is None)
    if tokens is not None:
        assert made["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
        assert (closed["input_tokens"], closed["output_tokens"]) == (tokens, 0)
        assert closed["cost_usd"] == pytest.approx(tokens / 1e6)
    packed = ask(gateway, model, **asked, encoding_format="base64").json()["data"][0]["embedding"]
    assert list(struct.unpack("<3f", base64.b64decode(packed))) == VECTORS[0]
    assert json.loads(upstream.seen[-1]) == sent


def test_openais_own_client(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It asks for base64 unasked."""
    upstream.body = GEMINI
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        made = client.embeddings.create(model="gemini", input=["a", "b"])
    assert [each.embedding for each in made.data] == VECTORS


@pytest.mark.parametrize(
    ("model", "body", "error"),
    [
        ("gemini", {"input": [[1, 2]]}, ("unsupported_by_provider", "input")),
        ("gemini", {"input": [1, 2]}, ("unsupported_by_provider", "input")),
        ("gemini", {"input_type": "query"}, ("unsupported_by_provider", "input_type")),
        ("gemini", {"encoding_format": "int8"}, (None, "encoding_format")),
        ("cohere", {"truncate_prompt_tokens": 5}, ("unsupported_by_provider", "truncate_prompt_tokens")),
        ("titan", {}, ("unsupported_by_provider", "input")),
        ("nova", {}, ("embeddings_unsupported", "model")),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(
    gateway: Gateway, upstream: SaidUpstream, model: str, body: Json, error: tuple[str | None, str]
) -> None:
    """And nothing goes upstream."""
    refused = ask(gateway, model, **body)
    assert refused.status_code == 400, refused.text
    told = refused.json()["error"]
    assert (told["code"], told["param"]) == error
    assert upstream.seen == []


def test_what_may_be_left_out_is_named(gateway: Gateway, upstream: SaidUpstream) -> None:
    """With `drop_unsupported`."""
    upstream.body = GEMINI
    answer = ask(gateway, "gemini-drops", truncate_prompt_tokens=5)
    assert (answer.status_code, answer.headers["x-airboss-dropped"]) == (200, "truncate_prompt_tokens")


@pytest.mark.parametrize(
    ("model", "said", "told"),
    [
        ("gemini", (400, {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}), 400),
        ("gemini", (429, {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}), 429),
        ("gemini", (200, {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}), 503),
        ("gemini", (200, {"embeddings": [{"values": [1.0]}]}), 502),
        ("gemini", (200, b"<html>"), 502),
        ("cohere", (400, {"message": "no"}), 400),
        ("cohere", (200, {"message": "no"}), 502),
        ("titan", (200, b"[]"), 502),
    ],
)
def test_failures_are_errors(
    gateway: Gateway, upstream: SaidUpstream, model: str, said: tuple[int, Json | bytes], told: int
) -> None:
    """In OpenAI's form; fewer vectors than texts are a failure, too."""
    upstream.status, upstream.body = said
    answer = ask(gateway, model, input=["a"] if model == "titan" else ["a", "b"])
    assert answer.status_code == told, answer.text
    assert answer.json()["error"]["message"]
