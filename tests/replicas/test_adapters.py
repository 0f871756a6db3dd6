"""LoRA adapters: written, checked, and served by the real engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.config import ModelConfig
from airboss.domain.errors import WrongWeights
from airboss.replicas.gguf import check_adapter, read_metadata
from airboss.replicas.gguf_write import write_gguf
from airboss.replicas.health import healthy
from airboss.replicas.order import Order
from tests.replicas.test_llamacpp import command, engine
from tests.support.adapter import random_adapter
from tests.support.engine import starter_weights
from tests.support.ports import unused_port
from tests.support.wait import until


def said(**options: Any) -> str:
    """What the engine says without chance."""
    with engine(**options) as found:
        return str(found.chat(temperature=0, max_tokens=24)["choices"][0]["message"]["content"])


def test_an_adapter_changes_what_the_engine_says(tmp_path: Path) -> None:
    """With it the same weights give another answer, the same each time; one that adds nothing changes
    nothing."""
    plain = said()
    strong = random_adapter(tmp_path / "strong.gguf")
    adapted = said(adapters=[str(strong)])
    assert adapted != plain
    assert said(adapters=[str(strong)]) == adapted
    assert said(adapters=[str(random_adapter(tmp_path / "nothing.gguf", size=0.0))]) == plain


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """An adapter says what it is."""
    found = read_metadata(random_adapter(tmp_path / "a.gguf"))
    assert (found.kind, found.adapter_type, found.architecture) == ("adapter", "lora", "llama")
    check_adapter(tmp_path / "a.gguf", read_metadata(starter_weights()))


def test_what_does_not_fit_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """Another architecture, whole weights, another kind of adapter, and no GGUF at all."""
    base = read_metadata(starter_weights())
    other = random_adapter(tmp_path / "other.gguf", architecture="qwen3")
    with pytest.raises(
        WrongWeights, match=r"architecture 'qwen3', and these weights are 'llama': serve it with"
    ):
        check_adapter(other, base)
    with pytest.raises(WrongWeights, match=r"is no adapter; `adapter` names a LoRA .* go into `model`"):
        check_adapter(starter_weights(), base)
    keys = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "control_vector"}
    write_gguf(tmp_path / "vector.gguf", keys, [])
    with pytest.raises(WrongWeights, match="is an adapter of type 'control_vector'"):
        check_adapter(tmp_path / "vector.gguf", base)
    (tmp_path / "text.gguf").write_text("no GGUF")
    with pytest.raises(WrongWeights, match=r"does not begin with GGUF.*is to be an adapter"):
        check_adapter(tmp_path / "text.gguf", base)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "qwen3"}, "is for models of the architecture 'qwen3'"),
        ({"width": 512}, r"the engine cannot load .*adapter\.gguf"),
    ],
)
def test_the_engine_does_not_start_with_another_models_adapter(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """It ends with a message rather than answer without it."""
    adapter = random_adapter(tmp_path / "adapter.gguf", **change)  # type: ignore[arg-type]  # by name
    options = {
        "weights": str(starter_weights()),
        "adapters": [str(adapter)],
        "port": unused_port(),
        "alias": "tiny",
        "context_tokens": 512,
        "slots": 1,
        "threads": 1,
    }
    ended = subprocess.run(command(options), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert re.search(message, ended.stderr), ended.stderr


def test_an_engine_elsewhere_is_told_of_its_adapter(tmp_path: Path) -> None:
    """As the replicas of a Ray cluster start it: by one argument, which has all settings."""
    adapter = random_adapter(tmp_path / "a.gguf")
    settings = ModelConfig(
        provider="here",
        model=f"file:{starter_weights()}",
        adapter=f"file:{adapter}",
        context_tokens=512,
        slots=1,
    )
    order = Order(model="tiny", port=unused_port(), settings=settings, weights=str(tmp_path))
    told = msgspec.json.encode(order).decode()
    process = subprocess.Popen([sys.executable, "-m", "airboss.compose.engine_process", told])
    try:
        url = f"http://127.0.0.1:{order.port}"
        until(lambda: process.poll() is not None or healthy(url))
        (loaded,) = httpx2.get(f"{url}/lora-adapters", trust_env=False).json()
        assert (loaded["path"], loaded["scale"]) == (str(adapter), 1.0)
    finally:
        process.kill()
        process.wait(60)
