"""`[models.NAME]` of `airboss.toml`."""

from __future__ import annotations

import msgspec

from airboss.domain.plan import Continuation, Price


class ReplicaRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`replicas` of a local model: between `min` and `max` engines, as many as the load asks for.

    One is added when more than the share `target` of the slots would be busy, looking at the last `window_s`
    seconds, or, where that comes to twice as many, at a tenth of them (`replicas.autoscale`).
    """

    min: int = 1
    max: int = 1
    target: float = 0.7
    window_s: float = 60.0


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME]`. `model` is the name upstream or, for `local`, the weights' source.

    `sha256` is of local weights; weights that come over the network must have it. `adapter` is a LoRA in GGUF
    form that local weights are served with, from any source that weights may have, `adapter_sha256` what it
    must hash to. `slots` (answers at once) are for `local` only; each has `context_tokens / slots` tokens of
    context. Of others `context_tokens` are what they take.
    `threads` None means cores - 1, at least 1. `replicas` is for `local` only too.

    With `shares`, weights by the names of others, it is no model but a spread of these: each of its calls
    goes to one, drawn by weight. Nothing else is said of it then; what is parsed is as the one with the
    greatest share (`config.spreads`).
    """

    provider: str = ""
    model: str = ""
    shares: dict[str, float] = {}
    sha256: str | None = None
    adapter: str | None = None
    adapter_sha256: str | None = None
    price: Price | None = None
    context_tokens: int | None = None
    slots: int | None = None
    threads: int | None = None
    replicas: ReplicaRange | None = None
    continuation: Continuation = "auto"

    def files(self) -> tuple[tuple[str, str | None], ...]:
        """Source and sha256 of what a local model's engine loads: the weights, then the adapter, if any."""
        weights = (self.model, self.sha256)
        return (weights,) if self.adapter is None else (weights, (self.adapter, self.adapter_sha256))
