"""An engine for one judgement: there for the block, gone after it, and told of where it cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx2
import pytest

from airboss.compose.candidate_engine import candidate_engine
from airboss.config import ModelConfig
from airboss.domain.errors import SetupError
from airboss.replicas.health import healthy
from airboss.store.datadir import DataDir
from tests.support.adapter import random_adapter
from tests.support.engine import starter_weights


class Left(Exception):
    """The job is to be left."""


def settings(tmp_path: Path, sha256: str | None = None) -> ModelConfig:
    """The starter model with an adapter."""
    adapter = random_adapter(tmp_path / "a.gguf")
    return ModelConfig(
        provider="local",
        model=f"file:{starter_weights()}",
        adapter=f"file:{adapter}",
        adapter_sha256=sha256 or hashlib.sha256(adapter.read_bytes()).hexdigest(),
        context_tokens=256,
        slots=1,
        threads=1,
    )


def data_dir(tmp_path: Path) -> DataDir:
    """A data directory."""
    data = DataDir(tmp_path / "data")
    data.create()
    return data


def test_it_answers_and_ends_with_the_block(tmp_path: Path) -> None:
    """On a port of its own."""
    looked: list[int] = []
    with candidate_engine(
        settings(tmp_path), data_dir(tmp_path), alias="tuned", look=lambda: looked.append(1)
    ) as port:
        url = f"http://127.0.0.1:{port}"
        asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        said = httpx2.post(f"{url}/v1/chat/completions", json=asked, timeout=60.0, trust_env=False)
        assert said.status_code == 200
        assert said.json()["choices"][0]["message"]["content"]
    assert looked
    assert not healthy(url)


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    """An adapter that is not what it should be; and whoever is to leave does so while it starts."""
    with (
        pytest.raises(SetupError, match=r"ended as it began: .*sha256"),
        candidate_engine(
            settings(tmp_path, sha256="0" * 64), data_dir(tmp_path), alias="tuned", look=lambda: None
        ),
    ):
        pass

    def leave() -> None:
        raise Left

    with (
        pytest.raises(Left),
        candidate_engine(settings(tmp_path), data_dir(tmp_path), alias="tuned", look=leave),
    ):
        pass
