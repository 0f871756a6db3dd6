"""Local embeddings, as an app sees them: OpenAI's client against a supervised engine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from airboss.compose import drifts
from airboss.compose.parts import open_ledger
from airboss.evaluations.drift_features import embedded, near, to_embed, vector
from airboss.store.datadir import DataDir
from tests.support.airboss import Airboss
from tests.support.engine import EMBEDDER_SHA256, EMBEDDER_SOURCE, embedder_files
from tests.support.wait import until

CONFIG = f"""
[providers.local]
kind = "local"

[models.minilm]
provider = "local"
model = "{EMBEDDER_SOURCE}"
sha256 = "{EMBEDDER_SHA256}"
threads = 1

[deployments.embeddings]
model = "minilm"
aliases = ["text-embedding-3-small"]
"""


@pytest.fixture(scope="module")
def airboss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """Airboss with nothing but an embedding model, its files at hand."""
    weights, tokenizer = embedder_files()
    made = Airboss(tmp_path_factory.mktemp("embeddings") / "a", CONFIG, weights=weights)
    (made.data / "weights" / tokenizer.name).symlink_to(tokenizer)
    with made as running:
        yield running


@pytest.fixture(scope="module")
def client(airboss: Airboss) -> OpenAI:
    """OpenAI's SDK as a user would make it."""
    return OpenAI(base_url=airboss.ready["base_url"], api_key=airboss.ready["api_key"], max_retries=2)


def replica(airboss: Airboss) -> dict[str, Any]:
    """The one engine."""
    found: dict[str, Any] = json.loads(airboss.verb("replica", "list", "--json"))
    return found


def test_openais_client_gets_vectors(airboss: Airboss, client: OpenAI) -> None:
    """In its own form (base64) and in plain numbers, one and many; the call is recorded and costs nothing."""
    made = client.embeddings.create(model="text-embedding-3-small", input=["a cat", "a kitten", "a bond"])
    cat, kitten, bond = (each.embedding for each in made.data)
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, bond))
    assert near > far
    plain = client.embeddings.create(model="embeddings", input="a cat", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(cat)
    assert made.usage.prompt_tokens == made.usage.total_tokens == 12
    airboss.settled()
    record = airboss.records("--limit", "2")[1]
    assert (record["operation"], record["provider"], record["model"]) == ("embeddings", "local", "minilm")
    assert (record["input_tokens"], record["output_tokens"], record["cost_usd"]) == (12, 0, 0)


def test_what_it_cannot_do_is_a_clear_400(client: OpenAI) -> None:
    """Fewer dimensions, a text that is too long, and a chat."""
    with pytest.raises(BadRequestError, match="384"):
        client.embeddings.create(model="embeddings", input="x", dimensions=64)
    with pytest.raises(BadRequestError, match="256") as caught:
        client.embeddings.create(model="embeddings", input="word " * 400)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model="embeddings", messages=[{"role": "user", "content": "hi"}])


def test_topics_of_drift_are_told_by_it(airboss: Airboss) -> None:
    """The controller finds the engine in the plan and asks it directly: what means the same in other words is
    near, nothing is recorded, and no text is too long, in any script."""
    with open_ledger(DataDir(airboss.data)) as ledger:
        engine = drifts.embedder(ledger)
    assert engine is not None
    assert engine.name == "minilm"
    airboss.settled()
    before = len(airboss.records())
    texts = ["My parcel has not arrived", "where is the package I ordered?", "a recipe for tomato soup"]
    longest = [to_embed(each * 3_000) for each in ("word ", "\ud55c\uad6d", "\u4f60", ". ", "e\u0301")]
    vectors = [embedded(each) for each in engine.embed([*texts, *longest])]
    parcel, package, soup = vectors[:3]
    assert near(parcel, package) > 0.4 > near(parcel, soup)
    assert near(vector(texts[0]), vector(texts[1])) == 0, "by words they have nothing in common"
    airboss.settled()
    assert len(airboss.records()) == before


def test_a_killed_engine_is_started_again(airboss: Airboss, client: OpenAI) -> None:
    """It is a replica as any other: supervised, shown, restarted; calls wait for it."""
    before = replica(airboss)
    assert (before["model"], before["state"]) == ("minilm", "ready")
    os.kill(before["pid"], signal.SIGKILL)
    assert client.embeddings.create(model="embeddings", input="x").data
    until(lambda: replica(airboss)["restarts"] == 1)
