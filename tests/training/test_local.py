"""Without the extra nothing is trained, and nothing is begun."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from airboss.tuning.local import LocalTrainer
from airboss.tuning.ports import TrainingFailed, TrainOrder


def test_the_extra_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before weights are fetched; the message says how to install it."""
    monkeypatch.setitem(sys.modules, "jax", None)  # not to be imported, whatever is installed
    order = TrainOrder(
        model="file:/m.gguf",
        training=tmp_path / "t.jsonl",
        validation=None,
        epochs=1,
        learning_rate=None,
        rank=8,
        seed=1,
        work=tmp_path / "work",
    )

    def weights() -> Path:
        raise AssertionError("nothing is fetched")

    with pytest.raises(TrainingFailed, match=r"pip install 'airboss\[finetune\]'"):
        LocalTrainer(weights, tmp_path / "adapters").train(order, lambda *_: None)
    assert list(tmp_path.iterdir()) == []
