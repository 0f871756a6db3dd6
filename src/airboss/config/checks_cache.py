"""What a cache may be. Pure, but that it looks what is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from airboss.config.embedders import embedder
from airboss.config.extras import install
from airboss.config.rules import check_known, check_range
from airboss.config.types import Config
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.plan import Caching, Semantic

EMBEDDING_KINDS: Final = frozenset({"openai", "openai-compatible", "azure"})
"""Kinds of providers that are asked for embeddings."""


def check_cache(path: Path, cache: Caching, config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first setting that is no good."""
    check_range((*path, "ttl_s"), cache.ttl_s, 1, 90 * 86_400, wrong)
    check_range((*path, "entries_max"), cache.entries_max, 1, 10_000_000, wrong)
    check_range((*path, "bytes_max"), cache.bytes_max, 1024, 1024**4, wrong)
    if cache.semantic is not None:
        _check_semantic((*path, "semantic"), cache.semantic, config, wrong)


def _check_semantic(path: Path, semantic: Semantic, config: Config, wrong: Wrong) -> None:
    at = (*path, "model")
    check_known(at, semantic.model, config.models, "model", wrong)
    model = config.models[semantic.model]
    if model.shares:
        raise wrong(at, f"{dotted(at)}: {quoted(semantic.model)} is a spread, and vectors of two do not mix")
    kind = config.providers[model.provider].kind
    if kind == "local" and embedder(model) is None:
        raise wrong(at, f"{dotted(at)}: {quoted(semantic.model)} writes; give a model that makes vectors")
    if kind != "local" and kind not in EMBEDDING_KINDS:
        kinds = ", ".join(f'"{each}"' for each in sorted(EMBEDDING_KINDS))
        raise wrong(
            at,
            f'{dotted(at)}: {quoted(semantic.model)} is of kind "{kind}", which is not asked for vectors; '
            f"give a local embedding model, or one of a provider of kind {kinds}",
        )
    check_range((*path, "threshold"), semantic.threshold, 0.8, 1, wrong)
    if find_spec("numpy") is None:
        raise wrong(path, f"{dotted(path)} needs numpy: {install('semantic')}, then apply again")
