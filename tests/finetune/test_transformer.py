"""What is trained is the model that the engine runs: both give the same probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("jax", reason="`make test-finetune` has JAX")

import jax
import numpy as np

from airboss.domain.errors import SetupError
from airboss.replicas.gguf_write import write_lora
from airboss.training.learn import tensors_of
from airboss.training.transformer import HALVES, logits, loss_of, new_lora, read_model, slope_of
from tests.finetune.tiny import tiny_model
from tests.replicas.test_llamacpp import engine
from tests.support.engine import starter_weights

IDS = [1, 520, 9531, 198, 504, 3575, 282, 4649, 314, 7042, 30, 2, 198]
MOST = 20


def engines_own(weights: Path, adapter: Path | None) -> dict[int, float]:
    """The log-probabilities of the likeliest tokens after IDS, by the engine."""
    adapters = [] if adapter is None else [str(adapter)]
    with engine(weights=str(weights), adapters=adapters, context_tokens=256, slots=1) as running:
        asked = {"prompt": IDS, "n_predict": 1, "n_probs": MOST, "temperature": 0}
        said = running.client.post("/completion", json=asked).json()
    return {each["id"]: each["logprob"] for each in said["completion_probabilities"][0]["top_logprobs"]}


def ours(weights: Path, adapter: Path | None) -> np.ndarray:
    """The same of all tokens, by what is trained; the adapter is random in both halves."""
    shape, model = read_model(weights)
    lora = new_lora(model, 3, 5)
    if adapter is not None:
        shape = type(shape)(
            **{name: getattr(shape, name) for name in shape.__struct_fields__} | {"scale": 2.0}
        )
        chance = np.random.default_rng(6)
        lora = jax.tree.map(lambda each: 0.2 * chance.standard_normal(each.shape).astype(np.float32), lora)
        write_lora(adapter, architecture=shape.architecture, alpha=6.0, tensors=tensors_of(lora))
    return np.asarray(jax.nn.log_softmax(logits(shape, model, lora, np.asarray(IDS))[-1]))


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("architecture", sorted(HALVES))
def test_the_engine_and_what_is_trained_agree(tmp_path: Path, architecture: str, adapted: bool) -> None:
    """For each architecture, with and without an adapter on every matrix."""
    weights = tiny_model(tmp_path / "m.gguf", architecture)
    adapter = tmp_path / "a.gguf" if adapted else None
    mine = ours(weights, adapter)
    theirs = engines_own(weights, adapter)
    assert len(theirs) == MOST
    for token, said in theirs.items():
        assert mine[token] == pytest.approx(said, abs=0.02)
    assert int(np.argmax(mine)) == max(theirs, key=theirs.__getitem__)


def test_quantised_weights_agree_closely() -> None:
    """The starter model's: the engine also rounds what it multiplies them with, so not quite."""
    mine, theirs = ours(starter_weights(), None), engines_own(starter_weights(), None)
    likely = [token for token, said in theirs.items() if said > -4]
    assert likely
    for token in likely:
        assert mine[token] == pytest.approx(theirs[token], abs=0.35)


def test_the_slope_is_that_of_the_loss(tmp_path: Path) -> None:
    """A small step along it lowers the loss by as much as it says."""
    shape, model = read_model(tiny_model(tmp_path / "m.gguf", "qwen3"))
    lora = new_lora(model, 2, 5)
    ids = np.resize(np.asarray(IDS, np.int32), 65)
    learn = np.arange(65) % 3 == 0
    before, slope = slope_of(lora, shape, model, ids, learn)
    squared = sum(float((each**2).sum()) for each in jax.tree.leaves(slope))
    step = 1e-3 / squared
    moved = jax.tree.map(lambda each, by: each - step * 1000 * by, lora, slope)
    assert float(before - loss_of(moved, shape, model, ids, learn)) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("architecture", "odd"), [("gemma2", None), ("llama", "blk.0.attn_gate.weight")])
def test_what_is_built_otherwise_is_refused(tmp_path: Path, architecture: str, odd: str | None) -> None:
    """Rather than trained wrongly: another architecture, and a tensor that is not known."""
    with pytest.raises(SetupError, match="llama, qwen2, qwen3 can be trained here"):
        read_model(tiny_model(tmp_path / "m.gguf", architecture, odd=odd))
