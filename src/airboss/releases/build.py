"""A configuration turned into releases and a plan. Pure: files, ports and clocks are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from airboss.config import Config
from airboss.domain.plan import DeploymentPlan, Price, ServingPlan, Target
from airboss.domain.release import ModelVersion, Release
from airboss.releases.digest import digest

ENGINE = "llama.cpp"
"""What runs local models, by way of xllamacpp."""

OPENAI_BASE_URL = "https://api.openai.com/v1"
"""Where `kind = "openai"` goes. The environment's OPENAI_BASE_URL is not asked: it points at Airboss."""

_FREE = Price(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))


def identity(release: Release) -> dict[str, object]:
    """What the digest covers: all that shapes an answer, and nothing else.

    The provider stands in it by name and kind, not by URL: a replica's port and a vendor's new host name
    change no answer. Fields that are not set are left out, so that a field that a later version adds
    changes no digest of a release that does not use it.
    """
    model = release.model
    fields: dict[str, object] = {
        "provider": model.provider,
        "kind": model.kind,
        "model": model.model,
        "weights_sha256": model.weights_sha256,
        "engine": model.engine,
        "engine_version": model.engine_version,
    }
    whole: dict[str, object] = {"model": {key: value for key, value in fields.items() if value is not None}}
    if release.prompt is not None:
        whole["prompt"] = release.prompt
    if release.examples:
        whole["examples"] = [[example.input, example.output] for example in release.examples]
        whole["form"] = release.form
    if release.params:
        whole["params"] = release.params
    if release.params_force:
        whole["params_force"] = release.params_force
    return whole


def sealed(release: Release) -> Release:
    """The release with the digest of its content, whatever digest it came with."""
    return msgspec.structs.replace(release, digest=digest(identity(release)))


def model_version(config: Config, name: str, *, engine_version: str) -> ModelVersion:
    """The exact model that `[models.NAME]` means. `engine_version` is of the engine that runs local ones."""
    model = config.models[name]
    kind = config.providers[model.provider].kind
    if kind != "local":
        return ModelVersion(provider=model.provider, kind=kind, model=model.model)
    return ModelVersion(
        provider=model.provider,
        kind=kind,
        model=model.model,
        weights_sha256=model.sha256.lower() if model.sha256 else None,
        engine=ENGINE,
        engine_version=engine_version,
    )


def build_releases(config: Config, *, engine_version: str) -> dict[str, Release]:
    """The release that each deployment serves, by the deployment's name.

    `model = "small"` in a deployment is short for a release with nothing else, which then has the
    model's name.
    """
    releases = {}
    for name, deployment in config.deployments.items():
        model = config.model_of(name)
        version = model_version(config, model, engine_version=engine_version)
        bare = Release(digest="", name=deployment.release or model, model=version)
        said = config.releases.get(deployment.release) if deployment.release is not None else None
        if said is not None:
            bare = msgspec.structs.replace(
                bare,
                prompt=said.prompt,
                params={name: _as_sent(value) for name, value in said.params.items()},
                params_force={name: _as_sent(value) for name, value in said.params_force.items()},
            )
        releases[name] = sealed(bare)
    return releases


def _as_sent(value: Any) -> Any:
    """A parameter as JSON has it: the configuration reads decimals exactly, requests carry doubles."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _as_sent(inner) for name, inner in value.items()}
    return [_as_sent(inner) for inner in value] if isinstance(value, list) else value


def local_models(config: Config) -> tuple[str, ...]:
    """The local models that some deployment serves, in the order of the file: these need an engine."""
    served = {config.model_of(name) for name in config.deployments}
    return tuple(name for name in config.models if name in served and config.is_local(name))


def build_plan(
    config: Config,
    *,
    replica_urls: Mapping[str, tuple[str, ...]],
    tools: Mapping[str, bool],
    engine_version: str,
    now: datetime,
) -> ServingPlan:
    """The plan that serves this configuration; its number is 0 until a ledger gives one.

    `replica_urls` has the base URLs of each model in `local_models`, `tools` whether it can call tools (a
    local model that is not in it cannot). Raises KeyError for a local model without URLs.
    """
    releases = build_releases(config, engine_version=engine_version)
    deployments = tuple(
        DeploymentPlan(
            name=name,
            aliases=deployment.aliases,
            stable=releases[name],
            target=_target(config, config.model_of(name), replica_urls=replica_urls, tools=tools),
            timeout=deployment.timeout,
            retry=deployment.retry,
        )
        for name, deployment in config.deployments.items()
    )
    return ServingPlan(number=0, created_at=now, deployments=deployments, bodies=config.store.bodies != "off")


def _target(
    config: Config, name: str, *, replica_urls: Mapping[str, tuple[str, ...]], tools: Mapping[str, bool]
) -> Target:
    model = config.models[name]
    provider = config.providers[model.provider]
    if provider.kind == "local":
        return Target(
            provider=model.provider,
            kind=provider.kind,
            base_urls=replica_urls[name],
            upstream_model=name,
            price=model.price or _FREE,
            tools=tools.get(name, False),
        )
    return Target(
        provider=model.provider,
        kind=provider.kind,
        base_urls=((provider.base_url or OPENAI_BASE_URL).rstrip("/"),),
        upstream_model=model.model,
        api_key_ref=provider.api_key,
        price=model.price,
    )
