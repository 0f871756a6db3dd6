"""`airboss.toml` as one frozen object. Parsing and its errors are in `parse_config`."""

from __future__ import annotations

from typing import Literal

import msgspec

from airboss.domain.plan import Price, Retry, Timeouts
from airboss.domain.release import ProviderKind


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[providers.NAME]`: who is spoken to. `base_url` may be left out for `openai` and `local`."""

    kind: ProviderKind
    base_url: str | None = None
    api_key: str | None = None


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME]`. `model` is the name upstream or, for `local`, the weights' source.

    `context_tokens` and `slots` (answers at once) are for `local` only; each slot has
    `context_tokens / slots` tokens of context. `threads` None means cores - 1, at least 1.
    """

    provider: str
    model: str
    sha256: str | None = None
    price: Price | None = None
    context_tokens: int | None = None
    slots: int | None = None
    threads: int | None = None


class ReleaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[releases.NAME]`."""

    model: str


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[deployments.NAME]`: exactly one of `release` and `model`."""

    release: str | None = None
    model: str | None = None
    aliases: tuple[str, ...] = ()
    timeout: Timeouts = Timeouts()
    retry: Retry = Retry()


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[keys.NAME]`: what a data-plane key may use; None means every deployment."""

    deployments: tuple[str, ...] | None = None


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[store]`. `bodies = "off"` keeps requests and responses out of records."""

    bodies: Literal["searchable", "off"] = "searchable"


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gateway]`."""

    max_body_bytes: int = 32 * 1024 * 1024


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tls]`: PEM files."""

    cert: str
    key: str


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. Names refer to each other; `parse_config` has checked that they exist."""

    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    releases: dict[str, ReleaseConfig] = {}
    deployments: dict[str, DeploymentConfig] = {}
    keys: dict[str, KeyConfig] = {}
    store: StoreConfig = StoreConfig()
    gateway: GatewayConfig = GatewayConfig()
    tls: TlsConfig | None = None
