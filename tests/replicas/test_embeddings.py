"""The embedding engine: its tokenizer, its vectors, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from airboss.config.embedders import EMBEDDERS
from airboss.domain.errors import InvalidRequest, SetupError
from airboss.replicas.onnx import Vectors, app, load
from airboss.replicas.wordpiece import WordPiece
from tests.support.engine import EMBEDDER_SHA256, embedder_files

KIND = EMBEDDERS[EMBEDDER_SHA256]

# As Hugging Face's `tokenizers` gives them with this vocabulary.
TOKENS = [
    ("", [101, 102]),
    ("Hello, World!", [101, 7592, 1010, 2088, 999, 102]),
    ("don't  stop\u2014now", [101, 2123, 1005, 1056, 2644, 1517, 2085, 102]),
    ("naïve CAFÉ", [101, 15743, 7668, 102]),
    ("x" * 120 + " y", [101, 100, 1061, 102]),
    ("a\u200bb\tc\u00a0d", [101, 11113, 1039, 1040, 102]),
]


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    """The model's own."""
    return WordPiece.read(embedder_files()[1].read_bytes())


@pytest.fixture(scope="module")
def vectors(tokenizer: WordPiece) -> Vectors:
    """The engine without its server."""
    return Vectors(KIND, tokenizer, load(embedder_files()[0], threads=1), alias="minilm")


def ask(vectors: Vectors, given: Any, **more: Any) -> dict[str, Any]:
    """Its answer."""
    return json.loads(made(vectors, {"model": "x", "input": given, **more}))


def made(vectors: Vectors, body: dict[str, Any]) -> bytes:
    """All steps of an answer."""
    steps = vectors.answer(json.dumps(body).encode())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(("text", "ids"), TOKENS, ids=repr)
def test_tokens(tokenizer: WordPiece, text: str, ids: list[int]) -> None:
    """Case, accents, signs, long words and invisible characters."""
    assert tokenizer.ids(text) == ids


def test_another_tokenizer_is_refused() -> None:
    """One that would give other tokens without a word."""
    with pytest.raises(SetupError, match="BPE"):
        WordPiece.read(b'{"model":{"type":"BPE","vocab":{}},"normalizer":{"type":"NFC"}}')


def test_what_means_alike_is_near(vectors: Vectors) -> None:
    """Vectors have length 1, and their products tell of meaning; usage counts every token."""
    answer = ask(vectors, ["a cat", "a kitten", "the stock market"])
    cat, kitten, market = (each["embedding"] for each in answer["data"])
    assert len(cat) == KIND.dimensions
    assert sum(x * x for x in cat) == pytest.approx(1, abs=1e-5)
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, market))
    assert near > far + 0.3
    assert answer["usage"] == {"prompt_tokens": 4 + 4 + 5, "total_tokens": 13}
    assert [each["index"] for each in answer["data"]] == [0, 1, 2]


def test_a_text_has_one_vector(vectors: Vectors) -> None:
    """Alone, among others, and in either form."""
    (alone,) = ask(vectors, "a cat")["data"]
    among = ask(vectors, ["a much longer text about something else", "a cat"])["data"][1]
    assert alone["embedding"] == among["embedding"]
    assert ask(vectors, "a cat", encoding_format=None)["data"] == [alone]
    (packed,) = ask(vectors, "a cat", encoding_format="base64", dimensions=384)["data"]
    assert struct.unpack("<384f", base64.b64decode(packed["embedding"])) == pytest.approx(alone["embedding"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": "x", "dimensions": 100}, "384"),
        ({"input": []}, "1 to 2048"),
        ({"input": ["x"] * 2049}, "1 to 2048"),
        ({"input": ["x", ""]}, "'input' 1 is empty"),
        ({"input": [1, 2]}, "send text"),
        ({"input": [[1, 2]]}, "send text"),
        ({"input": "word " * 300}, "302 tokens, and this model reads 256"),
        ({"input": ["x", "x" * 100_000]}, "'input' 1 has 100000 characters, and this model reads 256"),
        ({"input": "x", "encoding_format": "int8"}, "int8"),
        ({"input": {}}, "input"),
        ({}, "input"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_it_cannot_do_it_says(vectors: Vectors, body: dict[str, Any], said: str) -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(InvalidRequest, match=said):
        made(vectors, body)


class Callers:
    """Whoever asks an engine. `computed` is how long the texts were, in order."""

    def __init__(self, tokenizer: WordPiece) -> None:
        self.computed: list[int] = []
        self._app = app(Vectors(KIND, tokenizer, self._compute, alias="minilm"))

    def _compute(self, ids: list[int]) -> Any:
        self.computed.append(len(ids))
        return np.zeros(KIND.dimensions, np.float32)

    async def ask(self, *texts: str, leaves: bool = False) -> int:
        """The status of an answer; `leaves`: once there is a vector, nobody waits for it any more."""
        heard: list[dict[str, Any]] = []
        coming = [{"type": "http.request", "body": json.dumps({"input": texts}).encode(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop()
            if not (leaves and self.computed):
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            heard.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/embeddings",
            "headers": [],
            "query_string": b"",
        }
        await self._app(scope, receive, send)
        return int(heard[0]["status"])


def test_texts_of_several_callers_take_turns(tokenizer: WordPiece) -> None:
    """Who asks for one vector has it long before another has a hundred."""
    callers = Callers(tokenizer)

    async def both() -> set[int]:
        return set(await asyncio.gather(callers.ask(*["a cat"] * 100), callers.ask("cat")))

    assert asyncio.run(both()) == {200}
    assert callers.computed.index(3) < 10
    assert len(callers.computed) == 101


def test_nothing_is_computed_for_who_has_left(tokenizer: WordPiece) -> None:
    """But the text that was under way."""
    callers = Callers(tokenizer)
    assert asyncio.run(callers.ask(*["a cat"] * 100, leaves=True)) == 499
    assert len(callers.computed) < 10
