"""What a process that runs one engine elsewhere is told."""

from __future__ import annotations

import msgspec

from airboss.config import ModelConfig


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: `settings` of the model called `model`, at `port`, with weights kept in `weights`."""

    model: str
    port: int
    settings: ModelConfig
    weights: str
