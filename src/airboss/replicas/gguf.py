"""What a GGUF file says about itself: a bounded reader of its metadata, which never looks at a tensor.

The layout is llama.cpp's (`ggml/include/gguf.h`): magic, version, counts, then key-value pairs. A file is
hostile until shown otherwise, so that every count and length is checked against what is left of a budget
before a byte of it is read, and only the few keys named here are kept.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from airboss.domain.errors import SetupError, WrongWeights

MAGIC: Final = b"GGUF"
MAX_METADATA_BYTES: Final = 256 * 1024 * 1024
"""The vocabulary is part of the metadata: 1.6 MB for 49,152 tokens, some 20 MB for the largest in use."""
MAX_KEYS: Final = 100_000
MAX_KEPT_BYTES: Final = 1024 * 1024
"""The longest string kept. Chat templates in use are under 20 KB."""
MAX_KEY_BYTES: Final = 65_535
MAX_DEPTH: Final = 4

_U32: Final = 4
_I32: Final = 5
_BOOL: Final = 7
_STRING: Final = 8
_ARRAY: Final = 9
_U64: Final = 10
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, _U32: 4, _I32: 4, 6: 4, _BOOL: 1, _U64: 8, 11: 8, 12: 8}
"""Bytes of each fixed-size type, by its number in the file."""
_INTEGERS: Final = {_U32: "<I", _I32: "<i", _U64: "<Q", 11: "<q", 2: "<H", 3: "<h"}

_KEPT: Final = frozenset(
    {"general.architecture", "general.name", "general.type", "adapter.type", "tokenizer.chat_template"}
)
_ENDS: Final = frozenset(f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom"))


class GgufMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a model's metadata that Airboss uses; None where the file does not say.

    `context_tokens` is the longest context that the model was trained for. `kind` is what the file holds:
    `adapter` for one, of `adapter_type`; most models say `model` or nothing. `ends` are the tokens at which
    an answer is over.
    """

    architecture: str | None = None
    kind: str | None = None
    adapter_type: str | None = None
    name: str | None = None
    chat_template: str | None = None
    context_tokens: int | None = None
    ends: tuple[int, ...] = ()


class _Reader:
    """Reads forward through a file, never beyond `MAX_METADATA_BYTES` nor beyond its end."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self._left = min(size, MAX_METADATA_BYTES)

    def broken(self, what: str) -> SetupError:
        return SetupError(
            f"{self._path} is not a model that can be read: {what}."
            " Fetch it again, or name another GGUF file."
        )

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        self._spend(count)
        data = self._file.read(count)
        if len(data) != count:
            raise self.broken("it ends in the middle of its metadata")
        return data

    def skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def text(self, limit: int) -> str:
        length = self.number("<Q")
        if length > limit:
            raise self.broken(f"it has a string of {length} bytes where {limit} are the most expected")
        return self.take(length).decode("utf-8", "replace")

    def skip_value(self, kind: int, depth: int = 0) -> None:
        """Step over a value. An array's element count is bounded by the bytes left, so that this ends."""
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.skip(self.number("<Q"))
        elif kind == _ARRAY and depth < MAX_DEPTH:
            element, count = self.number("<I"), self.number("<Q")
            if element in _SIZES:
                self.skip(_SIZES[element] * count)
                return
            # Each element below costs 8 bytes or more of the budget, which ends a forged count.
            for _ in range(count):
                self.skip_value(element, depth + 1)
        else:
            raise self.broken(f"it has a value of the unknown type {kind}")

    def _spend(self, count: int) -> None:
        if count > self._left:
            raise self.broken("it ends in the middle of its metadata")
        self._left -= count


def read_metadata(path: Path) -> GgufMetadata:
    """Read the metadata of the model at `path`. Raises SetupError if the file is missing or not GGUF."""
    try:
        with path.open("rb") as file:
            return _read(_Reader(file, path, path.stat().st_size))
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error


def check_adapter(path: Path, base: GgufMetadata) -> None:
    """Raises WrongWeights unless the file at `path` is a LoRA adapter for models built as `base` is.

    Whether its tensors have the sizes of the model's is for the engine to find out.
    """
    try:
        found = read_metadata(path)
    except SetupError as error:
        raise WrongWeights(f"{error} It is to be an adapter: a LoRA in GGUF form.") from error
    if found.kind != "adapter" or found.adapter_type != "lora":
        what = f"an adapter of type {found.adapter_type!r}" if found.kind == "adapter" else "no adapter"
        raise WrongWeights(
            f"{path} is {what}; `adapter` names a LoRA in GGUF form (general.type = adapter, adapter.type ="
            " lora), as `airboss finetune` and llama.cpp's convert_lora_to_gguf.py write it. Weights of their"
            " own go into `model`."
        )
    if found.architecture != base.architecture:
        raise WrongWeights(
            f"the adapter {path} is for models of the architecture {found.architecture!r}, and these weights"
            f" are {base.architecture!r}: serve it with the weights that it was trained on, or train another"
            " on these."
        )


def chat_template(path: Path) -> str | None:
    """The Jinja chat template of the model at `path`, or None. Raises SetupError as `read_metadata`."""
    return read_metadata(path).chat_template


def supports_tools(template: str | None) -> bool:
    """Whether a chat template renders tools: without the word, a list of tools would be silently dropped."""
    return template is not None and "tools" in template


def _read(reader: _Reader) -> GgufMetadata:
    if reader.take(4) != MAGIC:
        raise reader.broken("it does not begin with GGUF")
    version = reader.number("<I")
    if version not in (2, 3):
        raise reader.broken(f"its format has version {version}, and 2 and 3 can be read")
    reader.skip(8)  # the number of tensors
    pairs = reader.number("<Q")
    if pairs > MAX_KEYS:
        raise reader.broken(f"it claims {pairs} metadata keys")
    texts: dict[str, str] = {}
    lengths: dict[str, int] = {}
    ends: list[int] = []
    for _ in range(pairs):
        key, kind = reader.text(MAX_KEY_BYTES), reader.number("<I")
        if kind == _STRING and key in _KEPT:
            texts[key] = reader.text(MAX_KEPT_BYTES)
        elif kind in _INTEGERS and key.endswith(".context_length"):
            lengths[key] = reader.number(_INTEGERS[kind])
        elif kind in _INTEGERS and key in _ENDS:
            ends.append(reader.number(_INTEGERS[kind]))
        else:
            reader.skip_value(kind)
    architecture = texts.get("general.architecture")
    context = lengths.get(f"{architecture}.context_length")
    return GgufMetadata(
        architecture=architecture,
        kind=texts.get("general.type"),
        adapter_type=texts.get("adapter.type"),
        name=texts.get("general.name"),
        chat_template=texts.get("tokenizer.chat_template"),
        context_tokens=context if context is not None and context > 0 else None,
        ends=tuple(ends),
    )
