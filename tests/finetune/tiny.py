"""Models of a few thousand numbers, of each architecture that can be trained, with the starter's words."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.engine import starter_weights

WIDTH, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 96, 2


def tiny_model(path: Path, architecture: str, *, seed: int = 3, odd: str | None = None) -> Path:
    """A random model. Qwen 3's heads are wider than its width shares out, as in its smallest real one;
    llama's has frequency factors, as Llama 3's, and an output of its own. `odd` is a tensor too many."""
    chance = np.random.default_rng(seed)
    head = 32 if architecture == "qwen3" else WIDTH // HEADS
    writer = gguf.GGUFWriter(path, architecture)
    _tokenizer(writer)
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    if architecture == "llama":
        writer.add_rope_dimension_count(head)

    def put(name: str, *shape: int, about: float = 0.0, by: float = 0.3) -> None:
        values = about + by * chance.standard_normal(shape)
        writer.add_tensor(name, values.astype(np.float32))

    words = 49152
    put("token_embd.weight", words, WIDTH)
    put("output_norm.weight", WIDTH, about=1.0)
    if architecture == "llama":
        put("output.weight", words, WIDTH)
        put("rope_freqs.weight", head // 2, about=3.0)
    if odd is not None:
        put(odd, WIDTH)
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            put(f"{at}.{norm}.weight", WIDTH, about=1.0)
        outs = {"attn_q": HEADS * head, "attn_k": KV_HEADS * head, "attn_v": KV_HEADS * head}
        for name, out in outs.items():
            put(f"{at}.{name}.weight", out, WIDTH)
            if architecture == "qwen2":
                put(f"{at}.{name}.bias", out)
        if architecture == "qwen3":
            put(f"{at}.attn_q_norm.weight", head, about=1.0)
            put(f"{at}.attn_k_norm.weight", head, about=1.0)
        put(f"{at}.attn_output.weight", WIDTH, HEADS * head)
        put(f"{at}.ffn_gate.weight", INNER, WIDTH)
        put(f"{at}.ffn_up.weight", INNER, WIDTH)
        put(f"{at}.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokenizer(writer: gguf.GGUFWriter) -> None:
    for name, field in gguf.GGUFReader(starter_weights()).fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=sub)
