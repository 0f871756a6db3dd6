"""A release as the configuration would say it. Pure."""

from __future__ import annotations

from airboss.config import ModelConfig, ReleaseConfig
from airboss.domain.errors import ConfigError
from airboss.domain.release import ModelVersion, Release
from airboss.releases.build import Catalog
from airboss.releases.sharing import beside


def as_config(catalog: Catalog, release: Release) -> ReleaseConfig:
    """A release as `[releases.NAME]` would say it. Raises ConfigError if one of its models is not there."""
    model, others = _asked_names(catalog, release)
    return ReleaseConfig(
        model=model,
        prompt=release.prompt,
        examples=release.examples,
        form=release.form,
        params=release.params,
        params_force=release.params_force,
        policy=_policy_name(catalog, release),
        fallbacks=others,
        fallbacks_when_filtered=release.fallbacks_when_filtered,
    )


def _asked_names(catalog: Catalog, release: Release) -> tuple[str, tuple[str, ...]]:
    """What the configuration calls a release's model, or its spread, and its fallbacks."""
    members = beside(release)
    fallbacks = tuple(_model_name(catalog, release, each) for each in release.fallbacks[members:])
    if not members:
        return _model_name(catalog, release, release.model), fallbacks
    name = _spread_name(catalog, release)
    if name is not None:
        return name, fallbacks
    raise ConfigError(
        f"release {release.name!r} ({release.digest[:12]}) is a spread whose shares are not in the "
        "configuration; add it under [models]"
    )


def _spread_name(catalog: Catalog, release: Release) -> str | None:
    mix = (release.shares, release.model, release.fallbacks[: beside(release)])
    found = catalog.bare.items()
    return next((name for name, each in found if (each.shares, each.model, each.fallbacks) == mix), None)


def missing_spread(catalog: Catalog, release: Release) -> tuple[str, ModelConfig] | None:
    """The spread that a release is of, where the configuration has the models and none with those shares: by
    a name that is free. None where nothing of that is missing. Raises ConfigError as `as_config`."""
    if not release.shares or _spread_name(catalog, release) is not None:
        return None
    versions = (release.model, *release.fallbacks[: beside(release)])
    names = [_model_name(catalog, release, each) for each in versions]
    number = 1
    while (name := f"{release.name[:60]}-{number}") in catalog.bare:
        number += 1
    return name, ModelConfig(shares=dict(zip(names, release.shares, strict=True)))


def _model_name(catalog: Catalog, release: Release, version: ModelVersion) -> str:
    for name, bare in catalog.bare.items():
        if bare.model == version and not bare.shares:
            return name
    raise ConfigError(
        f"release {release.name!r} ({release.digest[:12]}) is of model {version.model!r}, which is not "
        "in the configuration; add it under [models]"
    )


def _policy_name(catalog: Catalog, release: Release) -> str | None:
    """The name that the configuration has for a release's policy. Raises ConfigError if it has none."""
    if release.policy is None:
        return None
    for name, policy in catalog.policies.items():
        same = (policy.pii, policy.custom) == (release.policy.pii, release.policy.custom)
        if same:  # its detectors may be those of an earlier version
            return name
    raise ConfigError(
        f"release {release.name!r} ({release.digest[:12]}) has a policy that is not in the configuration; "
        "add it under [policies]"
    )
