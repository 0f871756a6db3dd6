"""What the gateway serves from: one immutable, numbered snapshot, swapped whole."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from airboss.domain.release import ProviderKind, Release

Arm = Literal["stable"]
"""The branch of a deployment that a call was assigned to."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one call, in seconds; all positive.

    `first_token_s` runs from the moment a request is sent upstream to the first byte of real output of a
    stream, `idle_s` between two pieces of a stream, `total_s` over all attempts.
    """

    total_s: float = 600.0
    first_token_s: float = 120.0
    idle_s: float = 60.0


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often one call may be tried in all, the first attempt included; 1 <= attempts <= 10."""

    attempts: int = 3


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is reached.

    `base_urls` end before `/chat/completions` (so `https://api.openai.com/v1`); a local model has one for
    each replica. `api_key_ref` is `env:NAME` or `file:PATH`, never the secret. `upstream_model` is the name
    sent upstream. `price` None means unknown, so that cost is null. `tools` says whether the model can call
    tools; where it cannot, a request with tools is refused.
    """

    provider: str
    kind: ProviderKind
    base_urls: tuple[str, ...]
    upstream_model: str
    api_key_ref: str | None = None
    price: Price | None = None
    tools: bool = True


class DeploymentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one deployment is served; `stable.model` is reached at `target`."""

    name: str
    aliases: tuple[str, ...]
    stable: Release
    target: Target
    timeout: Timeouts = Timeouts()
    retry: Retry = Retry()


class ServingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered snapshot of all that is served; `bodies` False keeps bodies out of records."""

    number: int
    created_at: datetime
    deployments: tuple[DeploymentPlan, ...]
    bodies: bool = True
