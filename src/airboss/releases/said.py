"""A release as the configuration would say it. Pure."""

from __future__ import annotations

from airboss.config import ReleaseConfig
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
    mix = (release.shares, release.model, release.fallbacks[:members])
    for name, bare in catalog.bare.items():
        if (bare.shares, bare.model, bare.fallbacks) == mix:
            return name, fallbacks
    raise ConfigError(
        f"release {release.name!r} ({release.digest[:12]}) is a spread whose shares are not in the "
        "configuration; add it under [models]"
    )


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
