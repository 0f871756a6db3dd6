"""Writes a GGUF file: a few keys, then tensors of 32-bit floats. Enough for a LoRA adapter.

The layout is llama.cpp's (`ggml/include/gguf.h`), version 3, as `replicas.gguf` reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from airboss.replicas.gguf import MAGIC

ALIGN: Final = 32
"""Each tensor's data begins at a multiple of it."""
_F32: Final = 6
_STRING: Final = 8
_TENSOR_F32: Final = 0


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """`data` are little-endian 32-bit floats, row after row; `shape` is (rows, columns)."""

    name: str
    shape: tuple[int, int]
    data: bytes


def write_gguf(path: Path, keys: Mapping[str, str | float], tensors: Sequence[Tensor]) -> None:
    """Write the file whole or not at all: it gets its name last. Raises OSError."""
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(keys)))
    for key, value in keys.items():
        head += _text(key) + _value(value)
    offset = 0
    for tensor in tensors:
        rows, columns = tensor.shape
        if len(tensor.data) != rows * columns * 4:
            raise ValueError(f"{tensor.name} has {len(tensor.data)} bytes where {tensor.shape} was said")
        # ggml names the dimension that runs fastest first.
        head += _text(tensor.name) + struct.pack("<IQQIQ", 2, columns, rows, _TENSOR_F32, offset)
        offset += len(tensor.data) + _gap(len(tensor.data))
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(head + bytes(_gap(len(head))))
        for tensor in tensors:
            file.write(tensor.data + bytes(_gap(len(tensor.data))))
    fresh.replace(path)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    return struct.pack("<If", _F32, value)


def _gap(size: int) -> int:
    return -size % ALIGN


def write_lora(path: Path, *, architecture: str, alpha: float, tensors: Sequence[Tensor]) -> None:
    """Write a LoRA adapter for a model of that `architecture`, as its own GGUF file names it.

    `tensors` come in pairs, `NAME.lora_a` of (rank, inputs) and `NAME.lora_b` of (outputs, rank), where NAME
    is a tensor of the model; what is added to it is `alpha / rank` times b times a. Raises OSError.
    """
    keys: dict[str, str | float] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    write_gguf(path, keys, tensors)
