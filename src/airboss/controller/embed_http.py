"""Vectors of texts, from a local engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import httpx2
import msgspec

from airboss.domain.errors import StoreUnavailable

EMBED_S: Final = 20.0


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]


class Engine:
    """`drift_watch.Embedder`: a local engine that makes vectors, asked directly, so that no call is recorded
    and no limit used up."""

    def __init__(self, name: str, base_url: str | None) -> None:
        self.name = name
        self._base_url = base_url

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """As `Embedder.embed`."""
        if self._base_url is None:
            raise StoreUnavailable(f"{self.name}, which tells topics, has no engine yet")
        body = {"model": self.name, "input": list(texts)}
        try:
            with httpx2.Client(timeout=EMBED_S, trust_env=False) as client:
                answer = client.post(f"{self._base_url}/embeddings", json=body).raise_for_status()
            found = msgspec.json.decode(answer.content, type=_Vectors).data
        except (httpx2.HTTPError, msgspec.DecodeError) as error:
            raise StoreUnavailable(f"{self.name}, which tells topics, does not answer: {error}") from error
        return [each.embedding for each in sorted(found, key=lambda each: each.index)]
