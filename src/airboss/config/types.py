"""`airboss.toml` as one frozen object. `config.parse` makes it and `config.checks` holds its rules."""

from __future__ import annotations

from typing import Literal

import msgspec

from airboss.domain.plan import Price, Retry, Timeouts
from airboss.domain.release import Params, ProviderKind


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[providers.NAME]`: who is spoken to. `base_url` may be left out for `openai`; `local` has none.

    `api_key` is `env:NAME` or `file:PATH`. A literal is moved into the data directory when it is applied.
    """

    kind: ProviderKind
    base_url: str | None = None
    api_key: str | None = None


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME]`. `model` is the name upstream or, for `local`, the weights' source.

    `sha256` is of local weights; weights that come over the network must have it. `context_tokens` and
    `slots` (answers at once) are for `local` only; each slot has `context_tokens / slots` tokens of context.
    `threads` None means cores - 1, at least 1.
    """

    provider: str
    model: str
    sha256: str | None = None
    price: Price | None = None
    context_tokens: int | None = None
    slots: int | None = None
    threads: int | None = None


class ReleaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[releases.NAME]`.

    `prompt` is a template (`releases.render`), written inline: it becomes the first system message. `params`
    fill what a request leaves open, `params_force` replace what it says; both by OpenAI's names.
    """

    model: str
    prompt: str | None = None
    params: Params = {}
    params_force: Params = {}


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

    def model_of(self, deployment: str) -> str:
        """The name of the model that a deployment serves, be it through a release or not."""
        chosen = self.deployments[deployment]
        if chosen.release is not None:
            return self.releases[chosen.release].model
        assert chosen.model is not None  # parse_config lets exactly one be set
        return chosen.model

    def is_local(self, model: str) -> bool:
        """Whether Airboss runs this model's engine itself."""
        return self.providers[self.models[model].provider].kind == "local"
