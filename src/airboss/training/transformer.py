"""A GGUF model as a function that JAX can differentiate: the transformers of the llama and qwen families.

Weights keep the names and the layout that the file gives them, so that what is trained on them needs no
translation to be served: llama's files have queries and keys permuted for rotations of neighbours, qwen's
rotate the halves. A test compares what comes out with the engine's own probabilities, for each architecture.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import gguf
import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from airboss.domain.errors import SetupError

Weights = dict[str, Any]
"""Arrays by name; those of layers are stacked in `layers`."""
Lora = dict[str, dict[str, Any]]
"""By the matrix's name `a` (layers, rank, inputs) and `b` (layers, outputs, rank)."""

MATRICES: Final = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""What each layer multiplies with, and what an adapter adds to."""
_OTHERS: Final = frozenset(
    {"attn_norm.weight", "ffn_norm.weight", "attn_q_norm.weight", "attn_k_norm.weight"}
    | {f"attn_{each}.bias" for each in "qkv"}
)
_OUTER: Final = frozenset({"token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight"})
HALVES: Final = {"llama": False, "qwen2": True, "qwen3": True}
"""The architectures that are known, and whether they rotate halves instead of neighbours."""
CHUNK: Final = 64
"""So many positions get their probabilities at once: over a vocabulary of 150,000 tokens that is 39 MB."""
MEMORY: Final = Path("/proc/meminfo")
SPARE_BYTES: Final = 800_000_000
BYTES_A_NUMBER: Final = 3
"""What a training takes in all: with the starter model's 135 million numbers 1.0 GB for examples of 60
tokens, 1.2 for those of 950. Two bytes are the number's own, the third is for reading."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a model; `scale` is what an adapter adds to it is multiplied with."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    epsilon: float
    rope_base: float
    scale: float = 1.0

    def __hash__(self) -> int:
        return hash(msgspec.structs.astuple(self))


def read_model(path: Path) -> tuple[Shape, Weights]:
    """A model with its weights as 16-bit floats; norms and biases have 32. Raises SetupError for a model that
    is built otherwise than what is known here: training it wrongly would be worse."""
    reader = gguf.GGUFReader(path)
    _check_memory(path, sum(int(each.n_elements) for each in reader.tensors))
    shape = _shape(
        path, {name: field.contents() for name, field in reader.fields.items() if len(field.data) < 5}
    )
    outer: Weights = {}
    layers: dict[str, Any] = {}
    for tensor in reader.tensors:
        part, _, rest = tensor.name.partition(".")
        name = rest.partition(".")[2] if part == "blk" else tensor.name
        matrix = name.removesuffix(".weight") in MATRICES or tensor.name in (
            "token_embd.weight",
            "output.weight",
        )
        if not matrix and name not in (_OTHERS if part == "blk" else _OUTER):
            raise SetupError(f"{path} has {tensor.name!r}, which training does not know; {_known()}")
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16 if matrix else np.float32)
        if part != "blk":
            outer[name.removesuffix(".weight")] = jnp.asarray(values)
            continue
        if name not in layers:
            layers[name] = np.zeros((shape.layers, *values.shape), values.dtype)
        layers[name][int(rest.partition(".")[0])] = values
    outer["layers"] = {name.removesuffix(".weight"): jnp.asarray(layers.pop(name)) for name in list(layers)}
    outer.setdefault("output", outer["token_embd"])
    return shape, outer


def _check_memory(path: Path, numbers: int) -> None:
    """Better told now than ended by the kernel in an hour."""
    needed = SPARE_BYTES + BYTES_A_NUMBER * numbers
    lines = MEMORY.read_text("ascii").splitlines() if MEMORY.exists() else []
    free = next((int(each.split()[1]) * 1024 for each in lines if each.startswith("MemAvailable:")), None)
    if free is not None and free < needed:
        raise SetupError(
            f"training {path} takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free;"
            " free some, or take a smaller base model."
        )


def _shape(path: Path, said: dict[str, Any]) -> Shape:
    architecture = str(said.get("general.architecture"))
    get = {name.removeprefix(f"{architecture}."): value for name, value in said.items()}.get
    if architecture not in HALVES:
        raise SetupError(f"{path} is of the architecture {architecture!r}; {_known()}")
    heads, width = int(get("attention.head_count", 0)), int(get("embedding_length", 0))
    head_width = int(get("attention.key_length") or width // heads)
    scaled = get("rope.scaling.type", "none") != "none" or get("expert_count", 0)
    if scaled or int(get("rope.dimension_count") or head_width) != head_width:
        raise SetupError(f"{path} has experts, or stretches or halves its rotations; {_known()}")
    return Shape(
        architecture=architecture,
        layers=int(get("block_count", 0)),
        heads=heads,
        kv_heads=int(get("attention.head_count_kv") or heads),
        head_width=head_width,
        epsilon=float(get("attention.layer_norm_rms_epsilon", 1e-5)),
        rope_base=float(get("rope.freq_base", 10000.0)),
    )


def _known() -> str:
    return (
        f"models of the architectures {', '.join(HALVES)} can be trained here, without experts. Take another"
        " base model, or train elsewhere and name the adapter in the configuration."
    )


def new_lora(weights: Weights, rank: int, seed: int) -> Lora:
    """An adapter that adds nothing yet: `a` is drawn from the seed, `b` is 0."""
    chance = np.random.default_rng(seed)
    lora: Lora = {}
    for name in MATRICES:
        layers, outputs, inputs = weights["layers"][name].shape
        drawn = chance.standard_normal((layers, rank, inputs), np.float32) / np.float32(inputs**0.5)
        lora[name] = {"a": jnp.asarray(drawn), "b": jnp.zeros((layers, outputs, rank), jnp.float32)}
    return lora


def hidden(shape: Shape, weights: Weights, lora: Lora, ids: Any) -> Any:
    """What the last layer makes of the tokens, normed: (tokens, width)."""
    angles = _angles(shape, weights, ids.shape[0])
    mask = jnp.where(jnp.tri(ids.shape[0], dtype=bool), 0.0, -jnp.inf)

    def layer(x: Any, parts: tuple[dict[str, Any], Lora]) -> tuple[Any, None]:
        w, added = parts

        def through(name: str, y: Any) -> Any:
            out = y @ w[name].astype(jnp.float32).T + shape.scale * (
                (y @ added[name]["a"].T) @ added[name]["b"].T
            )
            return out + w[f"{name}.bias"] if f"{name}.bias" in w else out

        y = _norm(shape, x, w["attn_norm"])
        q, k, v = (through(f"attn_{each}", y).reshape(len(y), -1, shape.head_width) for each in "qkv")
        if "attn_q_norm" in w:
            q, k = _norm(shape, q, w["attn_q_norm"]), _norm(shape, k, w["attn_k_norm"])
        q, k = _rotated(shape, q, angles), _rotated(shape, k, angles)
        q = q.reshape(len(y), shape.kv_heads, -1, shape.head_width)
        heed = jax.nn.softmax(jnp.einsum("qhgd,khd->hgqk", q, k) / shape.head_width**0.5 + mask)
        x = x + through("attn_output", jnp.einsum("hgqk,khd->qhgd", heed, v).reshape(len(y), -1))
        y = _norm(shape, x, w["ffn_norm"])
        return x + through("ffn_down", jax.nn.silu(through("ffn_gate", y)) * through("ffn_up", y)), None

    x = weights["token_embd"][ids].astype(jnp.float32)
    # Each layer is computed again on the way back: kept is only what goes in.
    x, _ = jax.lax.scan(jax.checkpoint(layer), x, (weights["layers"], lora))
    return _norm(shape, x, weights["output_norm"])


def _norm(shape: Shape, x: Any, weight: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + shape.epsilon) * weight


def _angles(shape: Shape, weights: Weights, tokens: int) -> Any:
    steps = shape.rope_base ** (-jnp.arange(0, shape.head_width, 2) / shape.head_width)
    steps = steps / weights.get("rope_freqs", 1.0)
    return jnp.outer(jnp.arange(tokens), steps)[:, None, :]


def _rotated(shape: Shape, x: Any, angles: Any) -> Any:
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if HALVES[shape.architecture]:
        one, two = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)
    one, two = x[..., ::2], x[..., 1::2]
    return jnp.stack([one * cos - two * sin, two * cos + one * sin], axis=-1).reshape(x.shape)


@partial(jax.jit, static_argnums=0)
def logits(shape: Shape, weights: Weights, lora: Lora, ids: Any) -> Any:
    """Of every position and token of the vocabulary. For tests: training never has them all at once."""
    return hidden(shape, weights, lora, ids) @ weights["output"].astype(jnp.float32).T


def loss(lora: Lora, shape: Shape, weights: Weights, ids: Any, learn: Any) -> Any:
    """The sum over the tokens to be learnt of how improbable each was, in nats. The number of tokens less one
    is a multiple of CHUNK."""
    h = hidden(shape, weights, lora, ids[:-1])

    def chunk(total: Any, parts: tuple[Any, Any, Any]) -> tuple[Any, None]:
        x, target, counts = parts
        said = x @ weights["output"].astype(jnp.float32).T
        right = jnp.take_along_axis(said, target[:, None], axis=1)[:, 0]
        return total + jnp.sum(counts * (jax.nn.logsumexp(said, axis=1) - right)), None

    pieces = (h, ids[1:], learn[1:].astype(jnp.float32))
    total, _ = jax.lax.scan(
        jax.checkpoint(chunk), 0.0, tuple(p.reshape(-1, CHUNK, *p.shape[1:]) for p in pieces)
    )
    return total


loss_of = jax.jit(loss, static_argnums=1)
"""`loss`, for measuring."""
slope_of = jax.jit(jax.value_and_grad(loss), static_argnums=1)
"""`loss`, and how it changes with each number of the adapter."""
