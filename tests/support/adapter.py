"""Small LoRA adapters, made from a seed."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from airboss.replicas.gguf_write import Tensor, write_lora

WIDTH, RANK = 576, 2
"""The starter model's width."""


def random_adapter(
    path: Path, *, seed: int = 7, size: float = 0.3, architecture: str = "llama", width: int = WIDTH
) -> Path:
    """Changes how the starter model's first layers attend, so much that it says other words."""
    chance = random.Random(seed)
    tensors = []
    for layer in range(4):
        for half, shape in (("a", (RANK, width)), ("b", (width, RANK))):
            numbers = [chance.uniform(-size, size) for _ in range(shape[0] * shape[1])]
            name = f"blk.{layer}.attn_q.weight.lora_{half}"
            tensors.append(Tensor(name=name, shape=shape, data=struct.pack(f"<{len(numbers)}f", *numbers)))
    write_lora(path, architecture=architecture, alpha=16.0, tensors=tensors)
    return path
