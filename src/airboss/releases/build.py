"""A configuration turned into releases and a plan. Pure: files, ports and clocks are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec

from airboss.config import Config, ProviderConfig, embedders
from airboss.config.embedders import embedder
from airboss.config.prices import PRICED, PriceTable, shipped
from airboss.domain.errors import ConfigError
from airboss.domain.plan import (
    Allowance,
    Canary,
    DeploymentPlan,
    Exposure,
    Preview,
    Price,
    Served,
    ServingPlan,
    Target,
)
from airboss.domain.release import ModelVersion, Policy, ProviderKind, Release
from airboss.governance.policies import policy_said
from airboss.releases.digest import digest
from airboss.replicas.llamacpp import DEFAULT_CONTEXT_TOKENS, DEFAULT_SLOTS

ENGINE = "llama.cpp"
"""What runs local models, by way of xllamacpp."""

OPENAI_BASE_URL = "https://api.openai.com/v1"
"""Where `kind = "openai"` goes. The environment's OPENAI_BASE_URL is not asked: it points at Airboss."""
BASE_URLS: Mapping[ProviderKind, str] = {
    "openai": OPENAI_BASE_URL,
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
"""Where providers without a `base_url` are; Bedrock has one for each region."""

_FREE = Price(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))


def identity(release: Release) -> dict[str, object]:
    """What the digest covers: all that shapes an answer, and nothing else.

    The provider stands in it by name and kind, not by URL: a replica's port and a vendor's new host name
    change no answer. Fields that are not set are left out, so that a field that a later version adds
    changes no digest of a release that does not use it.
    """
    whole: dict[str, object] = {"model": _model_identity(release.model)}
    if release.prompt is not None:
        whole["prompt"] = release.prompt
    if release.examples:
        whole["examples"] = [[example.input, example.output] for example in release.examples]
    if release.examples or release.form == "completion":
        # The other two forms differ in where examples go, and in nothing else.
        whole["form"] = release.form
    if release.params:
        whole["params"] = release.params
    if release.params_force:
        whole["params_force"] = release.params_force
    if release.policy is not None:
        whole["policy"] = _policy_identity(release.policy)
    if release.fallbacks:
        whole["fallbacks"] = [_model_identity(model) for model in release.fallbacks]
    if release.fallbacks_when_filtered:
        whole["fallbacks_when_filtered"] = True
    if release.shares:
        whole["shares"] = list(release.shares)
    return whole


def _policy_identity(policy: Policy) -> dict[str, object]:
    whole: dict[str, object] = {"pii": dict(policy.pii), "detectors": policy.detectors}
    if policy.custom:
        whole["custom"] = [[each.name, each.action, each.pattern, list(each.words)] for each in policy.custom]
    return whole


def _model_identity(model: ModelVersion) -> dict[str, object]:
    fields: dict[str, object] = {
        "provider": model.provider,
        "kind": model.kind,
        "model": model.model,
        "weights_sha256": model.weights_sha256,
        "adapter": model.adapter,
        "adapter_sha256": model.adapter_sha256,
        "engine": model.engine,
        "engine_version": model.engine_version,
    }
    return {key: value for key, value in fields.items() if value is not None}


def sealed(release: Release) -> Release:
    """The release with the digest of its content, whatever digest it came with."""
    return msgspec.structs.replace(release, digest=digest(identity(release)))


def is_bare(release: Release) -> bool:
    """Whether it is a model with nothing around it, as each of `[models]` makes one under its own name."""
    return release == Release(digest=release.digest, name=release.name, model=release.model)


def _asked(config: Config, model: str, *, engine_version: str) -> Release:
    """What each of `[models]` is as a release, but for its name and digest."""
    first, *others = [
        model_version(config, each, engine_version=engine_version) for each in config.asked(model)
    ]
    weights = tuple(config.models[model].shares.values())
    whole = sum(weights)
    # Parts of 1 stay what they are, to the last digit: so a release can be written down again.
    shares = weights if math.isclose(whole, 1) else tuple(each / whole for each in weights)
    return Release(digest="", name=model, model=first, fallbacks=tuple(others), shares=shares)


def model_version(config: Config, name: str, *, engine_version: str) -> ModelVersion:
    """The exact model that `[models.NAME]` means. `engine_version` is of the engine that runs local ones."""
    model = config.models[name]
    kind = config.providers[model.provider].kind
    if kind != "local":
        return ModelVersion(provider=model.provider, kind=kind, model=model.model)
    vectors = embedder(model) is not None
    return ModelVersion(
        provider=model.provider,
        kind=kind,
        model=model.model,
        weights_sha256=model.sha256.lower() if model.sha256 else None,
        adapter=model.adapter,
        adapter_sha256=model.adapter_sha256.lower() if model.adapter_sha256 else None,
        engine=embedders.ENGINE if vectors else ENGINE,
        engine_version=embedders.installed_engine() if vectors else engine_version,
    )


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Every release that a configuration makes.

    `named` are those of `[releases]`, by name. `bare` has each model with nothing around it, by the model's
    name: what `model = "small"` in a deployment means. `policies` are what `[policies]` says, by name."""

    named: dict[str, Release]
    bare: dict[str, Release]
    policies: dict[str, Policy] = {}

    def wanted(self, config: Config, deployment: str) -> Release:
        """The release that the configuration wants for a deployment."""
        chosen = config.deployments[deployment]
        return self.named[chosen.release] if chosen.release is not None else self.bare[str(chosen.model)]

    def all(self) -> tuple[Release, ...]:
        """Each once, those with a name first."""
        return tuple({each.digest: each for each in (*self.bare.values(), *self.named.values())}.values())


def build_releases(config: Config, *, engine_version: str) -> Catalog:
    """The releases of a configuration. `engine_version` is of the engine that runs local models."""
    named = {}
    policies = policies_of(config)
    for name, said in config.releases.items():
        bare = _asked(config, said.model, engine_version=engine_version)
        others = [model_version(config, each, engine_version=engine_version) for each in said.fallbacks]
        named[name] = sealed(
            msgspec.structs.replace(
                bare,
                name=name,
                prompt=said.prompt,
                examples=said.examples,
                form=said.form,
                params={name: _as_sent(value) for name, value in said.params.items()},
                params_force={name: _as_sent(value) for name, value in said.params_force.items()},
                policy=policies[said.policy] if said.policy is not None else None,
                fallbacks=(*bare.fallbacks, *others),
                fallbacks_when_filtered=said.fallbacks_when_filtered,
            )
        )
    return Catalog(
        named=named,
        policies=policies,
        bare={name: sealed(_asked(config, name, engine_version=engine_version)) for name in config.models},
    )


def policies_of(config: Config) -> dict[str, Policy]:
    """What `[policies]` says, by name."""
    return {name: policy_said(said) for name, said in config.policies.items()}


def _as_sent(value: Any) -> Any:
    """A parameter as JSON has it: the configuration reads decimals exactly, requests carry doubles."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _as_sent(inner) for name, inner in value.items()}
    return [_as_sent(inner) for inner in value] if isinstance(value, list) else value


def local_models(config: Config) -> tuple[str, ...]:
    """The local models that need an engine, as a deployment, its cache or a release names them; in order."""
    named = {config.model_of(name) for name in config.deployments}
    named |= {
        each.cache.semantic.model
        for each in config.deployments.values()
        if each.cache and each.cache.semantic
    }
    named |= {model for release in config.releases.values() for model in (release.model, *release.fallbacks)}
    return tuple(name for name in config.models if name in named and config.is_local(name))


def build_plan(
    config: Config,
    catalog: Catalog,
    *,
    replica_urls: Mapping[str, tuple[str, ...]],
    tools: Mapping[str, bool],
    stable: Mapping[str, Release],
    exposed: Mapping[str, tuple[Exposure, Release]],
    over: Mapping[str, Exposure] = MappingProxyType({}),
    now: datetime,
    before: ServingPlan | None = None,
    prices: Callable[[], PriceTable] = shipped,
) -> ServingPlan:
    """The plan that serves this configuration; its number is 0 until a ledger gives one.

    `replica_urls` has the base URLs of each model in `local_models`, `tools` whether it can call tools (a
    local model that is not in it cannot). `stable` is the release that each deployment serves, `exposed` what
    rollouts show of another, `over` what the newest rollouts showed that have ended: who is named in a
    preview gets it no more either. `before` is the plan in force: a hosted model that the configuration has
    forgotten, but a release still needs, is reached as it was there. `prices` has those of hosted models that
    the configuration gives none, and is asked only where there is such a model.
    Raises KeyError for a local model without URLs, ConfigError for a release whose model is gone.
    """
    targets = _Targets(
        config, catalog, replica_urls=replica_urls, tools=tools, before=before, prices=cache(prices)
    )
    deployments = []
    for name, deployment in config.deployments.items():
        canary = _canary(*exposed[name], targets) if name in exposed else None
        preview = _preview(config, catalog, name, over.get(name), (stable[name], canary), targets)
        semantic = deployment.cache.semantic if deployment.cache is not None else None
        deployments.append(
            DeploymentPlan(
                name=name,
                aliases=deployment.aliases,
                stable=stable[name],
                target=targets.of(stable[name], name),
                canary=canary,
                preview=preview,
                always=deployment.rollout.always if deployment.rollout is not None else None,
                never=deployment.rollout.never if deployment.rollout is not None else None,
                shadow=_shadow(config, catalog, name, shown_already=(stable[name], canary), targets=targets),
                policy=catalog.policies[deployment.policy] if deployment.policy is not None else None,
                timeout=deployment.timeout,
                retry=deployment.retry,
                limits=deployment.limits,
                hedge=deployment.hedge,
                cache=deployment.cache,
                compares=targets.named(semantic.model) if semantic is not None else None,
            )
        )
    plan = ServingPlan(
        number=0,
        created_at=now,
        deployments=tuple(deployments),
        bodies=config.store.bodies != "off",
        sealed=config.store.bodies == "sealed",
        limits=config.gateway.limits,
        teams={name: Allowance(limits=of.limits, budget=of.budget) for name, of in config.teams.items()},
        policies=catalog.policies,
        tags={name: each.budget for name, each in config.tags.items()},
    )
    shown_already = {served.release.digest for served in plan.served()}
    others = tuple(
        Served(release=release, target=targets.of(release, None))
        for release in catalog.all()
        if release.digest not in shown_already and targets.reachable(release)
    )
    return msgspec.structs.replace(plan, others=others)


def _canary(exposure: Exposure, release: Release, targets: _Targets) -> Canary:
    return Canary(
        rollout=exposure.rollout,
        served=Served(release=release, target=targets.of(release, exposure.deployment)),
        weight=exposure.weight,
        salt=exposure.salt,
    )


def _preview(  # noqa: PLR0917 - all that a deployment's releases follow from
    config: Config,
    catalog: Catalog,
    name: str,
    over: Exposure | None,
    shown_already: tuple[Release, Canary | None],
    targets: _Targets,
) -> Preview | None:
    """Who gets the release that a rollout shows, or would; None where everybody gets it, nobody can, or the
    newest rollout has taken it back."""
    said = config.deployments[name].preview
    stable, canary = shown_already
    release = canary.served.release if canary is not None else catalog.wanted(config, name)
    if said is None or release.digest == stable.digest or not targets.reachable(release):
        return None
    if canary is None and over is not None and over.salt and over.release == release.digest:
        return None
    return Preview(
        served=Served(release=release, target=targets.of(release, name)), **msgspec.structs.asdict(said)
    )


def _shadow(
    config: Config,
    catalog: Catalog,
    name: str,
    *,
    shown_already: tuple[Release, Canary | None],
    targets: _Targets,
) -> Served | None:
    """What is asked again beside a deployment: nothing that callers get answers of already."""
    said = config.deployments[name].shadow
    if said is None:
        return None
    release = catalog.named[said.release] if said.release is not None else catalog.wanted(config, name)
    stable, canary = shown_already
    shown = {stable.digest} | ({canary.served.release.digest} if canary is not None else set())
    if release.digest in shown or not targets.reachable(release):
        return None
    return Served(release=release, target=targets.of(release, name))


class _Targets:
    """Where the models of a configuration are reached."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        *,
        replica_urls: Mapping[str, tuple[str, ...]],
        tools: Mapping[str, bool],
        before: ServingPlan | None,
        prices: Callable[[], PriceTable],
    ) -> None:
        self._config = config
        self._urls = replica_urls
        self._tools = tools
        self._prices = prices
        self._models = {
            release.model: name for name, release in reversed(catalog.bare.items()) if not release.shares
        }
        spreads = {name: release for name, release in catalog.bare.items() if release.shares}
        self._named = {release.digest: config.asked(name) for name, release in spreads.items()}
        for name, release in catalog.named.items():
            said = config.releases[name]
            self._named[release.digest] = (*config.asked(said.model), *said.fallbacks)
        self._before = {served.release.model: served.target for served in before.served()} if before else {}
        for served in before.served() if before else ():
            self._before |= dict(zip(served.release.fallbacks, served.target.fallbacks, strict=False))

    def reachable(self, release: Release) -> bool:
        """Whether its models are hosted or their engines run."""
        return all(
            name is not None and (not self._config.is_local(name) or name in self._urls)
            for name, _ in self._names(release)
        )

    def _names(self, release: Release) -> list[tuple[str | None, ModelVersion]]:
        """A release's models, the fallbacks after the first, by the configuration's names for them."""
        # Two entries may be the same model, at two prices or with two engines: a release says which it means.
        said = self._named.get(release.digest)
        versions = (release.model, *release.fallbacks)
        if said is not None:
            return list(zip(said, versions, strict=True))
        return [(self._models.get(version), version) for version in versions]

    def of(self, release: Release, deployment: str | None) -> Target:
        """The target of a release's model, with its fallbacks. Raises ConfigError where one is gone."""
        first, *fallbacks = [
            self._one(name, version, release, deployment) for name, version in self._names(release)
        ]
        if not fallbacks:
            return first
        return msgspec.structs.replace(first, fallbacks=tuple(fallbacks), shares=release.shares)

    def named(self, name: str) -> Target:
        """Where the model of that name in the configuration is reached."""
        return _target(self._config, name, replica_urls=self._urls, tools=self._tools, prices=self._prices)

    def _one(
        self, name: str | None, version: ModelVersion, release: Release, deployment: str | None
    ) -> Target:
        if name is not None:
            return self.named(name)
        known = self._before.get(version)
        provider = self._config.providers.get(version.provider)
        if known is not None and provider is not None and provider.kind == version.kind != "local":
            places = _places(provider)
            return msgspec.structs.replace(
                known, fallbacks=(), shares=(), api_key_ref=provider.api_key, **places
            )
        raise ConfigError(
            f"deployment {deployment!r} serves release {release.name!r} ({release.digest[:12]}), whose model "
            f"{version.model!r} of provider {version.provider!r} is not in the configuration any more; a "
            "rollout needs both models: keep the old entry under [models] and give the new one another name"
        )


def _places(provider: ProviderConfig) -> dict[str, Any]:
    """The fields of a target that say where a hosted model is reached."""
    headers = tuple((name.lower(), value) for name, value in provider.headers.items())
    usual = BASE_URLS.get(provider.kind, OPENAI_BASE_URL)
    if provider.kind == "bedrock":
        usual = f"https://bedrock-runtime.{provider.region}.amazonaws.com"
    usual = (provider.base_url or usual).rstrip("/")
    if not provider.targets:
        return {"base_urls": (usual,), "headers": headers, "key_refs": (), "weights": ()}
    return {
        "headers": headers,
        "base_urls": tuple((each.base_url or usual).rstrip("/") for each in provider.targets),
        "key_refs": tuple(each.api_key or provider.api_key for each in provider.targets),
        "weights": tuple(float(each.weight) for each in provider.targets),
    }


def _target(
    config: Config,
    name: str,
    *,
    replica_urls: Mapping[str, tuple[str, ...]],
    tools: Mapping[str, bool],
    prices: Callable[[], PriceTable],
) -> Target:
    model = config.models[name]
    provider = config.providers[model.provider]
    if provider.kind == "local":
        vectors = embedder(model)
        tokens = (model.context_tokens or DEFAULT_CONTEXT_TOKENS) // (model.slots or DEFAULT_SLOTS)
        return Target(
            provider=model.provider,
            kind=provider.kind,
            base_urls=replica_urls[name],
            upstream_model=name,
            price=model.price or _FREE,
            priced_by="config" if model.price is not None else None,
            tools=tools.get(name, False),
            affinity=True,
            continuation=model.continuation,
            slot_tokens=tokens if vectors is None else vectors.max_tokens,
            embeds=vectors is not None,
        )
    price, priced_by = model.price, "config"
    if price is None and provider.kind in PRICED:
        table = prices()
        price, priced_by = table.price(provider.kind, model.model), table.version
    return Target(
        provider=model.provider,
        kind=provider.kind,
        upstream_model=model.model,
        api_key_ref=provider.api_key,
        affinity=provider.affinity,
        continuation=model.continuation,
        price=price,
        priced_by=priced_by if price is not None else None,
        slot_tokens=model.context_tokens,
        drop_unsupported=provider.drop_unsupported,
        responses=provider.responses,
        api_version=provider.api_version,
        region=provider.region,
        **_places(provider),
    )
