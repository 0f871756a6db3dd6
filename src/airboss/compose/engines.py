"""Which engine runs a local model, started with what it was placed with."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from airboss.config import ModelConfig
from airboss.config.embedders import embedder
from airboss.replicas.weights import fetch


def serve_model(settings: ModelConfig, *, weights_dir: Path, port: int, alias: str) -> NoReturn:
    """Fetch weights and adapter if need be, and serve until ended. Raises SetupError."""
    weights, *adapters = [fetch(source, sha256, weights_dir) for source, sha256 in settings.files()]
    kind = embedder(settings)
    if kind is not None:
        from airboss.replicas import onnx  # noqa: PLC0415 - one of the two engines, both large

        tokenizer = fetch(kind.tokenizer, kind.tokenizer_sha256, weights_dir)
        onnx.serve(
            weights=weights,
            tokenizer=tokenizer,
            kind=kind,
            port=port,
            alias=alias,
            threads=settings.threads,
        )
    from airboss.replicas import llamacpp  # noqa: PLC0415 - as above

    llamacpp.serve(
        weights=weights,
        adapters=adapters,
        port=port,
        alias=alias,
        context_tokens=settings.context_tokens,
        slots=settings.slots,
        threads=settings.threads,
    )
