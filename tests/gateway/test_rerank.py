"""`/v1/rerank`, which servers with OpenAI's dialect have and OpenAI has not."""

from __future__ import annotations

import json
from pathlib import Path

from airboss.testing import FakeProvider
from tests.support.gateway import PRICE, Gateway, deployment

DOCUMENTS = ["a deck", "the catapult on a deck", {"text": "sea"}]
BODY = {"model": "ranks", "query": "catapult deck", "documents": DOCUMENTS, "top_n": 2}


def test_what_was_read_is_counted(provider: FakeProvider, own_root: Path) -> None:
    """Passed on as it came but for the model; it wrote nothing. In another dialect there is no such route."""
    plans = [
        deployment(
            provider.url,
            name="ranks",
            kind="openai-compatible",
            upstream_model="bge",
            price=PRICE,
            aliases=(),
        ),
        deployment(provider.url, name="claude", kind="anthropic", price=PRICE, aliases=()),
    ]
    with Gateway(own_root, *plans) as gateway, gateway.client() as client:
        answer = client.post("/v1/rerank", json=BODY)
        assert [each["index"] for each in answer.json()["results"]] == [1, 0, 2]
        assert json.loads(provider.last().body) == BODY | {"model": "bge"}
        id_ = answer.headers["x-request-id"]
        closed = gateway.closed(id_)
        assert gateway.frames()[0][id_]["operation"] == "rerank"
        assert (closed["input_tokens"], closed["output_tokens"]) == (10, 0)
        assert float(closed["cost_usd"]) == 10e-6
        refused = client.post("/v1/rerank", json=BODY | {"model": "claude"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "route_not_offered")
